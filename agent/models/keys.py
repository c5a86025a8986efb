"""API keys: checked when they are read, and hidden in whatever a service or a client says."""

from __future__ import annotations

import base64
import functools
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

HIDDEN = "***"
_KEY = re.compile(r"[\x21-\x7e]+")
_SHORTEST = 6  # characters: a shorter key is a dummy for a local server, and its letters stand in many words


def checked_key(text: str, where: str) -> str:
    """`text` as a key: without white space around it, such as the line break that a file or a shell puts at the end.

    Raises ValueError, which does not show the key, where a character is left that can't stand in an HTTP header.
    """
    key = text.strip()
    if not key:
        raise ValueError(f"{where}: the key is empty")
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"{where}: the key holds a character that no key has, such as a blank or a line break inside it; expected "
            "printable ASCII in one piece"
        )
    return key


def hide(text: str, secret: SecretStr | None) -> str:
    """`text` without the key, in any of the forms in which programs repeat it: plain, as repr or JSON write it,
    URL-encoded, in HTML, in base64 (also within a longer text), in hexadecimal."""
    key = secret.get_secret_value() if secret is not None else ""
    for form in _forms(key):
        text = re.sub(re.escape(form), HIDDEN, text, flags=re.IGNORECASE) if "%" in form else text.replace(form, HIDDEN)
    return text


def hide_in_reply(text: str, secret: SecretStr | None) -> str:
    """`text` of a model without the key. A key that is a mere dummy for a local server may be a word of the reply."""
    return text if secret is None or len(secret.get_secret_value()) < _SHORTEST else hide(text, secret)


class HidingStream:
    """Hides the key in a reply that comes in pieces, wherever the pieces are cut."""

    def __init__(self, secret: SecretStr | None) -> None:
        self._secret = secret
        key = secret.get_secret_value() if secret is not None else ""
        self._forms = _forms(key) if len(key) >= _SHORTEST else ()
        self._rest = ""

    def feed(self, piece: str) -> str:
        """What can be told so far: all but an end that may become a key."""
        self._rest = hide_in_reply(self._rest + piece, self._secret)
        held = max((_overlap(self._rest, form) for form in self._forms), default=0)
        ready, self._rest = self._rest[: len(self._rest) - held], self._rest[len(self._rest) - held :]
        return ready

    def end(self) -> str:
        """What is left when no more comes."""
        rest, self._rest = self._rest, ""
        return rest


def _overlap(text: str, form: str) -> int:
    """The length of the longest end of `text` that `form` begins with."""
    return next((n for n in range(min(len(form) - 1, len(text)), 0, -1) if text.endswith(form[:n])), 0)


@functools.lru_cache(maxsize=16)
def _forms(key: str) -> tuple[str, ...]:
    """What a key looks like in the mouths of programs, the longest form first."""
    if not key:
        return ()
    data = key.encode()
    found = {
        key,
        repr(key)[1:-1],
        repr(data)[2:-1],
        json.dumps(key)[1:-1],
        html.escape(key),
        quote(key, safe=""),
        quote(key),
        quote_plus(key),
        data.hex(),
        data.hex().upper(),
    }
    if len(key) >= _SHORTEST:
        found |= {form for encode in (base64.b64encode, base64.urlsafe_b64encode) for form in _in_base64(data, encode)}
    return tuple(sorted(found, key=lambda form: (-len(form), form)))


def _in_base64(data: bytes, encode: Callable[[bytes], bytes]) -> list[str]:
    """The characters of base64 that stand for `data` alone, whatever stands before and after it."""
    forms = []
    for before in range(3):
        text = encode(bytes(before) + data).decode().rstrip("=")
        start, end = -(-before * 8 // 6), (before + len(data)) * 8 // 6
        forms.append(text[start:end])
    return forms

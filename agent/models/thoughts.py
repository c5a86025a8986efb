"""Splits the thoughts that a model writes between <think> and </think> from the rest of its reply."""

from __future__ import annotations

import re

from agent.models.base import Delta
from envs.text import encodable

# Models differ in the word.
_WORDS = ("think", "thinking", "thought", "reasoning")
_OPEN, _CLOSE = ([f"<{slash}{word}>" for word in _WORDS] for slash in ("", "/"))
_OPENED = re.compile("|".join(_OPEN), re.IGNORECASE)
_CLOSED = re.compile("|".join(_CLOSE), re.IGNORECASE)
_CHANNELS = re.compile(r"<\|channel\|>final[^<]*<\|message\|>", re.IGNORECASE)  # of gpt-oss
_MARK = re.compile(r"<\|[a-z_]+\|>(?:assistant|analysis|commentary|final)?")


def split_thought(text: str) -> tuple[str, str]:
    """The thought and the reply of a text in which a model marks its thoughts, with <think> and </think> say."""
    *_, final = [None, *_CHANNELS.finditer(text)]
    if final is not None:
        return _MARK.sub("", text[: final.start()]).strip(), _MARK.sub("", text[final.end() :]).strip()
    closed = _CLOSED.search(text)
    if closed is not None:
        return _OPENED.sub("", text[: closed.start()]).strip(), text[closed.end() :].strip()
    opened = _OPENED.match(text.lstrip())
    if opened is not None:  # cut off while it thought
        return text.lstrip()[opened.end() :].strip(), ""
    return "", text.strip()


class PieceJoiner:
    """Joins the pieces of a text, also where a surrogate pair is cut in two. `whole`: all of it, encodable."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._held = ""

    @property
    def whole(self) -> str:
        return "".join(self._told)

    def feed(self, piece: str) -> str:
        """What can be told so far: all but the first half of a pair at the end."""
        text = self._held + piece
        self._held = text[-1] if text and "\ud800" <= text[-1] <= "\udbff" else ""
        return self._tell(text[: len(text) - len(self._held)])

    def end(self) -> str:
        """What is left when no more comes."""
        held, self._held = self._held, ""
        return self._tell(held)

    def _tell(self, text: str) -> str:
        text = encodable(text)
        self._told.append(text)
        return text


class ThoughtFilter:
    """Splits a reply that comes in pieces, even where a mark is cut in two."""

    def __init__(self) -> None:
        self._rest = ""
        self._inside = self._said = False

    def feed(self, piece: str) -> list[Delta]:
        """The pieces that are certain after some more text."""
        self._rest += piece
        deltas: list[Delta] = []
        while not self._said:
            found = (_CLOSED if self._inside else _OPENED).search(self._rest)
            if found and (self._inside or not self._rest[: found.start()].strip()):
                deltas += self._told(self._rest[: found.start()])
                self._inside, self._rest = not self._inside, self._rest[found.end() :].lstrip()
                continue
            held = _begun(self._rest, _CLOSE if self._inside else _OPEN)
            if self._inside or self._rest[: len(self._rest) - held].strip():
                ready = self._rest[: len(self._rest) - held]
                self._said = not self._inside
                self._rest = self._rest[len(ready) :]
                deltas += self._told(ready)
            if not self._said:
                return deltas
        return deltas + self.end()

    def end(self) -> list[Delta]:
        """The rest, when the reply is complete."""
        rest, self._rest = self._rest, ""
        return self._told(rest)

    def _told(self, text: str) -> list[Delta]:
        return [Delta(text, self._inside)] if text else []


def _begun(text: str, marks: list[str]) -> int:
    """The length of the longest end of `text` that one of the marks begins with."""
    end = text[-max(map(len, marks)) + 1 :].lower()
    return next((n for n in range(len(end), 0, -1) if any(mark.startswith(end[-n:]) for mark in marks)), 0)

"""What reaches the terminal, and what reaches standard output.

Text that others wrote (models, games, episodes, services) may hold control characters with which a terminal can be
told to hide lines, to change its title or to write the clipboard. All that the command line prints goes through
`clean`. Standard output belongs to the command's results: what an environment or a library prints goes to standard
error.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from typing import Any, TextIO, cast

REPLACEMENT = "\ufffd"
# C0 without tab and newline, DEL, C1, line separators, what changes the direction of writing, lone surrogates.
_UNSAFE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROLS = re.compile(f"[{_UNSAFE}]")
_BUT_RETURN = re.compile(f"[{_UNSAFE}]".replace("\x0b-\x1f", "\x0b\x0c\x0e-\x1f"))
_own: list[TextIO] = []  # standard output while a command runs; the innermost last


def clean(text: str) -> str:
    """`text` with a replacement character for every control character but tab and newline, and for what can't be
    encoded."""
    return _CONTROLS.sub(REPLACEMENT, text.replace("\r\n", "\n"))


def json_line(value: Any, indent: int | None = None) -> str:
    """`value` as JSON in which control characters are escaped, those that JSON itself would let pass too."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _CONTROLS.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


class CleanStream(io.TextIOBase):
    """Writes to `stream` what `clean` leaves of a text; a lone carriage return passes, by which progress is shown.

    `descriptor`: the file descriptor that it claims to be, by default that of `stream`.
    """

    def __init__(self, stream: TextIO, descriptor: int | None = None) -> None:
        self.stream = stream
        self._descriptor = descriptor

    def write(self, text: str) -> int:
        self.stream.write(_BUT_RETURN.sub(REPLACEMENT, text))
        return len(text)

    def flush(self) -> None:
        if not self.stream.closed:  # Python flushes it once more when nobody has it any longer
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno() if self._descriptor is None else self._descriptor

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return getattr(self.stream, "errors", None)

    @property
    def buffer(self) -> Any:
        return getattr(self.stream, "buffer", None)


def raw_stdout() -> TextIO:
    """Standard output, unfiltered: for what is clean already."""
    return _own[-1] if _own else sys.stdout


def raw_stderr() -> TextIO:
    """Standard error, unfiltered: for what is clean already."""
    stream = sys.stderr
    return stream.stream if isinstance(stream, CleanStream) else stream


@contextlib.contextmanager
def own_output() -> Iterator[None]:
    """While this lasts, standard output is ours: what others print through `sys.stdout` goes to standard error, clean.

    The stand-in claims the descriptor of the true one, so that `input` still edits lines in a terminal.
    """
    out, err = sys.stdout, sys.stderr
    try:
        descriptor: int | None = out.fileno()
    except (OSError, ValueError, AttributeError):
        descriptor = None
    _own.append(out)
    sys.stderr = cast(TextIO, CleanStream(raw_stderr()))
    sys.stdout = cast(TextIO, CleanStream(raw_stderr(), descriptor))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        _own.pop()


def take_descriptor() -> None:
    """Give what libraries in C print to standard output to standard error, where a file or a program reads the output.

    In a terminal both end up in the same place, and the true descriptor is needed to edit lines.
    """
    try:
        if os.isatty(1):
            return
        sys.stdout.flush()
        own = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of the two is closed
        return
    sys.stdout = open(own, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a line, clean, to standard output or standard error."""
    stream = raw_stderr() if err else raw_stdout()
    stream.write(clean(text) + ("\n" if nl else ""))
    stream.flush()


def echo_traceback(error: BaseException) -> None:
    """Print the traceback of an unexpected error. The text that it quotes may come from anyone."""
    echo("".join(traceback.format_exception(error)), err=True, nl=False)

"""`listening`: a terminal that a game writes to. Into a file or a pipe, C programs write only what fills a buffer."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import termios
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def listening(log: Path) -> Iterator[int]:
    """A terminal, as a file descriptor for the program that is started meanwhile. What comes is written to `log`, line
    ends as they are, until the last program that has the terminal ends."""
    ours, theirs = pty.openpty()
    try:
        attributes = termios.tcgetattr(theirs)
        attributes[1] &= ~termios.OPOST  # a newline stays one
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        file = log.open("wb", buffering=0)
        threading.Thread(target=_copy, args=(ours, file), name="game output", daemon=True).start()
        yield theirs
    finally:
        os.close(theirs)


def _copy(terminal: int, file: io.FileIO) -> None:
    with contextlib.suppress(OSError), file:  # EIO is the end: no process has the other side open any more
        while data := os.read(terminal, 65536):
            with contextlib.suppress(OSError):  # a full disk: the game must not wait for us
                file.write(data)
    os.close(terminal)

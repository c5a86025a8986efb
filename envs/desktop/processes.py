"""The processes of a game, however they were started: all that carry our mark in their environment.

Imports the standard library alone: the watchdog, which has to start fast, uses it too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

MARK = "LUDENS_DESKTOP"


def marked(mark: str) -> list[int]:
    """The processes whose environment says MARK=`mark`: a game and all that it started, sessions of their own too."""
    entry = f"{MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or belongs to another user
            if entry in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def end(mark: str, timeout: float = 3.0) -> None:
    """SIGKILL the processes with `mark`, and wait until they are gone; they can't start others meanwhile."""
    deadline = time.monotonic() + timeout
    while (alive := [pid for pid in marked(mark) if not _zombie(pid)]) and time.monotonic() < deadline:
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True

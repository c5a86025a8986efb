"""Folders for files that a world needs while it runs. What a killed process left is removed by the next one."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "ludens-scratch-"
_YOUNG = 60.0  # seconds: a folder as young as this may not be locked yet
_held: dict[str, tuple[int, int]] = {}  # of a folder: the process that made it, and the descriptor that locks it


def scratch_folder(kind: str) -> Path:
    """A new folder in the temporary folder, such as ludens-scratch-doom-x7k2. It goes with `remove`, or with the
    process; if that is killed, with the next call of this function by any process."""
    _sweep()
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-")
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel unlocks it, however this process ends
    if not _held:
        atexit.register(_remove_all)
    _held[folder] = os.getpid(), lock
    return Path(folder)


def remove(folder: Path) -> None:
    """Remove a folder and what is in it. A fork of the process that made it leaves it there."""
    pid, lock = _held.pop(str(folder), (0, -1))
    if pid == os.getpid():
        shutil.rmtree(folder, ignore_errors=True)
    if lock >= 0:
        with contextlib.suppress(OSError):
            os.close(lock)


def _remove_all() -> None:
    for folder in list(_held):
        remove(Path(folder))


def _sweep() -> None:
    """Remove the folders of ended processes: the folders that no process locks."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            state = folder.lstat()
            ours = state.st_uid == os.getuid() and folder.is_dir() and not folder.is_symlink()
            if ours and time.time() - state.st_mtime > _YOUNG and _is_free(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True

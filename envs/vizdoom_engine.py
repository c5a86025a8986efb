"""Where ViZDoom's engine is started: guarded, without our secrets, and in a folder of its own.

The engine writes `_vizdoom/` into the folder where it stands, and takes our process down where it can't.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
from pathlib import Path

from envs import environment
from envs.reaper import guarded

_PREFIX = "ludens-vizdoom-"


def engine_path() -> str:
    """What to give to `DoomGame.set_vizdoom_path`."""
    return _path(os.getpid(), environment.withheld())


@functools.cache
def _path(pid: int, without: tuple[str, ...]) -> str:
    import vizdoom

    _sweep()
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{pid}-")
    atexit.register(_remove, folder, pid)
    engine = Path(vizdoom.__file__).parent / "vizdoom"
    return guarded(engine, without=without, session=True, folder=folder)


def _remove(folder: str, pid: int) -> None:
    if os.getpid() == pid:  # a fork has the list of what is to be done at its end, but not the folder
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what processes that were killed have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        with contextlib.suppress(OSError):
            pid = folder.name[len(_PREFIX) :].split("-")[0]
            if not Path(f"/proc/{pid}").exists() and Path("/proc").exists() and folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)

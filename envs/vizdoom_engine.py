"""Where ViZDoom's engine is started: guarded, without our secrets, and in its own folder.

The engine writes `_vizdoom/` into its current folder. If it can't, it takes our process down.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from envs import environment
from envs.reaper import guarded
from envs.scratch import scratch_folder


def engine_path() -> str:
    """What to give to `DoomGame.set_vizdoom_path`."""
    return _path(os.getpid(), environment.withheld())


@functools.cache
def _path(pid: int, without: tuple[str, ...]) -> str:
    import vizdoom

    folder = str(scratch_folder("vizdoom"))
    engine = Path(vizdoom.__file__).parent / "vizdoom"
    return guarded(engine, without=without, session=True, folder=folder)

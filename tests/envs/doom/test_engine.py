"""The engine leaves nothing where we stand, and needs nothing there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PLAY = """
from envs.action import Action
from {module} import {name} as World
world = World({argument})
world.reset(seed=0)
world.step(Action())
print("played")
world.close()
"""
DOOM = {"module": "envs.doom.world", "name": "DoomWorld", "argument": ""}
GYMNASIUM = {"module": "envs.gymnasium.world", "name": "GymnasiumWorld", "argument": "'VizdoomBasic-v1'"}


def play(where: str | Path, scratch: Path, **world: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch)}
    return subprocess.run(
        [sys.executable, "-c", PLAY.format(**world)], cwd=where, env=env,
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("world", [DOOM, GYMNASIUM], ids=["doom", "gymnasium"])
def test_nothing_is_left_in_the_working_folder(world: dict[str, str], tmp_path: Path) -> None:
    work, scratch = tmp_path / "work", tmp_path / "scratch"
    work.mkdir()
    scratch.mkdir()
    done = play(work, scratch, **world)
    assert done.returncode == 0, done.stderr
    assert list(work.iterdir()) == []
    assert list(scratch.glob("ludens-*")) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder that nobody can write: /proc")
@pytest.mark.parametrize("world", [DOOM, GYMNASIUM], ids=["doom", "gymnasium"])
def test_it_plays_where_nothing_can_be_written(world: dict[str, str], tmp_path: Path) -> None:
    done = play("/proc", tmp_path, **world)
    assert (done.returncode, done.stdout.strip()) == (0, "played"), done.stderr

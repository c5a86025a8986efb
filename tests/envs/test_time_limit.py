"""`agent env check` tells its parts, and names what hangs and where something is raised."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from envs.action import Action
from envs.check import check_world
from envs.world import Observation
from tests.support.worlds import SquareWorld

SELF = Path(__file__).stem
Step = tuple[Observation, float, bool, bool, dict[str, Any]]


class Hangs(SquareWorld):
    def step(self, action: Action) -> Step:
        if self.tick == 3:
            with contextlib.suppress(Exception):  # what hangs may hide it
                time.sleep(60)
        return super().step(action)


class Spins(SquareWorld):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        while True:
            pass


class Throws(SquareWorld):
    def step(self, action: Action) -> Step:
        if self.tick == 3:
            raise KeyError("sword")
        return super().step(action)


@pytest.mark.parametrize(("world", "call"), [(Hangs, "step()"), (Spins, "reset()")])
def test_a_call_that_hangs_is_named_after_the_limit(world: type[SquareWorld], call: str) -> None:
    begun = time.monotonic()
    violations = check_world(world, episodes=1, ticks=8, limit=0.5)
    (hang,) = [violation.sentence for violation in violations if violation.rule == "hang"]
    assert f"{call} did not come back within 0.5 s ({SELF}.py, line " in hang
    assert time.monotonic() - begun < 10


def test_a_step_that_throws_is_told_with_its_file_and_line() -> None:
    (violation,) = [one for one in check_world(Throws, episodes=1, ticks=8, limit=5.0) if one.rule == "exception"]
    assert f"KeyError('sword') ({SELF}.py, line " in violation.sentence


def test_parts_are_told_as_they_go() -> None:
    heard: list[tuple[str, bool]] = []
    assert (
        check_world(SquareWorld, episodes=1, ticks=8, limit=5.0, on_part=lambda p, s: heard.append((p, s is None)))
        == []
    )
    parts = ["shape", "life", "play", "refusals", "determinism", "chunks", "gymnasium"]
    assert heard == [(part, begins) for part in parts for begins in (True, False)]


def test_the_verb_tells_parts_and_what_hangs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    how = ("--episodes", "1", "--ticks", "8", "--limit", "0.5", "--sheet", str(tmp_path / "a.png"))
    assert cli.run(["env", "check", f"{SELF}:Hangs", *how]) == 1
    said = capsys.readouterr().out
    assert "shape" in said
    assert "hang: step() did not come back within 0.5 s" in said
    assert cli.run(["env", "check", f"{SELF}:Throws", *how, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert set(report["parts"]) == {"shape", "life", "play", "refusals", "determinism", "chunks", "gymnasium"}

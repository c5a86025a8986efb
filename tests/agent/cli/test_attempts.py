"""`agent play --attempts`: what went wrong is said, and the next attempt knows of the one before."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from agent import cli
from agent.memory import earlier_attempt
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import NEUTRAL, Action
from envs.wrappers import Standing
from rewards.reward import Footage
from rewards.score import Failure, Score
from tasks.task import Task
from tests.support.worlds import SquareWorld
from training.data.episodes import read_episode

SELF = Path(__file__).stem


class Meadow(SquareWorld):
    """A world that the policies of Doom can act in."""

    tick_hz = 35.0


class Moving(Meadow):
    """It never begins alike again."""

    deterministic = False


class Walker:
    """Walks until it knows of an attempt before; then it turns."""

    spec = PolicySpec(View.stretched((24, 32)))

    def act(self, contexts: list[Context]) -> list[Decision]:
        return [self._decide(earlier_attempt(context.memory)) for context in contexts]

    @staticmethod
    def _decide(before: str) -> Decision:
        step = Action(look=(2.0, 0.0)) if before else Action(keys=frozenset({"KeyW"}))
        return Decision((step,) * 4, thought="onward")


class Turns:
    """A critic that wants to see the view turn: the second attempt passes."""

    name, sees_truth = "turns", False

    def __init__(self) -> None:
        self.seen = 0

    def score(self, task: Task, episodes: Sequence[Footage]) -> list[Score | Failure]:
        self.seen += 1
        return [Score(0.0, self.seen > 1, f"look number {self.seen}", self.name) for _ in episodes]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def played(
    capsys: pytest.CaptureFixture[str], *options: str, world: str = "Meadow", status: int = 0
) -> tuple[str, str]:
    command = ["play", "walk on", "--env", f"{SELF}:{world}", "--policy", f"{SELF}:Walker", "--seed", "5", "--no-page"]
    assert cli.run([*command, "--time-limit", "0.4", "--out", "run", *options]) == status
    said = capsys.readouterr()
    return said.out, said.err


def memories() -> list[set[str]]:
    """What the player knew of an earlier attempt, of each episode."""
    episodes = json.loads(Path("run/config.json").read_text())["episodes"]
    found = [read_episode(Path(one["episode"])).steps["memory"].to_pylist() for one in episodes]
    return [{earlier_attempt(memory or "") for memory in episode} for episode in found]


def test_it_says_what_went_wrong_and_tries_again_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = played(capsys, "--attempts", "5", "--critic", f"{SELF}:Turns")
    assert "attempt 1 went wrong, I think: look number 1. I try again, from the start" in out
    assert "attempt 2: done, I think: look number 2" in out
    first, second = memories()
    assert first == {""}
    (told,) = second - {""}  # the row of the last frame has none
    assert told.startswith("did: walk on (")
    assert told.endswith("seen: onward. judged: look number 1")
    frames = [read_episode(path).frames()[0] for path in sorted(Path("run").glob("episode-*"))]
    assert np.array_equal(*frames)


def test_where_the_world_can_not_go_back_it_goes_on_from_where_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = played(capsys, "--attempts", "2", "--critic", f"{SELF}:Turns", world="Moving")
    assert "I try again, from where I stand" in out
    first, second = (read_episode(path).frames() for path in sorted(Path("run").glob("episode-*")))
    assert not np.array_equal(first[0], second[0])
    assert np.array_equal(first[-1], second[0]), "it stands where the first attempt ended"


def test_one_attempt_asks_no_critic_and_ground_truth_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = played(capsys)
    assert "went wrong" not in out
    _, err = played(capsys, "--critic", "judge", status=2)
    assert "give --attempts 2 or more" in err
    _, err = played(capsys, "--attempts", "2", "--critic", "truth", status=2)
    assert "--critic truth sees ground truth, which no player is told" in err


def test_a_world_that_ended_its_episode_begins_anew() -> None:
    world = Standing(Moving())
    world.stand()
    start, _ = world.reset(seed=3)
    moved = world.step(Action(keys=frozenset({"KeyW"})))[0]
    world.stand()
    here, _ = world.reset(seed=3)
    assert np.array_equal(here["pixels"], moved["pixels"])
    again, _ = world.reset(seed=3)
    assert np.array_equal(again["pixels"], start["pixels"])
    while not (step := world.step(NEUTRAL))[3] and not step[2]:
        pass
    world.stand()
    anew, _ = world.reset(seed=3)
    assert np.array_equal(anew["pixels"], start["pixels"])

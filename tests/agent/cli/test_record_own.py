"""`agent record` in worlds of one's own: tasks from a file, or an instruction; worlds that are spelled otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.cli.compose import is_path, same_world
from envs.world import Observation
from envs.wrappers import RealTime
from tests.support.components import needs
from tests.support.thread_workers import THREADS
from tests.support.worlds import SquareWorld
from training.data.episodes import read_episode

SELF = Path(__file__).stem


class Field(SquareWorld):
    """A world that nobody knows, in lockstep."""

    tick_hz = 35.0

    def observe(self) -> tuple[Observation, dict[str, Any]]:
        observation, _ = super().observe()
        return observation, {"state": {"return": float(self.tick)}}


def street() -> RealTime:
    """The same world, which waits for nobody."""
    return RealTime(Field())


FIELD, STREET = f"{SELF}:Field", f"{SELF}:street"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def record(capsys: pytest.CaptureFixture[str], *args: str, status: int = 0) -> Any:
    """The summary of `agent record`, or its complaint."""
    given = ("--policy", "random", "--workers", THREADS, "--json", *args)
    assert cli.run(["record", *given]) == status
    said = capsys.readouterr()
    return json.loads(said.out) if status == 0 else said.err


def tasks_file(world: str) -> str:
    verifier = "{name: reward, args: {at_least: 1000}}"
    Path("own.yaml").write_text(
        "tasks:\n"
        f"  - {{instruction: go right, world: '{world}', seeds: [1, 2], time_limit: 9, verifier: {verifier}}}\n"
        f"  - {{instruction: go left, world: '{world}', seeds: [3], time_limit: 5}}\n"
    )
    return "own.yaml"


@pytest.mark.parametrize("world", [FIELD, STREET])
def test_tasks_of_a_file_are_recorded_in_a_world_of_ones_own(world: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = tasks_file(world)
    summary = record(capsys, "--env", world, "--tasks", file, "--out", "data")
    assert (summary["episodes"], summary["kept"], summary["errors"]) == (3, 0, [])
    assert summary["success"] == 0.0  # of the two that are judged
    first, last = (read_episode(Path(f"data/own-0-{index:06d}")) for index in (0, 2))
    assert (first.meta["ticks"], last.meta["ticks"]) == (9, 5)
    assert last.meta["task"]["instruction"] == "go left"
    again = record(capsys, "--env", world, "--tasks", file, "--out", "data", "--episodes", "50")
    assert (again["episodes"], again["kept"]) == (0, 3)


def test_an_instruction_is_recorded_in_any_world(capsys: pytest.CaptureFixture[str]) -> None:
    summary = record(capsys, "walk around", "--env", FIELD, "--episodes", "2", "--time-limit", "0.4", "--out", "data")
    assert (summary["episodes"], summary["ticks"], summary["success"]) == (2, 28, None)  # nobody judges it
    seeds = [read_episode(Path(f"data/walk-around-0-{index:06d}")).meta["seed"] for index in range(2)]
    assert seeds == [0, 1]
    doom = record(capsys, "look up", "--episodes", "1", "--time-limit", "1", "--out", "doom")
    assert doom["success"] is not None  # a task of Doom, with its verifier


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--env", FIELD), "say what is to be done in world"),
        (("--env", FIELD, "--suite", "doom-basic"), "suite 'doom-basic' is played in world 'doom', not in"),
        (("--suite", "doom-basic", "go"), "give one of them"),
        (("--env", FIELD, " "), "the instruction is empty"),
        (("--env", FIELD, "--policy", "expert", "go"), "brings no expert"),
        (("--env", FIELD, "--tasks", "gone.yaml"), "gone.yaml: No such file"),
        (("--env", FIELD, "go", "--time-limit", "inf"), "--time-limit inf: expected a finite number"),
    ],
)
def test_what_can_not_be_recorded_is_told_before_anything_starts(
    args: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told = record(capsys, "--out", "data", *args, status=2)
    assert said in told
    assert "Traceback" not in told
    assert not Path("data").exists()


def test_a_world_is_the_same_however_it_is_spelled(capsys: pytest.CaptureFixture[str]) -> None:
    Path("games").mkdir()
    Path("games/a.yaml").touch()
    alike = [
        ("doom", "envs.doom.world:DoomWorld"),
        ("browser:games/a.yaml", "browser:./games/a.yaml"),
        ("browser:games/a.yaml", f"browser:{Path.cwd()}/games/../games/a.yaml"),
        ("desktop:game --level 1", "desktop:game  --level '1'"),
        ("browser:http://localhost:1/", "browser:http://localhost:1/"),
    ]
    for one, other in alike:
        assert same_world(one, other), (one, other)
        assert same_world(other, one)
    for one, other in (
        ("doom", "playroom"), ("browser:games/a.yaml", "gymnasium:games/a.yaml"), ("gymnasium:A-v0", "gymnasium:a-v0"),
        ("desktop:game 'a b'", "desktop:game a b"), (FIELD, STREET),
    ):  # fmt: skip
        assert not same_world(one, other), (one, other)


def test_eval_takes_a_world_by_what_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.yaml").write_text(
        "tasks:\n"
        "  - {instruction: look up, world: doom, seeds: [1], time_limit: 9,\n"
        "     verifier: {name: look, args: {direction: up}}}\n"
    )
    how = ("--tasks", "own.yaml", "--policy", "random", "--policy-only", "--workers", THREADS, "--json", "-")
    assert cli.run(["eval", "--env", "envs.doom.world:DoomWorld", *how]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
    assert cli.run(["eval", "--env", "playroom", *how]) == 2
    assert "is played in world 'doom', not in 'playroom': say --env doom" in capsys.readouterr().err


def test_a_folder_may_be_called_like_the_policy_that_fills_it(capsys: pytest.CaptureFixture[str]) -> None:
    how = ("--suite", "doom-basic", "--policy", "random", "--out", "random", "--episodes", "1", "--time-limit", "0.2")
    for kept in (0, 1):  # the folder is there at the second time
        assert cli.run(["record", *how, "--workers", THREADS, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["kept"] == kept
    assert is_path("./random")
    assert not is_path("random")
    Path("mine").mkdir()
    assert is_path("mine")


@needs("mujoco-drawing")
def test_a_suite_says_where_it_is_played(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--suite", "playroom-basic", "--episodes", "1", "--policy", "random", "--workers", THREADS, "--json")
    assert cli.run(["eval", "--policy-only", *sizes, "-"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
    assert cli.run(["record", *sizes, "--out", "data"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 1
    assert cli.run(["record", *sizes, "--env", "doom", "--out", "other"]) == 2
    assert "suite 'playroom-basic' is played in world 'playroom', not in 'doom'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verifier", "said"),
    [
        ("{name: javascript, args: {success: x > 1}}", "verifier 'javascript' can't judge world"),
        (f"{{name: '{SELF}:Wants'}}", "AttributeError: 'dict' object has no attribute 'player'"),
        (f"{{name: '{SELF}:Says'}}", "gave True; expected a tasks.verifier.Verdict or None"),
    ],
)
def test_a_verifier_without_what_it_needs_is_named(
    verifier: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own.yaml").write_text(
        f"tasks:\n  - {{instruction: go, world: '{FIELD}', seeds: [1], time_limit: 9, verifier: {verifier}}}\n"
    )
    how = ("--env", FIELD, "--tasks", "own.yaml", "--policy", "random", "--workers", THREADS)
    assert cli.run(["record", *how, "--out", "data", "--json"]) == 2
    assert said in capsys.readouterr().err


class Wants:
    """A verifier of another world."""

    def update(self, state: Any) -> None:
        state.player.health  # noqa: B018


class Says:
    """A verifier that says yes, and not what it has to."""

    def update(self, state: Any) -> bool:
        return True

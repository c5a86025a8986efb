"""Gymnasium environments as worlds: the real MiniWorld, ViZDoom, Atari and MuJoCo, unmodified."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml

from agent import cli
from agent.cli.compose import world_factory
from agent.loop.players import InStep
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs import plugins
from envs.action import NEUTRAL, Action
from envs.check import check_world
from envs.errors import UserError
from envs.gymnasium import packages
from envs.gymnasium.world import GymnasiumWorld
from tasks.play import play_task
from tasks.task_file import TasksFileError, load_tasks
from tasks.verifier import ReturnAtLeast
from tests.support.components import needs

FIXTURE_NEEDS = {"room": "opengl"}

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "gymnasium"
ROOM = str(EXAMPLES / "room.yaml")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def hold(*names: str, look: tuple[float, float] = (0.0, 0.0)) -> Action:
    buttons = frozenset(names) & {"left", "right", "middle"}
    return Action(keys=frozenset(names) - buttons, buttons=buttons, look=look)


@pytest.fixture(scope="module")
def room() -> Iterator[GymnasiumWorld]:
    made = GymnasiumWorld(ROOM)
    yield made
    made.close()


class Seeker:
    """Sees a picture and walks to what is red in it."""

    spec = PolicySpec(View.stretched((120, 160)), chunk=2)

    def act(self, contexts: list[Context]) -> list[Decision]:
        return [self._decide(context.frames[-1].astype(np.int16)) for context in contexts]

    def _decide(self, frame: Any) -> Decision:
        red = frame[..., 0] - frame[..., 1:].max(axis=-1) > 100
        columns = np.flatnonzero(red.any(axis=0))
        off = (columns.mean() - 80) / 80 if len(columns) else 1.0
        if abs(off) > 0.25:
            return Decision((Action(look=(math.copysign(15.0, off), 0.0)), NEUTRAL))
        return Decision((hold("KeyW"),) * 2)


# The contract


def write(path: Path, **fields: Any) -> str:
    path.write_text(yaml.safe_dump(fields))
    return str(path)


@pytest.mark.parametrize(
    ("env", "kwargs", "size", "keys", "tick_hz"),
    [
        pytest.param(
            "MiniWorld-OneRoom-v0", {}, (60, 80), {"KeyW", "ArrowLeft", "ArrowRight"}, 30.0, marks=needs("opengl")
        ),
        ("VizdoomBasic-v1", {}, (240, 320), {"KeyA", "KeyD"}, 35.0),
        ("ALE/Pong-v5", {}, (210, 160), {"KeyA", "KeyD", "Space"}, 30.0),
        pytest.param(
            "InvertedPendulum-v5",
            {"width": 64, "height": 48},
            (48, 64),
            {"KeyA", "KeyD"},
            25.0,
            marks=needs("mujoco-drawing"),
        ),
    ],
)
def test_environments_keep_the_contract(
    tmp_path: Path, env: str, kwargs: dict[str, int], size: tuple[int, int], keys: set[str], tick_hz: float
) -> None:
    name = f"gymnasium:{write(tmp_path / 'world.yaml', env=env, kwargs=kwargs, ignore=[])}"
    make = world_factory(name)
    world = make()
    assert world.observation_space["pixels"].shape == (*size, 3)
    assert world.action_space.keys == keys
    assert world.tick_hz == tick_hz
    assert world.deterministic
    world.close()
    assert check_world(make, episodes=1, ticks=8) == []


def test_the_name_of_an_environment_is_a_world_s_name() -> None:
    world = world_factory("gymnasium:CartPole-v1", resolution="60x40")()
    try:
        assert world.observation_space["pixels"].shape == (40, 60, 3)
        pixels = world.reset(seed=0)[0]["pixels"]
        assert pixels.shape == (40, 60, 3)
        assert pixels.std() > 1
        (*_, info) = world.step(NEUTRAL)  # nothing is held, and nothing happens
        assert (info["state"]["tick"], info["state"]["return"]) == (1, 0.0)
        (*_, info) = world.step_chunk([hold("Digit1")] * 3)
        assert info["state"]["return"] == 3.0
        assert info["state"]["observation"].shape == (4,)
    finally:
        world.close()
    assert plugins.load("world", "gymnasium:Env").args == ("Env",)  # the name goes before the module of that name
    assert plugins.load("world", "gymnasium.core:Env") is gymnasium.Env


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Nope-v1", r"gymnasium:Nope-v1 can't be made: NameNotFound: .*Nope"),
        ("no_package:Nope-v1", r"gymnasium:no_package:Nope-v1 can't be made: ModuleNotFoundError: .*no_package"),
        ("none.yaml", r"none\.yaml: can't be read: No such file"),
        ("FrozenLake-v1?", r"can't be made"),
    ],
)
def test_what_can_not_be_made_is_said_in_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        world_factory(f"gymnasium:{name}")()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, r"w\.yaml: env: is missing"),
        ({"env": "CartPole-v1", "key": 1}, r"w\.yaml: key: unknown key"),
        ({"env": "CartPole-v1", "tick_hz": 0}, r"w\.yaml: tick_hz: .*greater than 0"),
        ({"env": "CartPole-v1", "resolution": "60"}, r"resolution: expected WIDTHxHEIGHT"),
        ({"env": "CartPole-v1", "pixels": "rgb"}, r"w\.yaml: pixels: 'rgb' is no picture of the observation Box"),
        ({"env": "CartPole-v1", "kwargs": {"speed": 1}}, r"w\.yaml can't be made: .*speed"),
        ({"env": "CartPole-v1", "keys": {"press": [{"hold": "A", "do": 0}]}}, r"keys\.press\[0\]\.hold: unknown key"),
    ],
)
def test_a_wrong_world_file_is_refused_with_the_place(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        GymnasiumWorld(write(tmp_path / "w.yaml", **fields))
    assert "\n" not in str(caught.value)


@needs("opengl")
def test_what_draws_leaves_the_compiler_of_torch_alone() -> None:
    """Importing triton after Mesa has loaded its own LLVM ends the process, unless triton's library came first."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("torch has no triton here")
    code = f"""
from envs.gymnasium import packages
from envs.gymnasium.world import GymnasiumWorld
world = GymnasiumWorld({ROOM!r})
assert world.reset(seed=0)[0]["pixels"].std() > 5
import triton
world.close()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# What the hands do


def test_the_mouse_turns_by_as_many_degrees_as_it_moves(room: GymnasiumWorld) -> None:
    room.reset(seed=0)
    agent = room.environment.unwrapped.agent  # type: ignore[attr-defined]
    for total, look in ((30.0, (5.0, 0.0)), (-45.0, (-9.0, 0.0))):
        before = agent.dir
        for _ in range(round(total / look[0])):
            room.step(Action(look=look))
        room.step_chunk([NEUTRAL] * 3)
        assert math.degrees(before - agent.dir) == pytest.approx(total)
    place = agent.pos.copy()
    room.step_chunk([NEUTRAL] * 3)
    assert (agent.pos == place).all()
    room.step(hold("KeyW"))
    assert np.linalg.norm(agent.pos - place) > 0.1


def test_two_miniworlds_in_one_process_keep_their_own_rooms_in_any_thread(room: GymnasiumWorld) -> None:
    turns = [hold("ArrowLeft")] * 3
    room.reset(seed=1)
    alone = [room.step(turn)[0]["pixels"] for turn in turns]
    other = GymnasiumWorld("MiniWorld-FourRooms-v0")
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(partial(room.reset, seed=1)).result()
            other.reset(seed=2)
            for turn, frame in zip(turns, alone, strict=True):
                assert (thread.submit(partial(room.step, turn)).result()[0]["pixels"] == frame).all()
                other.step(turn)
    finally:
        other.close()
    room.reset(seed=1)
    assert (room.step(turns[0])[0]["pixels"] == alone[0]).all()


def test_a_button_of_doom_shoots_and_the_last_picture_is_not_black() -> None:
    world = GymnasiumWorld("VizdoomBasic-v1")
    try:
        for seed in range(3):
            world.reset(seed=seed)
            rewards, over = [], False
            while not over:  # walk along the wall and shoot: a shot hits, or the time is up
                tick = len(rewards)
                keys = ("left",) if tick % 10 == 0 else ("KeyA",) if tick < 150 else ("KeyD",)
                observation, reward, terminated, truncated, info = world.step(hold(*keys))
                rewards.append(reward)
                over = terminated or truncated
            assert min(rewards) < -1 or max(rewards) > 50  # a shot that misses costs more than a tick
            assert info["state"]["return"] == pytest.approx(sum(rewards))
            assert observation["pixels"].mean() > 10
            with pytest.raises(gymnasium.error.ResetNeeded):
                world.step(NEUTRAL)
    finally:
        world.close()


# Tasks and the loop


def test_the_example_tasks_are_played_from_pixels(monkeypatch: pytest.MonkeyPatch, room: GymnasiumWorld) -> None:
    monkeypatch.chdir(ROOT)
    tasks = load_tasks(EXAMPLES / "tasks.yaml")
    assert len({task.id for task in tasks}) == len(tasks) == 10
    assert {task.world for task in tasks} == {"gymnasium:examples/gymnasium/room.yaml"}
    assert [task.seed for task in tasks[:5]] == [0, 1, 2, 3, 4]
    world = world_factory(tasks[0].world)()
    try:
        outcomes = [play_task(world, InStep(Seeker()), task, observe="decision") for task in tasks[:5]]
    finally:
        world.close()
    assert [outcome.success for outcome in outcomes] == [True] * 5
    assert outcomes[0].why.startswith("the return 0.9")
    assert outcomes[0].reward > 0.8


def test_who_does_nothing_fails_when_the_time_is_up(room: GymnasiumWorld) -> None:
    class Idle(Seeker):
        def act(self, contexts: list[Context]) -> list[Decision]:
            return [Decision((NEUTRAL,)) for _ in contexts]

    (task, *_) = load_tasks(EXAMPLES / "tasks.yaml")
    outcome = play_task(room, InStep(Idle()), task)
    assert outcome.success is False
    assert (outcome.why, outcome.ticks) == ("the time is up", task.time_limit)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("world: gymnasium:X-v0, verifier: {name: face}", r"verifier\.name: .*'face'; this world knows reward"),
        ("world: gymnasium:X-v0, verifier: {name: reward}", r"verifier: .*wrong arguments"),
        ("world: gymnasium:X-v0, verifier: {name: reward, args: {at_least: much}}", r"verifier: .*expected a number"),
        ("verifier: {name: reward, args: {at_least: 1}}", r"verifier\.name: unknown verifier 'reward'"),
        ("options: {colour: red}", r"options\.colour: unknown key"),
    ],
)
def test_a_wrong_task_is_refused_with_its_place(tmp_path: Path, entry: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"tasks:\n- {{instruction: go, {entry}}}")
    with pytest.raises(TasksFileError, match=rf"mine\.yaml: tasks\[0\]\.{said}"):
        load_tasks(file)


def test_a_return_that_is_reached_is_a_success_and_nothing_else_is_a_verdict() -> None:
    verifier = ReturnAtLeast(at_least=1.0)
    assert verifier.update({"return": 0.9}) is None
    verdict = verifier.update({"return": 1.0})
    assert verdict is not None
    assert verdict.success


def test_options_of_a_task_go_to_the_reset_of_its_environment(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "tasks:\n- {instruction: stay up, world: 'gymnasium:CartPole-v1', options: {low: 0.2, high: 0.2}, seed: 7}"
    )
    (task,) = load_tasks(file)
    assert task.verifier is None
    world = world_factory(task.world)()
    try:
        _, info = world.reset(seed=task.seed, options=task.options)
    finally:
        world.close()
    assert info["state"]["observation"] == pytest.approx([0.2] * 4)


# The command line


def test_a_printed_key_map_is_a_world_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["env", "keymap", "gymnasium:CartPole-v1"]) == 0
    printed = capsys.readouterr().out
    assert "- {hold: Digit0, do: 0}" in printed
    (tmp_path / "pole.yaml").write_text(printed.replace("Digit0", "KeyA"))
    world = world_factory("gymnasium:pole.yaml")()
    world.close()
    assert world.action_space.keys >= {"KeyA", "Digit1"}
    assert "Digit0" not in world.action_space.keys
    assert cli.run(["env", "keymap", "doom"]) == 2
    assert "no key map" in capsys.readouterr().err


@needs("opengl")
def test_it_is_played_and_recorded_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    args = ["go to the red box", "--env", f"gymnasium:{ROOM}", "--policy", "test_gymnasium:Seeker", "--seed", "3"]
    assert cli.run(["play", *args, "--time-limit", "1", "--out", "run", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    (episode,) = printed["episodes"]
    assert episode["task"]["world"] == f"gymnasium:{ROOM}"
    assert episode["outcome"]["ticks"] > 5
    assert not episode["outcome"]["problems"]
    assert Path(printed["video"]).stat().st_size > 1000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="these libraries are Linux's")
@pytest.mark.parametrize(
    ("error", "command"),
    [
        (ImportError('Library "GL" not found.'), "apt-get install libgl1"),
        (ModuleNotFoundError("No module named 'pyglet'", name="pyglet"), "pip install 'ludens[gymnasium]'"),
        (ValueError("speed"), ""),
    ],
)
def test_what_is_missing_is_told_with_the_command_that_installs_it(error: Exception, command: str) -> None:
    assert packages.mend(error).startswith(command)
    assert bool(packages.mend(error)) == bool(command)


def test_mujoco_without_a_library_to_draw_with_says_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(packages, "backend", lambda: None)
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(UserError, match=r"InvertedPendulum-v5: MuJoCo has nothing to draw with; .*apt-get install"):
        GymnasiumWorld("InvertedPendulum-v5")

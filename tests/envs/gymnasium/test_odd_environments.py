"""Environments with one oddity each: recognised, or refused in a sentence that names world, call and what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from agent import cli
from envs.action import Action
from envs.check import check_world
from envs.errors import UserError
from envs.gymnasium.world import GymnasiumWorld
from training.data.episodes import find_episodes, read_episode

SELF = "tests.envs.gymnasium.test_odd_environments"
RED, GREEN = (200, 0, 0), (0, 255, 0)
GO = Action(keys=frozenset({"KeyW"}))


class Plain(gymnasium.Env[Any, Any]):
    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-1, 1, (3,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.n = 0

    def picture(self) -> Any:
        p = np.zeros((48, 64, 3), np.uint8)
        p[:] = RED
        p[10:20, 5 + self.n % 40 : 15 + self.n % 40] = GREEN
        return p

    def see(self) -> Any:
        return np.zeros(3, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.n = 0
        return self.see(), {}

    def step(self, action: Any) -> Any:
        self.n += 1
        return self.see(), 0.1, self.n >= 60, False, {}

    def render(self) -> Any:
        return self.picture()


def rendering(change: Any) -> type[Plain]:
    class Made(Plain):
        def render(self) -> Any:
            return change(self.picture())

    return Made


def observing(space: spaces.Space[Any], change: Any) -> type[Plain]:
    class Made(Plain):
        def __init__(self, render_mode: str | None = None) -> None:
            super().__init__(render_mode)
            self.observation_space = space

        def see(self) -> Any:
            return change(self.picture())

    return Made


def stepping(change: Any) -> type[Plain]:
    class Made(Plain):
        def step(self, action: Any) -> Any:
            return change(super().step(action)) if self.n >= 5 else super().step(action)

    return Made


def pil(p: Any) -> Any:
    from PIL import Image

    return Image.fromarray(p)


def tensor(p: Any) -> Any:
    import torch

    return torch.from_numpy(p)


def leave(result: Any) -> Any:
    raise SystemExit(0)


def explode(result: Any) -> Any:
    raise RuntimeError("physics exploded")


def alpha(p: Any, value: int = 255) -> Any:
    return np.concatenate([p, np.full((*p.shape[:2], 1), value, p.dtype)], -1)


def box(*shape: int, dtype: Any = np.uint8, high: float = 255) -> spaces.Box:
    return spaces.Box(0, high, shape, dtype)


SHOWN = {
    "uint8": rendering(lambda p: p),
    "floats to 1": rendering(lambda p: (p / 255.0).astype(np.float32)),
    "floats to 255": rendering(lambda p: p.astype(np.float64)),
    "whole numbers": rendering(lambda p: p.astype(np.int64)),
    "channels first": rendering(lambda p: np.moveaxis(p, -1, 0)),
    "RGBA": rendering(lambda p: alpha(p, 0)),
    "a PIL picture": rendering(pil),
    "a tensor": rendering(tensor),
    "a list": rendering(lambda p: [np.zeros_like(p), p]),
    "negative strides": rendering(lambda p: p[::-1, ::-1][::-1, ::-1]),
    "an observation with alpha": observing(box(48, 64, 4), alpha),
    "an observation that says uint8 and gives floats": observing(box(48, 64, 3), lambda p: p / 255.0),
}
GREY = {
    "booleans": rendering(lambda p: p[..., 1] > 100),
    "grey": rendering(lambda p: p[..., 1]),
    "grey with a channel": rendering(lambda p: p[..., 1:2]),
    "four grey frames": observing(box(48, 64, 4), lambda p: np.repeat(p[..., 1:2], 4, -1)),
    "four grey planes": observing(box(4, 48, 64), lambda p: np.stack([p[..., 0]] * 3 + [p[..., 1]])),
}
REFUSED = {
    "nothing": (rendering(lambda p: None), r"render\(\) gave NoneType"),
    "text": (rendering(lambda p: "picture"), r"render\(\) gave str"),
    "a vector": (rendering(lambda p: p[0, 0]), r"render\(\) gave an array uint8 \(3,\)"),
    "no numbers": (rendering(lambda p: p * np.nan), r"a picture float64 \(48, 64, 3\) with values that are no finite"),
    "too large": (rendering(lambda p: p.astype(np.int64) * 9), r"a picture int64 .* with values from 0 to 2295"),
    "negative": (rendering(lambda p: p.astype(np.float32) - 9), r"a picture float32 .* with values from -9 to"),
    "colours or a stack": (
        observing(box(48, 64, 4), lambda p: alpha(p, 7)), r"\(48, 64, 4\), which may be RGBA or four grey frames"
    ),
    "another shape": (
        observing(box(48, 64, 3), lambda p: p[:40]), r"the observation is uint8 \(40, 64, 3\); its space says uint8"
    ),
}  # fmt: skip
FPS = {"inf": float("inf"), "text": "thirty", "negative": -5, "one an hour": 1 / 3600, "many": 100_000, "list": [30]}
PLAY = {
    "sys.exit": (stepping(leave), r"step\(\) wanted to end the program: sys\.exit\(0\) \(test_odd_environments\.py, "),
    "an exception": (
        stepping(explode), r"step\(\) raised RuntimeError: physics exploded \(test_odd_environments\.py, line \d+\)"
    ),
    "four values": (stepping(lambda r: (*r[:3], r[4])), r"expected \(observation, reward, terminated, truncated, info"),
    "no reward": (stepping(lambda r: (r[0], None, *r[2:])), r"step\(\) gave the reward None; expected a finite number"),
    "NaN": (stepping(lambda r: (r[0], float("nan"), *r[2:])), r"step\(\) gave the reward nan"),
    "info": (stepping(lambda r: (*r[:4], None)), r"step\(\) gave info of type NoneType; expected a dict"),
    "growing": (None, r"the picture is \(49, 64, 3\) now and was \(48, 64, 3\) before; say resolution: 64x48"),
}  # fmt: skip


class Growing(Plain):
    def picture(self) -> Any:
        return np.full((48 + (self.n > 5), 64, 3), 90, np.uint8)


class OldReset(Plain):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros(2, np.float32)


class FailsToReset(Plain):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        sys.exit("no display")


class Prints(Plain):
    def step(self, action: Any) -> Any:
        print("step", self.n)
        return super().step(action)


ALL = {
    **SHOWN, **GREY, **{k: v for k, (v, _) in REFUSED.items()}, **{k: v for k, (v, _) in PLAY.items() if v},
    "growing": Growing, "OldReset": OldReset, "FailsToReset": FailsToReset, "Prints": Prints,
    **{f"fps {name}": type("Made", (Plain,), {"metadata": {**Plain.metadata, "render_fps": fps}})
       for name, fps in {**FPS, "zero": 0, "none": None, "fraction": 1 / 0.07, "numpy": np.float32(29.97)}.items()},
    "no metadata": type("Made", (Plain,), {"metadata": {}}),
}  # fmt: skip


def register(name: str) -> str:
    env_id = f"Odd{''.join(c for c in name.title() if c.isalnum())}-v0"
    if env_id not in gymnasium.registry:
        gymnasium.register(id=env_id, entry_point=ALL[name], max_episode_steps=1000)
    return env_id


for _name in ALL:
    register(_name)


def world(name: str, tmp_path: Path | None = None, **fields: Any) -> GymnasiumWorld:
    if tmp_path is None:
        return GymnasiumWorld(f"{SELF}:{register(name)}")
    file = tmp_path / "world.yaml"
    file.write_text(json.dumps({"env": f"{SELF}:{register(name)}", **fields}))
    return GymnasiumWorld(str(file))


@pytest.mark.parametrize("name", [*SHOWN, *GREY])
def test_a_picture_is_shown_as_it_is(name: str) -> None:
    made = world(name)
    frame = made.reset(seed=0)[0]["pixels"]
    assert frame.shape == (48, 64, 3)
    assert frame.dtype == np.uint8
    assert tuple(frame[15, 10]) == (GREEN if name in SHOWN else (255, 255, 255))
    assert tuple(frame[40, 40]) == (RED if name in SHOWN else (0, 0, 0))
    made.close()


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_with_dtype_and_shape(name: str) -> None:
    with pytest.raises(UserError, match=REFUSED[name][1]):
        world(name)


def test_a_world_file_says_what_a_picture_is(tmp_path: Path) -> None:
    frame = world("colours or a stack", tmp_path, channels="rgba").reset(seed=0)[0]["pixels"]
    assert tuple(frame[15, 10]) == GREEN
    frame = world("colours or a stack", tmp_path, channels="grey").reset(seed=0)[0]["pixels"]
    assert tuple(frame[15, 10]) == (7, 7, 7)
    frame = world("uint8", tmp_path, channels="bgr").reset(seed=0)[0]["pixels"]
    assert tuple(frame[40, 40]) == RED[::-1]
    frame = world("uint8", tmp_path, scale=0.5).reset(seed=0)[0]["pixels"]
    assert tuple(frame[40, 40]) == (100, 0, 0)
    with pytest.raises(UserError, match=r"world\.yaml: channels"):
        world("uint8", tmp_path, channels="cmyk")


@pytest.mark.parametrize("name", FPS)
def test_a_rate_that_is_none_is_refused_before_anything_is_played(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metadata render_fps is .*; expected 0.1 to 1000 ticks.*tick_hz"):
        world(f"fps {name}")
    assert world(f"fps {name}", tmp_path, tick_hz=20).tick_hz == 20.0


@pytest.mark.parametrize(
    ("name", "hz"), [("fps zero", 30.0), ("fps none", 30.0), ("no metadata", 30.0), ("fps fraction", 1 / 0.07)]
)
def test_a_rate_that_is_not_told_is_the_usual_one(name: str, hz: float) -> None:
    assert world(name).tick_hz == hz


@pytest.mark.parametrize("name", PLAY)
def test_a_foreign_fault_is_told_in_one_line_and_the_episode_is_closed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    keys = {"none": 0, "press": [{"hold": "KeyW", "do": 1}]}  # it steps always
    Path("odd.yaml").write_text(json.dumps({"env": f"{SELF}:{register(name)}", "keys": keys}))
    args = ["--env", "gymnasium:odd.yaml", "--policy", "random", "--no-page", "--out", "run", "go"]
    assert cli.run(["play", *args]) == 2
    said = capsys.readouterr()
    (line,) = said.err.strip().splitlines()[-1:]
    assert line.startswith("agent: gymnasium:odd.yaml: ")
    import re

    assert re.search(PLAY[name][1], line), line
    (episode,) = find_episodes("run")
    assert read_episode(episode).meta["ticks"] >= 5


def test_a_reset_that_is_none_is_told() -> None:
    with pytest.raises(UserError, match=r"reset\(\) gave an array \(2,\); expected .*\(observation, info\) from reset"):
        world("OldReset")
    with pytest.raises(UserError, match=r"reset\(\) wanted to end the program: sys.exit\('no display'\)"):
        world("FailsToReset")


@pytest.mark.slow
def test_evaluation_with_workers_tells_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    keys = {"none": 0, "press": [{"hold": "KeyW", "do": 1}]}
    Path("odd.yaml").write_text(json.dumps({"env": f"{SELF}:{register('sys.exit')}", "keys": keys}))
    task = {
        "instruction": "go",
        "world": "gymnasium:odd.yaml",
        "verifier": {"name": "reward", "args": {"at_least": 99}},
    }
    Path("tasks.yaml").write_text(json.dumps({"tasks": [task]}))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    args = ["--tasks", "tasks.yaml", "--env", "gymnasium:odd.yaml", "--policy", "random", "--policy-only"]
    assert cli.run(["eval", *args, "--workers", "1"]) == 2
    assert "wanted to end the program: sys.exit(0)" in capsys.readouterr().err


def test_what_an_environment_prints_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    args = ["--env", f"gymnasium:{SELF}:{register('Prints')}", "--policy", "random", "--no-page", "--json", "go"]
    assert cli.run(["play", *args, "--time-limit", "1"]) == 0
    json.loads(capsys.readouterr().out)


def test_cartpole_keeps_the_contract() -> None:
    def make() -> GymnasiumWorld:
        return GymnasiumWorld("CartPole-v1")

    assert check_world(make, episodes=1, ticks=10) == []

"""The conformance suite: a good world passes, and each broken rule is told in a sentence of its own."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from envs.action import NEUTRAL, KeyboardMouse
from envs.check import check_world
from envs.doom.world import DoomWorld
from envs.world import World
from envs.wrappers import RealTime, Resize, TimeLimit
from tests.support.worlds import SquareWorld

BROKEN: dict[str, tuple[Callable[[], World], str]] = {}


def breaks(rule: str, says: str) -> Callable[[type[World]], type[World]]:
    """Enter a world that breaks `rule`, and what the sentence about it must say."""

    def enter(world: type[World]) -> type[World]:
        BROKEN[world.__name__] = (world, f"{rule}: {says}")
        return world

    return enter


@breaks("observation space", "expected a Dict with the one key 'pixels'")
class BareBox(SquareWorld):
    def __init__(self):
        super().__init__()
        self.observation_space = self.observation_space["pixels"]


@breaks("pixels space", "expected a uint8 Box (H, W, 3)")
class GreySpace(SquareWorld):
    def __init__(self):
        super().__init__()
        self.observation_space = gymnasium.spaces.Dict({"pixels": gymnasium.spaces.Box(0, 255, (24, 32), np.uint8)})


@breaks("action space", "expected a KeyboardMouse")
class Discrete(SquareWorld):
    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Discrete(4)


class _LosesLook(KeyboardMouse):
    def to_jsonable(self, sample_n):
        return [{"keys": sorted(action.keys)} for action in sample_n]


@breaks("action JSON", "actions change on the way through")
class LosesLook(SquareWorld):
    def __init__(self):
        super().__init__()
        self.action_space = _LosesLook(("KeyW",), (), max_look=30)


@breaks("tick_hz", "tick_hz is 0; expected the ticks in a second")
class Timeless(SquareWorld):
    tick_hz = 0


@breaks("realtime", "realtime is 'yes'; expected True or False")
class VaguelyRealtime(SquareWorld):
    realtime = "yes"


@breaks("step before reset", "AttributeError")
class StepBeforeReset(SquareWorld):
    def __init__(self):
        super().__init__()
        self.running = True


@breaks("keys released by reset", "still held: KeyA, KeyD, left")
class HoldsOverReset(SquareWorld):
    def reset(self, *, seed=None, options=None):
        down = self.down
        result = super().reset(seed=seed)
        self.down = down
        return result


@breaks("keys released by close", "still held: KeyA, KeyD, left")
class HoldsOverClose(SquareWorld):
    def close(self):
        pass


@breaks("double close", "a second close() raised RuntimeError(closed already)")
class ClosesOnce(SquareWorld):
    closed = False

    def close(self):
        super().close()
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


@breaks("observation", "expected 'pixels' alone")
class TellsTruth(SquareWorld):
    def observe(self):
        observation, info = super().observe()
        return {**observation, "state": (self.x, self.y)}, info


@breaks("pixels", "gave pixels of float64 (24, 32, 3); expected uint8 (24, 32, 3)")
class FloatFrames(SquareWorld):
    def observe(self):
        observation, info = super().observe()
        return {"pixels": observation["pixels"] / 1.0}, info


@breaks("info", "expected a dict")
class NoInfo(SquareWorld):
    def observe(self):
        return super().observe()[0], None


@breaks("reward", "gave the reward nan; expected a finite number")
class NoReward(SquareWorld):
    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        return observation, math.nan, terminated, truncated, info


@breaks("end flags", "gave truncated = None; expected True or False")
class NeverSays(SquareWorld):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, None, info


@breaks("reused frame", "writes into a frame that was returned before")
class OneFrame(SquareWorld):
    def observe(self):
        observation, info = super().observe()
        if not hasattr(self, "frame"):
            self.frame = observation["pixels"]
        self.frame[:] = observation["pixels"]
        return {"pixels": self.frame}, info


@breaks("blank frame", "have a single value; expected a picture")
class Blank(SquareWorld):
    def observe(self):
        return {"pixels": np.zeros((24, 32, 3), np.uint8)}, {}


@breaks("step after the end", "was taken; expected gymnasium.error.ResetNeeded or the end again")
class StartsAgain(SquareWorld):
    def step(self, action):
        if not self.running and self.tick:
            self.reset()
        return super().step(action)


@breaks("action outside of the space", "a look of NaN degrees was taken; expected ValueError")
class TakesAnything(SquareWorld):
    def step(self, action):
        if self.running and not self.action_space.contains(action):
            return super().step(NEUTRAL)
        return super().step(action)


@breaks("determinism", "gave other frames in a new world")
class Moody(SquareWorld):
    made = 0

    def __init__(self):
        super().__init__()
        Moody.made += 1
        self.mood = Moody.made

    def observe(self):
        observation, info = super().observe()
        observation["pixels"][-1, -1] = self.mood
        return observation, info


@breaks("determinism", "gave other frames in a second episode of the same world")
class Tiring(SquareWorld):
    episode = 0

    def reset(self, *, seed=None, options=None):
        self.episode += 1
        return super().reset(seed=seed)

    def observe(self):
        observation, info = super().observe()
        observation["pixels"][-1, -1] = self.episode
        return observation, info


@breaks("empty chunk", "step_chunk([]) was taken; expected ValueError")
class EmptyChunk(SquareWorld):
    def step_chunk(self, actions):
        return super().step_chunk(actions or [NEUTRAL])


@breaks("step_chunk", "ends in another frame than 4 steps")
class ShortChunk(SquareWorld):
    def step_chunk(self, actions):
        super().step_chunk(actions)
        return super().step_chunk(actions[:1])


@breaks("gymnasium", "refuses the world")
class NoGenerator(SquareWorld):
    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed)
        self._np_random = None
        return result


@breaks("exception", "raised KeyError('KeyZ') (test_check.py, line ")
class Explodes(SquareWorld):
    def step(self, action):
        if self.tick == 3:
            raise KeyError("KeyZ")
        return super().step(action)


BROKEN["NoWorld"] = (lambda: gymnasium.make("CartPole-v1"), "world: expected an envs.world.World")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_told_in_its_own_sentence(name: str):
    make, expected = BROKEN[name]
    said = [str(violation) for violation in check_world(make)]
    rule, sentence = expected.split(": ", 1)
    assert any(text.startswith(f"{rule}: ") and sentence in text for text in said), said


@pytest.mark.parametrize(
    "make",
    [
        SquareWorld,
        lambda: Resize(SquareWorld(), 60, 80),
        lambda: TimeLimit(SquareWorld(), 7),
        lambda: RealTime(TimeLimit(SquareWorld(), 7), sleep=lambda seconds: None),
        DoomWorld,
        lambda: Resize(TimeLimit(DoomWorld(labels=True), 30), 60, 80),
    ],
    ids=["square", "resize", "time limit", "real time", "doom", "doom wrapped"],
)
def test_a_good_world_passes(make: Callable[[], World]):
    assert check_world(make) == []


def test_all_rules_of_a_world_are_reported_each_once():
    class Both(NoReward, TakesAnything):
        pass

    rules = [violation.rule for violation in check_world(Both)]
    assert len(rules) == len(set(rules))
    assert {"reward", "action outside of the space"} <= set(rules)


def test_random_and_real_time_worlds_are_not_asked_for_determinism():
    class Random(Moody):
        deterministic = False

    assert check_world(Random) == []


def test_the_examples_of_the_documentation_run():
    text = Path(__file__).parents[2].joinpath("docs", "worlds.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    names = {"__name__": "__main__"}  # so that the class is sent to the workers by value, as from a script
    for block in blocks:
        exec(block, names)
    assert names["pixels"].shape == (8, 60, 80, 3)


def test_gymnasium_makes_worlds_by_their_id():
    import envs.registration  # noqa: F401

    env = gymnasium.make("ludens/doom-v0", resolution="320x240")
    assert isinstance(env.unwrapped, DoomWorld)
    observation, _ = env.reset(seed=3)
    for _ in range(3):
        observation, *_ = env.step(env.action_space.sample())
    assert observation["pixels"].shape == (240, 320, 3)
    env.close()


def test_importing_envs_and_its_plugins_imports_no_gymnasium():
    script = "import sys, envs, envs.plugins; sys.exit('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

"""Tiny worlds for tests: a moving square, the same for the same seed and actions."""

from __future__ import annotations

import math
import os
from typing import Any, ClassVar

import gymnasium
import numpy as np

from envs.action import NEUTRAL, Action, KeyboardMouse
from envs.world import Observation, World


class SquareWorld(World):
    """A white square on a seeded colour; W A S D move it, the mouse shifts it. Ends after `length` ticks."""

    tick_hz = 50.0
    deterministic = True
    controls: ClassVar[dict[str, str]] = {"KeyW": "forward", "KeyS": "back", "KeyA": "left", "KeyD": "right"}

    def __init__(self, length: int = 40, height: int = 24, width: int = 32) -> None:
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)}
        )
        self.action_space = KeyboardMouse(("KeyW", "KeyA", "KeyS", "KeyD"), ("left",), max_look=30.0)
        self.length = length
        self.tick = length
        self.down = NEUTRAL
        self.running = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        height, width, _ = self.observation_space["pixels"].shape
        self.y, self.x = int(self.np_random.integers(height - 4)), int(self.np_random.integers(width - 4))
        self.colour = self.np_random.integers(0, 200, 3, dtype=np.uint8)
        self.tick, self.down, self.running = 0, NEUTRAL, True
        return self.observe()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if not self.running:
            raise gymnasium.error.ResetNeeded("square: call reset() before step()")
        if not self.action_space.contains(action):
            raise ValueError(f"square: {action!r} is not in {self.action_space!r}")
        height, width, _ = self.observation_space["pixels"].shape
        self.y = (self.y + ("KeyS" in action.keys) - ("KeyW" in action.keys)) % (height - 4)
        self.x = (self.x + ("KeyD" in action.keys) - ("KeyA" in action.keys) + math.floor(action.look[0])) % (width - 4)
        self.tick, self.down = self.tick + 1, action
        self.running = self.tick < self.length
        return *self.observe()[:1], 1.0, not self.running, False, self.observe()[1]

    def observe(self) -> tuple[Observation, dict[str, Any]]:
        pixels = np.empty(self.observation_space["pixels"].shape, np.uint8)
        pixels[:] = self.colour
        pixels[self.y : self.y + 4, self.x : self.x + 4] = 255
        return {"pixels": pixels}, {"state": {"x": self.x, "y": self.y}}

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        return self.down.keys, self.down.buttons

    def close(self) -> None:
        self.down, self.running = NEUTRAL, False


class ArrowsWorld(SquareWorld):
    """Listens to two keys, at 60 Hz."""

    tick_hz = 60.0

    def __init__(self) -> None:
        super().__init__()
        self.action_space = KeyboardMouse(("ArrowLeft", "ArrowRight"), (), max_look=0.0)
        self.controls = {"ArrowLeft": "go left"}


class NumberedWorld(SquareWorld):
    """Every frame tells which world, which episode and which tick it is, and the process that drew it.

    `reset(options={"episode": N})` numbers the episode. The first row holds world, episode and tick as pixels.
    """

    def __init__(self, number: int = 0, length: int = 10**9) -> None:
        super().__init__(length)
        self.number, self.episode = number, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self.episode = (options or {}).get("episode", 0)
        if self.episode < 0:
            raise ValueError("numbered: expected an episode number of 0 or more")
        return super().reset(seed=seed, options=options)

    def observe(self) -> tuple[Observation, dict[str, Any]]:
        observation, info = super().observe()
        for x, value in enumerate((self.number, self.episode, self.tick)):
            observation["pixels"][0, x] = value >> 16 & 255, value >> 8 & 255, value & 255
        return observation, {**info, "pid": os.getpid()}


def read_numbers(pixels: np.ndarray) -> tuple[int, int, int]:
    """World, episode and tick of a frame of `NumberedWorld`; (0, 0, 0) for a black frame."""
    world, episode, tick = (int.from_bytes(pixels[0, x].tobytes(), "big") for x in range(3))
    return world, episode, tick

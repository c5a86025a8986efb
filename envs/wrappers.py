"""Wrappers that are worlds themselves: real-time pacing, resized frames, a time limit, an episode that goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from PIL import Image

from envs.action import NEUTRAL, Action
from envs.world import Observation, World

Step = tuple[Observation, float, bool, bool, dict[str, Any]]


class WorldWrapper(World):
    """A world around a world; hands everything on. Subclasses change one thing.

    A `gymnasium.Wrapper` would not do: it is no `World`, and hides `tick_hz`, `held`, `chat`, `pace` and
    `step_chunk` from the code that holds it.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.observation_space = world.observation_space
        self.action_space = world.action_space
        self.tick_hz = world.tick_hz
        self.realtime = world.realtime
        self.deterministic = world.deterministic
        self.chat = world.chat
        self.controls = world.controls
        self.resolutions = world.resolutions
        self.sound_hz = world.sound_hz
        self.metadata = world.metadata
        self.render_mode = world.render_mode
        self.spec = world.spec

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        return self.world.reset(seed=seed, options=options)

    def step(self, action: Action) -> Step:
        return self.world.step(action)

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        return self.world.step_chunk(actions)

    def heard(self) -> npt.NDArray[np.int16] | None:
        return self.world.heard()

    def pace(self) -> None:
        self.world.pace()

    def render(self) -> Any:
        return self.world.render()

    @property
    def held(self) -> tuple[frozenset[str], frozenset[str]]:
        return self.world.held

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.world.warnings

    @property
    def facts(self) -> dict[str, str]:
        return self.world.facts

    @property
    def unwrapped(self) -> gymnasium.Env[Observation, Action]:
        return self.world.unwrapped

    @property
    def np_random(self) -> np.random.Generator:
        return self.world.np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self.world.np_random = value

    def close(self) -> None:
        self.world.close()


class RealTime(WorldWrapper):
    """Keeps a lockstep world to the clock: tick k of an episode begins k / `tick_hz` seconds after `reset`.

    The deadlines are absolute, so that errors don't add up. A control loop reads a frame, thinks, calls `pace()`,
    which blocks until the next tick is due, and steps; `step` paces by itself where `pace` was not called since the
    last step. A loop that is late by less than a tick gets a shorter next tick. Whole missed ticks are not made up
    for: those deadlines are dropped and the grid goes on, so that a stall never turns into a burst.

    `late_ticks`: ticks of this episode that began more than a tenth of a tick after they were due.
    `dropped_ticks`: deadlines of this episode that passed without a step. `clock` and `sleep` are for tests.
    """

    def __init__(
        self,
        world: World,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(world)
        self.realtime = True
        self._period = 1.0 / world.tick_hz
        self._clock, self._sleep = clock, sleep
        self._start = 0.0
        self._tick = 0
        self._paced = False
        self.late_ticks = 0
        self.dropped_ticks = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        result = self.world.reset(seed=seed, options=options)
        self._start, self._tick, self._paced = self._clock(), 1, False
        self.late_ticks = self.dropped_ticks = 0
        return result

    def pace(self) -> None:
        if self._paced or self._tick == 0:
            return
        self.world.pace()
        late = self._clock() - (self._start + self._tick * self._period)
        if late < 0:
            self._sleep(-late)
        elif late > 0.1 * self._period:
            self.late_ticks += 1
            missed = int(late / self._period)
            self._tick += missed
            self.dropped_ticks += missed
        self._paced = True

    def step(self, action: Action) -> Step:
        self.pace()
        result = self.world.step(action)
        self._tick, self._paced = self._tick + 1, False
        return result

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        return World.step_chunk(self, actions)  # a tick each: the world's own chunk would not wait in between


class Resize(WorldWrapper):
    """Frames of `height` x `width` pixels, antialiased where they shrink."""

    def __init__(self, world: World, height: int, width: int) -> None:
        super().__init__(world)
        if height < 1 or width < 1:
            raise ValueError(f"Resize: expected a positive size, got {height} x {width}")
        self._size = (width, height)
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8)}
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.world.reset(seed=seed, options=options)
        return self._resized(observation), info

    def step(self, action: Action) -> Step:
        observation, reward, terminated, truncated, info = self.world.step(action)
        return self._resized(observation), reward, terminated, truncated, info

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        observation, reward, terminated, truncated, info = self.world.step_chunk(actions)
        return self._resized(observation), reward, terminated, truncated, info

    def _resized(self, observation: Observation) -> Observation:
        image = Image.fromarray(observation["pixels"]).resize(self._size, Image.Resampling.BILINEAR)
        return {"pixels": np.array(image)}


class TimeLimit(WorldWrapper):
    """Truncates an episode after `ticks` ticks; a chunk that reaches beyond the limit is cut there."""

    def __init__(self, world: World, ticks: int) -> None:
        super().__init__(world)
        if ticks < 1:
            raise ValueError(f"TimeLimit: expected at least one tick, got {ticks}")
        self._limit = ticks
        self._left = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        result = self.world.reset(seed=seed, options=options)
        self._left = self._limit
        return result

    def step(self, action: Action) -> Step:
        return self._counted(1, self.world.step(action))

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        actions = actions[: max(self._left, 1)]
        return self._counted(len(actions), self.world.step_chunk(actions))

    def _counted(self, ticks: int, result: Step) -> Step:
        observation, reward, terminated, truncated, info = result
        self._left -= ticks
        return observation, reward, terminated, truncated or (self._left <= 0 and not terminated), info


class Standing(WorldWrapper):
    """After `stand`, the next `reset` leaves the world as it is, for a player that tries again from where it stands.

    A world that ended its episode is reset all the same. The hands let go of everything for one tick, which gives the
    first observation.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._stands, self._over = False, True

    def stand(self) -> None:
        """The next `reset` goes on with the episode."""
        self._stands = not self._over

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        if self._stands:
            self._stands = False
            observation, _, terminated, truncated, info = self.step(NEUTRAL)
            if not (terminated or truncated):
                return observation, info
        self._over = False
        return super().reset(seed=seed, options=options)

    def step(self, action: Action) -> Step:
        return self._noted(super().step(action))

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        return self._noted(super().step_chunk(actions))

    def _noted(self, step: Step) -> Step:
        self._over = step[2] or step[3]
        return step

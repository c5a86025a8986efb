"""How soon an input shows is measured in worlds that are known to be late."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest

from envs.action import NEUTRAL, Action
from envs.latency import input_latency
from envs.world import Observation
from tests.support.worlds import SquareWorld


class LateWorld(SquareWorld):
    """Does what it is told `late` ticks later; `restless`: a part of the picture flickers all the time."""

    def __init__(self, late: int, restless: bool = False) -> None:
        super().__init__(length=10**6)
        self._late, self._restless = late, restless

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self._queue = deque([NEUTRAL] * self._late)
        return super().reset(seed=seed)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._queue.append(action)
        return super().step(self._queue.popleft())

    def observe(self) -> tuple[Observation, dict[str, Any]]:
        observation, info = super().observe()
        if self._restless:
            observation["pixels"][:12] = self.np_random.integers(0, 256, (12, 32, 3), dtype=np.uint8)
        return observation, info


@pytest.mark.parametrize("late", [0, 1, 4])
def test_ticks_are_counted_to_the_frame_that_shows_the_input(late: int) -> None:
    found = input_latency(LateWorld(late))
    assert found is not None
    assert found.ticks == late + 1
    assert found.milliseconds > 0.0


def test_what_changes_by_itself_is_no_answer() -> None:
    assert input_latency(LateWorld(0, restless=True)) is None


def test_an_episode_that_ends_at_once_has_no_latency() -> None:
    assert input_latency(SquareWorld(length=3)) is None

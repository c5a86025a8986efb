"""Wrappers: pacing on a clock that the test turns, frames of another size, a limit in ticks."""

from __future__ import annotations

import time

import gymnasium
import numpy as np
import pytest

from envs.action import NEUTRAL, Action
from envs.wrappers import RealTime, Resize, TimeLimit
from tests.support.worlds import SquareWorld

PERIOD = 1 / SquareWorld.tick_hz  # 20 ms


class Clock:
    """A clock that moves only when someone sleeps or the test says so."""

    def __init__(self):
        self.now = 100.0
        self.began: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


def paced(clock: Clock, length: int = 10**6) -> RealTime:
    class Stamped(SquareWorld):
        def step(self, action):
            clock.began.append(round((clock.now - 100.0) / PERIOD, 6))
            return super().step(action)

    world = RealTime(Stamped(length), clock=clock, sleep=clock.sleep)
    world.reset(seed=0)
    return world


def test_ticks_begin_on_their_deadlines_however_long_the_player_thinks():
    clock = Clock()
    world = paced(clock)
    for thought in (0.0, 0.3, 0.9, 0.5):
        clock.now += thought * PERIOD
        world.step(NEUTRAL)
    assert clock.began == [1, 2, 3, 4]
    assert (world.late_ticks, world.dropped_ticks) == (0, 0)


def test_pace_waits_once_and_step_does_not_wait_again():
    clock = Clock()
    world = paced(clock)
    world.pace()
    assert clock.now == pytest.approx(100 + PERIOD)
    world.pace()
    clock.now += 0.2 * PERIOD
    world.step(NEUTRAL)
    world.step(NEUTRAL)
    assert clock.began == pytest.approx([1.2, 2])


def test_a_little_late_is_made_up_for_and_whole_ticks_are_dropped():
    clock = Clock()
    world = paced(clock)
    clock.now += 1.5 * PERIOD  # half a tick late
    for _ in range(2):
        world.step(NEUTRAL)
    clock.now += 5.5 * PERIOD  # the ticks 3 to 6 pass by
    for _ in range(4):
        world.step(NEUTRAL)
    assert clock.began == pytest.approx([1.5, 2, 7.5, 8, 9, 10]), "no burst after a stall"
    assert (world.late_ticks, world.dropped_ticks) == (2, 4)
    world.reset(seed=0)
    assert (world.late_ticks, world.dropped_ticks) == (0, 0)


def test_a_chunk_takes_a_tick_each():
    clock = Clock()
    world = paced(clock)
    world.step_chunk([NEUTRAL] * 4)
    assert clock.began == [1, 2, 3, 4]


def test_on_the_real_clock_ticks_take_their_time():
    world = RealTime(SquareWorld(10**6))
    world.reset(seed=0)
    began = time.perf_counter()
    for _ in range(25):
        world.step(NEUTRAL)
    ticks = (time.perf_counter() - began) / PERIOD - world.dropped_ticks
    assert 24.5 < ticks < 35, "25 on an idle machine"
    assert world.realtime
    assert world.deterministic


def test_resize_gives_small_and_large_frames_of_the_same_picture():
    for height, width in ((12, 16), (48, 64)):
        world = Resize(SquareWorld(), height, width)
        plain = SquareWorld()
        whole = plain.reset(seed=3)[0]["pixels"]
        pixels = world.reset(seed=3)[0]["pixels"]
        assert pixels.shape == world.observation_space["pixels"].shape == (height, width, 3)
        assert pixels.dtype == np.uint8
        assert pixels.mean() == pytest.approx(whole.mean(), rel=0.03)
        y, x = (plain.y + 2) * height // 24, (plain.x + 2) * width // 32
        assert pixels[y, x].min() > 200, "the square is where it was"
    with pytest.raises(ValueError, match="positive size"):
        Resize(SquareWorld(), 0, 3)


def test_time_limit_truncates_at_its_tick_and_cuts_chunks():
    inner = SquareWorld()
    world = TimeLimit(inner, 6)
    world.reset(seed=0)
    assert world.step(NEUTRAL)[2:4] == (False, False)
    assert world.step_chunk([NEUTRAL] * 4)[2:4] == (False, False)
    assert world.step_chunk([NEUTRAL] * 4)[1:4] == (1.0, False, True)
    assert inner.tick == 6
    world.reset(seed=0)
    assert world.step_chunk([NEUTRAL] * 5)[3] is False


def test_time_limit_does_not_call_a_natural_end_a_cut():
    world = TimeLimit(SquareWorld(length=5), 5)
    world.reset(seed=0)
    assert world.step_chunk([NEUTRAL] * 5)[2:4] == (True, False)
    with pytest.raises(gymnasium.error.ResetNeeded):
        world.step(NEUTRAL)


def test_wrappers_hand_on_what_a_world_has():
    inner = SquareWorld()
    inner.chat = object()
    world = TimeLimit(Resize(inner, 12, 16), 9)
    world.reset(seed=1)
    world.step(Action(keys=frozenset({"KeyW"})))
    assert world.held == (frozenset({"KeyW"}), frozenset())
    assert world.chat is inner.chat
    assert world.unwrapped is inner
    assert world.np_random is inner.np_random
    assert (world.tick_hz, world.realtime, world.deterministic) == (50.0, False, True)
    world.close()
    assert inner.held == (frozenset(), frozenset())

"""`input_latency`: how many ticks pass until the picture shows what the hands do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from envs.action import NEUTRAL, Action, KeyboardMouse
from envs.world import World

_REST = 10  # ticks without input, in which it shows how much the picture changes by itself
_PATIENCE = 30  # ticks that an input is held
_TRIALS = 3
_CLEAR = 1.5  # times the largest change without input, from which on a change is the input's
_LEAST = 0.02  # levels of brightness, mean over the picture, that count as a change at all
_TURN = 20.0  # degrees
_LIKELY = ("KeyW", "ArrowUp", "KeyD", "ArrowRight", "KeyA", "ArrowLeft", "KeyS", "ArrowDown", "Space")


@dataclass(frozen=True)
class Latency:
    """`ticks` from an input to the first frame that shows it, and the milliseconds that they took here; medians over
    trials. `input`: the input that showed soonest: "look", a key or a button."""

    input: str
    ticks: int
    milliseconds: float


def input_latency(world: World, seed: int = 0) -> Latency | None:
    """Hold one input after the other, from rest, until the picture changes more than it does by itself.

    Plays short episodes of `world`, which stays open. None if no input changed the picture clearly each time: it may
    need a place where there is something to use, or the picture moves on by itself.
    """
    found = []
    for name, action in _inputs(world.action_space):
        trials = [_trial(world, action, seed + trial) for trial in range(_TRIALS)]
        shown = [trial for trial in trials if trial is not None]
        if len(shown) == _TRIALS:
            ticks, milliseconds = sorted(shown)[_TRIALS // 2]
            found.append(Latency(name, ticks, milliseconds))
    return min(found, key=lambda latency: (latency.ticks, latency.milliseconds), default=None)


def _inputs(space: KeyboardMouse) -> Iterator[tuple[str, Action]]:
    if space.max_look > 0.0:
        yield "look", Action(look=(min(_TURN, space.max_look), 0.0))
    for key in _LIKELY:
        if key in space.keys:
            yield key, Action(keys=frozenset({key}))
    for button in sorted(space.buttons):
        yield button, Action(buttons=frozenset({button}))


def _trial(world: World, action: Action, seed: int) -> tuple[int, float] | None:
    """Ticks and milliseconds until an input shows; None if it does not, or the episode ends before."""
    observation, _ = world.reset(seed=seed)
    before, moving = observation["pixels"], _LEAST
    for _ in range(_REST):
        observation, _, terminated, truncated, _ = world.step(NEUTRAL)
        if terminated or truncated:
            return None
        moving, before = max(moving, _change(before, observation["pixels"])), observation["pixels"]
    start = time.perf_counter()
    for ticks in range(1, _PATIENCE + 1):
        observation, _, terminated, truncated, _ = world.step(action)
        if _change(before, observation["pixels"]) > _CLEAR * moving:
            return ticks, 1000.0 * (time.perf_counter() - start)
        if terminated or truncated:
            return None
        before = observation["pixels"]
    return None


def _change(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> float:
    return float(np.abs(after.astype(np.int16) - before).mean())

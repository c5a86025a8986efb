"""A person at keyboard and mouse by script, for recordings where nobody is at hand.

What the live page would send arrives at times of its own, not at ticks, and goes the way that a person's input goes:
`HumanHands` makes an action of it at every tick, the loop plays it in the real world, `Recorder` writes it down. The
person holds keys for log-normal times, in chords; moves the mouse in strokes of small steps, 125 a second; drags; turns
the wheel; and types, each key going down before the last one is up.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent.codec import Codec
from agent.loop.control import Control, Hands
from agent.loop.human_hands import HumanHands
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from envs.action import NEUTRAL, Action
from envs.characters import US
from envs.world import World
from training.data.episodes import Episode, Recorder, read_episode

_REPORT = 8.0  # milliseconds between two reports of a mouse
_SAID = "the quick brown fox jumps over the lazy dog 0123456789"

Message = dict[str, Any]
Event = tuple[float, str, Any]  # milliseconds; "down", "up", "look", "pointer" or "wheel"; what


def events(codec: Codec, seconds: float, seed: int) -> list[Event]:
    """What the person does, in order of time. It never holds what the space refuses: those who type no text press
    single keys together with Shift or none."""
    rng, found, end = np.random.default_rng(seed), list[Event](), 1000.0 * seconds
    acts = [_hold] * 6 * bool(codec.keys) + [_click] * 2 * bool(codec.buttons) + [_stroke] * 4 * codec.looks
    acts += [_drag] * 2 * (codec.space.pointer and "left" in codec.buttons) + [_point] * 2 * codec.space.pointer
    acts += [_wheel] * codec.space.wheel + [_type] * 2 * codec.types
    time = 0.0
    while time < end:
        found += acts[int(rng.integers(len(acts)))](rng, codec, time)
        time += float(rng.exponential(180.0))
    return sorted((event for event in found if event[0] < end), key=lambda event: event[0])


def _lasts(rng: np.random.Generator) -> float:
    return float(np.clip(rng.lognormal(np.log(180.0), 0.6), 50.0, 900.0))


def _hold(rng: np.random.Generator, codec: Codec, time: float) -> Iterator[Event]:
    key = str(rng.choice(codec.keys))
    yield from ((time, "down", key), (time + _lasts(rng), "up", key))


def _click(rng: np.random.Generator, codec: Codec, time: float) -> Iterator[Event]:
    button = str(rng.choice(codec.buttons))
    yield from ((time, "down", button), (time + float(rng.uniform(60, 140)), "up", button))


def _stroke(rng: np.random.Generator, codec: Codec, time: float) -> Iterator[Event]:
    steps = int(_lasts(rng) / _REPORT)
    yaw, pitch = float(rng.normal(0, 40)), float(rng.normal(0, 8))
    shape = np.sin(np.linspace(0.0, np.pi, steps + 2))[1:-1]  # a hand speeds up and slows down
    for step, share in enumerate(shape / shape.sum()):
        yield time + step * _REPORT, "look", (yaw * float(share), pitch * float(share))


def _point(rng: np.random.Generator, codec: Codec, time: float) -> Iterator[Event]:
    begin, end = rng.random(2), rng.random(2)
    for step in range(1, 13):
        x, y = begin + (end - begin) * step / 12
        yield time + step * 2 * _REPORT, "pointer", (float(x), float(y))


def _drag(rng: np.random.Generator, codec: Codec, time: float) -> Iterator[Event]:
    way = list(_point(rng, codec, time))
    yield from way
    yield way[0][0] + 1.0, "down", "left"
    yield way[-1][0] + 40.0, "up", "left"


def _wheel(rng: np.random.Generator, codec: Codec, time: float) -> Iterator[Event]:
    for notch in range(int(rng.integers(1, 4))):
        yield time + notch * float(rng.uniform(30, 90)), "wheel", float(rng.choice((-1.0, 1.0)))


def _type(rng: np.random.Generator, codec: Codec, time: float) -> Iterator[Event]:
    begin = int(rng.integers(len(_SAID) - 8))
    for character in _SAID[begin : begin + 8]:
        (key,) = US[character] - {"ShiftLeft"}
        if key in codec.keys:
            yield from ((time, "down", key), (time + float(rng.uniform(60, 130)), "up", key))
        time += float(rng.uniform(70, 160))


class Person(Control):
    """Plays a script of events instead of the player."""

    def __init__(self, codec: Codec, tick_hz: float, script: list[Event]) -> None:
        self._tick_hz, self._script, self._now = tick_hz, iter([*script, (float("inf"), "", None)]), 0.0
        self._next = next(self._script)
        self._hands = HumanHands(codec.space, clock=lambda: self._now)
        self._space, self._down = codec.space, dict[str, float]()
        self._pointer: tuple[float, float] | None = None

    def hands(self, tick: int) -> Hands:
        """What the hands hold at `tick`: all that was sent before it is over."""
        self._now = (tick + 1) / self._tick_hz
        self._send()  # a page that is alive says so
        while self._next[0] <= 1000.0 * self._now:
            _, kind, what = self._next
            self._apply(kind, what)
            self._next = next(self._script)
        return Hands(self._hands.action(), "human")

    def _apply(self, kind: str, what: Any) -> None:
        if kind == "down":
            names = frozenset({*self._down, what})
            action = Action(names & self._space.keys, names & self._space.buttons)
            if self._space.contains(action):  # else this person knows that it would close the window
                self._down[what] = self._down.get(what, 0.0) + 1
        elif kind == "up":
            self._down.pop(what, None)
        elif kind == "pointer":
            self._pointer = what
        self._send(**{kind: what} if kind in ("look", "wheel") else {})

    def _send(self, **moved: Any) -> None:
        message: Message = {
            "keys": sorted(self._down.keys() & self._space.keys),
            "buttons": sorted(self._down.keys() & self._space.buttons),
        }
        if self._pointer is not None:
            message["pointer"] = self._pointer
        self._hands.press(message | moved)


class _Nobody:
    spec = PolicySpec()

    def act(self, contexts: list[Context]) -> list[Decision]:
        return [Decision((NEUTRAL,)) for _ in contexts]


def record(world: World, seconds: float, out: Path, seed: int = 0) -> Episode:
    """An episode of `seconds` that the person plays in `world`, recorded in `out`."""
    codec = Codec(world.action_space, world.controls)
    recorder = Recorder(out, policy="scripted person", durable=False)
    person = Person(codec, world.tick_hz, events(codec, seconds, seed))
    play(
        world, InStep(_Nobody()), "play", seed=seed, time_limit=round(seconds * world.tick_hz), control=person,
        subscribers=[recorder],
    )  # fmt: skip
    if recorder.episode is None:
        raise RuntimeError("the episode was not written")
    return read_episode(recorder.episode)

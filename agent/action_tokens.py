"""The token form of the action language, for models that are trained: one vocabulary for all worlds.

A decision is up to MOST_STRETCHES stretches and an end. A stretch is, in this order and each only where it is not
neutral, ended by its time:

    yaw, pitch     of the whole stretch, in bins from fine to coarse
    keys           up to MOST_KEYS of them, by their W3C codes in the order of `envs.action.KEYS`
    buttons        in the order of `envs.action.BUTTONS`
    x, y           where the pointer is, in hundredths of the picture
    wheel          notches
    time           in bins; every stretch has one

Then `end`, or `done`. Taps, drags and typed text are held keys and buttons here: encode `Codec.plan_of` of the actions
that they become. `encode(decode(tokens)) == tokens` for every decision; the bins are the resolution of the other way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agent.codec import Codec
from agent.plan import THOUSANDTHS, Plan, Stretch
from envs.action import BUTTONS, KEYS, Action

VERSION = "keys1-tokens"
MOST_STRETCHES, MOST_KEYS = 6, 4

_SIDE = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.5, 7.0, 9.0, 11.0, 16.0, 23.0, 32.0, 45.0, 64.0, 90.0)
DEGREES = (*(-x for x in reversed(_SIDE)), 0.0, *_SIDE)
NOTCHES = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
PLACES = tuple(range(5, THOUSANDTHS, 10))  # the middles of hundredths
TIMES = (8, 17, 29, 33, 50, 57, 67, 86, 100, 115, 133, 167, 200, 250, 333, 500, 667, 1000)  # milliseconds
_OWED = 60.0  # milliseconds: less than would make another time of a short stretch

_FIELDS: tuple[tuple[str, Sequence[Any]], ...] = (
    ("yaw", [x for x in DEGREES if x]),
    ("pitch", [x for x in DEGREES if x]),
    ("key", KEYS),
    ("button", BUTTONS),
    ("x", PLACES),
    ("y", PLACES),
    ("wheel", [x for x in NOTCHES if x]),
    ("time", TIMES),
    ("end", (False, True)),
)
VOCABULARY: tuple[tuple[str, Any], ...] = tuple((name, value) for name, values in _FIELDS for value in values)
SIZE = len(VOCABULARY)
_ORDER = {name: place for place, (name, _) in enumerate(_FIELDS)}
_IDS = {entry: number for number, entry in enumerate(VOCABULARY)}
END, DONE = _IDS["end", False], _IDS["end", True]


def token_names() -> list[str]:
    """A mark for each token, such as "<key_Space>", for a tokenizer's vocabulary."""
    return [f"<{name}_{str(value).lower() if name == 'end' else value}>" for name, value in VOCABULARY]


def encode(plan: Plan) -> tuple[int, ...]:
    """The tokens nearest to a plan. Of more than MOST_KEYS keys the first in the order of KEYS are kept.

    Raises ValueError for a plan with taps, drags or typed text, or with more than MOST_STRETCHES stretches; `fit` makes
    a plan of any length one that tokens can say.
    """
    if len(plan.stretches) > MOST_STRETCHES:
        raise ValueError(f"a decision of tokens has at most {MOST_STRETCHES} stretches, not {len(plan.stretches)}")
    tokens, owed = list[int](), 0.0  # milliseconds that the bins are behind: later ends stay where they are
    for stretch in plan.stretches:
        time = _nearest(TIMES, stretch.milliseconds + owed)
        owed = min(max(owed + stretch.milliseconds - time, -_OWED), _OWED)
        tokens += [*_encoded(stretch), _IDS["time", time]]
    return (*tokens, DONE if plan.done else END)


def fit(plan: Plan) -> Plan:
    """`plan` in stretches that tokens have a time for, and the first MOST_STRETCHES of them: the rest is left to the
    next decision."""
    parts = [part for stretch in plan.stretches for part in _timed(stretch)]
    return Plan(tuple(parts[:MOST_STRETCHES]), plan.done)


def _timed(stretch: Stretch) -> Iterator[Stretch]:
    """A stretch in pieces of at most the longest time; look is shared out, the wheel turns in the first one."""
    left, wheel = stretch.milliseconds, stretch.wheel
    while left:
        piece = min(left, TIMES[-1])
        share = piece / stretch.milliseconds
        look = stretch.look[0] * share, stretch.look[1] * share
        yield replace(stretch, milliseconds=piece, look=look, wheel=wheel)
        left, wheel = left - piece, 0.0


def _encoded(stretch: Stretch) -> Iterator[int]:
    if stretch.events or stretch.drag:
        raise ValueError("tokens hold keys and buttons; encode Codec.plan_of of the actions of a plan with taps")
    for name, degrees in zip(("yaw", "pitch"), stretch.look, strict=True):
        if nearest := _nearest(DEGREES, degrees):
            yield _IDS[name, nearest]
    yield from [_IDS["key", key] for key in KEYS if key in stretch.hold][:MOST_KEYS]
    yield from [_IDS["button", button] for button in BUTTONS if button in stretch.hold]
    if stretch.pointer is not None:
        for name, place in zip(("x", "y"), stretch.pointer, strict=True):
            yield _IDS[name, _nearest(PLACES, place)]
    if notches := _nearest(NOTCHES, stretch.wheel):
        yield _IDS["wheel", notches]


def _nearest(values: Sequence[Any], x: float) -> Any:
    return min(values, key=lambda value: abs(value - x))


def decode(tokens: Sequence[int]) -> Plan:
    """The plan that the tokens of a whole decision stand for. Raises ValueError for what is none."""
    state = State()
    for token in tokens:
        state = state.after(token)
    if not state.over:
        raise ValueError("action tokens: the decision has no end")
    stretches, current = [], _Parts()
    for token in tokens[:-1]:
        name, value = VOCABULARY[token]
        if name == "time":
            stretches.append(current.stretch(value))
            current = _Parts()
        else:
            current.values.setdefault(name, []).append(value)
    return Plan(tuple(stretches), tokens[-1] == DONE)


@dataclass
class _Parts:
    values: dict[str, list[Any]] = field(default_factory=dict)

    def stretch(self, milliseconds: int) -> Stretch:
        one = {name: values[0] for name, values in self.values.items()}
        return Stretch(
            milliseconds,
            frozenset(self.values.get("key", []) + self.values.get("button", [])),
            look=(one.get("yaw", 0.0), one.get("pitch", 0.0)),
            pointer=(one["x"], one["y"]) if "x" in one else None,
            wheel=one.get("wheel", 0.0),
        )


@dataclass(frozen=True)
class State:
    """How far a decision is: the stretches that are complete, and the last token of the one that is not."""

    stretches: int = 0
    last: int = -1  # -1: a stretch begins
    held: frozenset[str] = frozenset()
    keys: int = 0
    over: bool = False

    def after(self, token: int) -> State:
        """The state after one more token. Raises ValueError where it can't stand here in any world."""
        if not (0 <= token < SIZE and self._fits(token)):
            raise ValueError(f"action tokens: {token} can't stand at this place")
        name, value = VOCABULARY[token]
        if name == "end":
            return State(self.stretches, over=True)
        if name == "time":
            return State(self.stretches + 1)
        held = self.held | {value} if name in ("key", "button") else self.held
        return State(self.stretches, token, held, self.keys + (name == "key"))

    def _fits(self, token: int) -> bool:
        name = VOCABULARY[token][0]
        before = VOCABULARY[self.last][0] if self.last >= 0 else ""
        if self.over:
            return False
        if name == "end":
            return self.last < 0 < self.stretches
        if self.stretches == MOST_STRETCHES or (name == "y") != (before == "x"):
            return False
        if name == "key" and self.keys == MOST_KEYS:
            return False
        ascending = token > self.last if name in ("key", "button") else _ORDER[name] > _ORDER.get(before, -1)
        return self.last < 0 or ascending

    def allowed(self, codec: Codec) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which tokens may follow in the world of `codec`: bool (SIZE,). At least one does until it is over."""
        return np.array([self._fits(token) and self._there(token, codec) for token in range(SIZE)])

    def _there(self, token: int, codec: Codec) -> bool:
        name, value = VOCABULARY[token]
        if name in ("yaw", "pitch"):
            return codec.looks
        if name in ("x", "y"):
            return codec.space.pointer
        if name == "wheel":
            return codec.space.wheel
        if name not in ("key", "button"):
            return True
        held = self.held | {value}
        there = value in codec.keys or value in codec.buttons
        return there and codec.space.contains(Action(held.difference(BUTTONS), held.intersection(BUTTONS)))

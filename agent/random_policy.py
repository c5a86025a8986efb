"""`RandomPolicy`: the floor of every comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from agent.plan import STEP, ticks_of
from agent.policy import Context, Decision, PolicySpec
from envs.action import NEUTRAL, Action, KeyboardMouse
from envs.world import World

_USUAL = KeyboardMouse(("KeyW", "KeyA", "KeyS", "KeyD", "KeyE"), ("left",), max_look=20.0)
SHORTEST, LONGEST = 80.0, 600.0  # milliseconds that a key is down
_MEDIAN, _SPREAD = 200.0, 0.6  # of the log-normal times: two thirds of them are 110 to 360 milliseconds
_MOST = 3  # keys that are down together
_KEY, _BUTTON, _TURN, _POINT, _NOTCH = 0.5, 0.1, 0.3, 0.3, 0.1  # chances that one of these begins in a decision
_DEGREES = (45.0, 10.0)  # of yaw and pitch: the standard deviations of a turn
_HISTORY = 8  # decisions that it looks back on: longer than anything is held


class RandomPolicy:
    """Draws from the whole action space of its world. It never says that it is done.

    Keys, buttons and turns begin at random times and last for times of their own, so that they overlap as fingers do.
    The times are log-normal, as those of people at a keyboard are, from a tap to a step (SHORTEST to LONGEST): a game
    that looks at its keys once a frame sees every press, and a walk gets somewhere. A new place of the pointer and a
    notch of the wheel come at random too. What may not be held together never is.

    The policy keeps no state: what is down, and since when, it reads from the actions in its context, and draws how
    much longer given how long already. The context's seed decides the draw. Without a world (`for_world`) it draws from
    the few keys that most games have.
    """

    def __init__(self, space: KeyboardMouse | None = None, tick_hz: float = 35.0) -> None:
        self.spec = PolicySpec(history=_HISTORY, chunk=max(1, ticks_of(STEP, tick_hz)), tick_hz=tick_hz)
        self._space = _USUAL if space is None else space

    def for_world(self, world: World) -> RandomPolicy:
        """The policy that draws from what `world` listens to, at its pace."""
        return type(self)(world.action_space, world.tick_hz)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return [self._drawn(context) for context in contexts]

    def _drawn(self, context: Context) -> Decision:
        seen = int(context.frames[-1][::8, ::8].sum())
        rng = np.random.default_rng([context.seed, len(context.actions), seen])
        past, chunk = [action for actions in context.actions for action in actions], self.spec.chunk
        last, space = past[-1] if past else NEUTRAL, self._space
        ticks = [Action(pointer=last.pointer)] * chunk
        for name in sorted(last.keys | last.buttons):
            self._press(ticks, name, 0, self._end(rng, _held_since(past, name)))
        names = sorted(space.keys - space.ignored - last.keys)
        if names and rng.random() < _KEY and len(last.keys) < _MOST:
            self._begin(rng, ticks, str(rng.choice(names)))
        for button in sorted(space.buttons - space.ignored - last.buttons):
            if rng.random() < _BUTTON:
                self._begin(rng, ticks, button)
        for tick, look in enumerate(self._turn(rng, past)):
            ticks[tick] = replace(ticks[tick], look=look)
        if space.pointer and rng.random() < _POINT:
            place, begin = (float(rng.random()), float(rng.random())), int(rng.integers(chunk))
            ticks[begin:] = [replace(action, pointer=place) for action in ticks[begin:]]
        if space.wheel and rng.random() < _NOTCH:
            at = int(rng.integers(chunk))
            ticks[at] = replace(ticks[at], wheel=float(rng.choice((-1.0, 1.0))))
        return Decision(tuple(ticks))

    def _end(self, rng: np.random.Generator, since: int) -> int:
        """The tick of this decision at which something ends that has lasted for `since` ticks."""
        drawn = np.clip(rng.lognormal(np.log(_MEDIAN), _SPREAD, 64), SHORTEST, LONGEST)
        ticks = [max(1, ticks_of(float(time), self.spec.tick_hz)) for time in drawn]
        return min(next((total - since for total in ticks if total >= since), 0), self.spec.chunk)

    def _begin(self, rng: np.random.Generator, ticks: list[Action], name: str) -> None:
        begin = int(rng.integers(self.spec.chunk))
        self._press(ticks, name, begin, begin + self._end(rng, 0))

    def _press(self, ticks: list[Action], name: str, begin: int, end: int) -> None:
        """Hold `name` from tick `begin` to `end`, unless it may not be held with what is down."""
        field = "keys" if name in self._space.keys else "buttons"
        held = [replace(action, **{field: getattr(action, field) | {name}}) for action in ticks[begin:end]]
        if all(self._space.contains(action) for action in held):
            ticks[begin : begin + len(held)] = held

    def _turn(self, rng: np.random.Generator, past: Sequence[Action]) -> list[tuple[float, float]]:
        """The look of every tick: none, a turn that goes on, or one that begins."""
        chunk, most, still = self.spec.chunk, self._space.max_look, (0.0, 0.0)
        if "look" in self._space.ignored or most <= 0.0:
            return [still] * chunk
        if past and (look := past[-1].look) != still:
            end = self._end(rng, _since(past, lambda action: action.look == look))
            return [look] * end + [still] * (chunk - end)
        if rng.random() >= _TURN:
            return [still] * chunk
        begin, lasts = int(rng.integers(chunk)), max(1, ticks_of(_MEDIAN, self.spec.tick_hz))
        yaw, pitch = (float(np.clip(rng.normal(0.0, degrees) / lasts, -most, most)) for degrees in _DEGREES)
        end = min(chunk, begin + self._end(rng, 0))
        return [still] * begin + [(yaw, pitch)] * (end - begin) + [still] * (chunk - end)


def _held_since(past: Sequence[Action], name: str) -> int:
    """For how many ticks a key or button is down."""
    return _since(past, lambda action: name in action.keys or name in action.buttons)


def _since(past: Sequence[Action], holds: Callable[[Action], bool]) -> int:
    """For how many ticks something has been so."""
    return next((ticks for ticks, action in enumerate(reversed(past)) if not holds(action)), len(past))

"""Verifiers for Minetest. As in tasks.doom.verify, only what was asked for counts: the wrong thing ends the task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from envs.minetest.state import MinetestState
from tasks.task import thing_name
from tasks.verifier import LOOK_TICKS, Verdict, Verifier, Watch

NEAR = 1.8  # nodes between the player and a thing's side within which one is at it
NEAR_ANGLE = 30.0  # degrees off the view's centre


def name_of(state: MinetestState, number: int) -> str:
    """What thing `number` is called."""
    thing = state.level.things[number]
    return thing_name(thing.kind, thing.colour)


def look_tolerance(state: MinetestState, thing: int) -> float:
    """How far from a thing's centre one may look, degrees: its own size, and at least 4."""
    item = state.level.things[thing]
    return max(4.0, math.degrees(math.atan2(max(item.height / 2, min(item.half)), state.distance(thing))))


def looks_at(state: MinetestState, thing: int) -> bool:
    """Whether the crosshair is on a thing, or beside it with nothing else under it."""
    if state.aimed is not None:
        return state.aimed == thing
    return thing not in state.dug and math.hypot(*state.bearing(thing)) <= look_tolerance(state, thing)


def is_at(state: MinetestState, thing: int) -> bool:
    there = thing not in state.dug and state.gap(thing) <= NEAR
    return there and abs(state.bearing(thing)[0]) <= NEAR_ANGLE


class _Watch(Watch):
    """A watch over a level's things. `may_dig`, `may_open`: whether that may happen to targets."""

    may_dig = False
    may_open = False

    def wrong(self, state: MinetestState) -> str:
        for thing in state.dug:
            if not (self.may_dig and thing in self.targets):
                return f"dug the {name_of(state, thing)}"
        for thing in sorted(state.opened):
            if not (self.may_open and thing in self.targets):
                return f"opened the {name_of(state, thing)}"
        return ""

    def names(self, state: MinetestState) -> list[str]:
        return [name_of(state, thing) for thing in range(len(state.level.things))]

    def is_at(self, state: MinetestState, thing: int) -> bool:
        return is_at(state, thing)

    def looks_at(self, state: MinetestState, thing: int) -> bool:
        return looks_at(state, thing)

    def where(self, state: MinetestState) -> str:
        return f"{state.x:.1f} {state.z:.1f} {state.yaw:.0f}"


class LookAt(_Watch):
    """Hold a target under the crosshair, or within its own size of it, for 14 ticks."""

    guard_look = True

    def judge(self, state: MinetestState) -> Verdict | None:
        looking = any(looks_at(state, thing) for thing in self.targets)
        return Verdict(True, "looks at it") if self.lasts(state, "look", looking, LOOK_TICKS) else None


class GoTo(_Watch):
    """Be within 1.8 nodes of a target's side, its middle within 30 degrees of the view's centre to the sides."""

    guard_stand = True

    def judge(self, state: MinetestState) -> Verdict | None:
        for thing in self.targets:
            if is_at(state, thing):
                return Verdict(True, f"is at the {name_of(state, thing)}")
        return None


class Dig(_Watch):
    """Dig `count` of the targets."""

    may_dig = True

    def __init__(self, targets: Iterable[int], count: int = 1) -> None:
        super().__init__(targets)
        if not 1 <= count <= len(self.targets):
            raise ValueError(f"count: expected 1 to {len(self.targets)}, got {count}")
        self._count = count

    def judge(self, state: MinetestState) -> Verdict | None:
        dug = len(self.targets.intersection(state.dug))
        return Verdict(True, "dug it" if self._count == 1 else f"has {dug} of them") if dug >= self._count else None


class PlaceOn(_Watch):
    """Place a block on top of a target; elsewhere is a failure."""

    def wrong(self, state: MinetestState) -> str:
        if any(placed.on not in self.targets for placed in state.placed):
            return "put a block elsewhere"
        return super().wrong(state)

    def judge(self, state: MinetestState) -> Verdict | None:
        return Verdict(True, "the block is on it") if state.placed else None


class Enter(_Watch):
    """Stand in a house."""

    may_open = True

    def wrong(self, state: MinetestState) -> str:
        for thing in range(len(state.level.things)):
            if thing not in self.targets and state.inside(thing):
                return f"entered the {name_of(state, thing)}"
        return super().wrong(state)

    def judge(self, state: MinetestState) -> Verdict | None:
        return Verdict(True, "is inside") if any(state.inside(thing) for thing in self.targets) else None


class Open(_Watch):
    """Open a target."""

    may_open = True

    def judge(self, state: MinetestState) -> Verdict | None:
        return Verdict(True, "it is open") if self.targets & state.opened else None


FAMILIES: dict[str, Callable[..., Verifier]] = {
    "minetest.look_at": LookAt,
    "minetest.go_to": GoTo,
    "minetest.dig": Dig,
    "minetest.place_on": PlaceOn,
    "minetest.enter": Enter,
    "minetest.open": Open,
}

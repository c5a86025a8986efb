"""Verifiers of the playroom. As in tasks.doom.verify, only what was asked for counts: the wrong thing ends the task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from envs.playroom.state import PlayroomState
from tasks.task import thing_name
from tasks.verifier import LOOK_TICKS, Verdict, Verifier, Watch

NEAR = 1.4  # metres within which one is at a thing
NEAR_ANGLE = 30.0  # degrees off the view's centre
LIFT_TICKS = 12
REST_TICKS = 8
REST_SPEED = 0.1  # metres a second
BESIDE = 0.3  # metres from the rug: what begins there and is shoved onto it in passing was not brought
WRONG_HOLD_TICKS = 10  # who lets go of a wrong thing at once has not taken it


def name_of(state: PlayroomState, number: int) -> str:
    """What thing `number` is called."""
    thing = state.room.things[number]
    return thing_name(thing.kind, thing.colour)


def look_tolerance(state: PlayroomState, thing: int) -> float:
    """How far from a thing's centre one may look, degrees: its own size, and at least 4."""
    item = state.room.things[thing]
    half = max(item.height / 2, item.radius)
    return max(4.0, math.degrees(math.atan2(half, state.distance(thing))))


def looks_at(state: PlayroomState, thing: int) -> bool:
    return math.hypot(*state.bearing(thing)) <= look_tolerance(state, thing)


def is_at(state: PlayroomState, thing: int) -> bool:
    return state.distance(thing) <= NEAR and abs(state.bearing(thing)[0]) <= NEAR_ANGLE


def rests(state: PlayroomState, thing: int) -> bool:
    return state.held != thing and float(np.linalg.norm(state.velocities[thing][:3])) < REST_SPEED


def is_there(state: PlayroomState, thing: int, place: str) -> bool:
    """Whether a thing is in the bin, or lies on another piece of furniture or on what lies there."""
    piece = state.room.piece(place)
    if piece is None or place == "bin":
        return state.is_in(thing)
    x, y, z = state.positions[thing].tolist()
    return state.lies_on(thing, place) or (place != "rug" and piece.covers(x, y) and z > piece.height)


class _Watch(Watch):
    """A watch over a room's things, indices into `room.things`.

    `place`: furniture to which nothing may be added that was not asked for.
    """

    def __init__(self, targets: Iterable[int], place: str | None = None) -> None:
        super().__init__(targets)
        self.place = place
        self._before: frozenset[int] | None = None  # what was there, or beside the rug, when it began

    def wrong(self, state: PlayroomState) -> str:
        wrong = state.held is not None and state.held not in self.targets
        if self.lasts(state, "wrong", wrong, WRONG_HOLD_TICKS):
            assert state.held is not None
            return f"took the {name_of(state, state.held)}"
        if self.place is None:
            return ""
        if self._before is None:
            piece, beside = state.room.piece(self.place), BESIDE if self.place == "rug" else 0.0
            spots = enumerate(state.positions[:, :2].tolist())
            self._before = frozenset(i for i, (x, y) in spots if piece is not None and piece.covers(x, y, beside))
        added = sorted(self._resting(state, self.place) - self._before - self.targets)
        return f"brought the {name_of(state, added[0])} to the {self.place}" if added else ""

    @staticmethod
    def _resting(state: PlayroomState, place: str) -> frozenset[int]:
        things = range(len(state.room.things))
        return frozenset(thing for thing in things if rests(state, thing) and is_there(state, thing, place))

    def names(self, state: PlayroomState) -> list[str]:
        return [name_of(state, thing) for thing in range(len(state.room.things))]

    def is_at(self, state: PlayroomState, thing: int) -> bool:
        return is_at(state, thing)

    def looks_at(self, state: PlayroomState, thing: int) -> bool:
        return looks_at(state, thing)

    def where(self, state: PlayroomState) -> str:
        return f"{state.x:.1f} {state.y:.1f} {state.yaw:.0f}"


class LookAt(_Watch):
    """Hold a target within its own size of the crosshair for 14 ticks."""

    guard_look = True

    def judge(self, state: PlayroomState) -> Verdict | None:
        looking = any(looks_at(state, thing) for thing in self.targets)
        return Verdict(True, "looks at it") if self.lasts(state, "look", looking, LOOK_TICKS) else None


class GoTo(_Watch):
    """Be within 1.4 m of a target, which is within 30 degrees of the view's centre to the sides."""

    guard_stand = True

    def judge(self, state: PlayroomState) -> Verdict | None:
        for thing in self.targets:
            if is_at(state, thing):
                return Verdict(True, f"is at the {name_of(state, thing)}")
        return None


class Lift(_Watch):
    """Hold a target for 12 ticks, off what it stood on."""

    def judge(self, state: PlayroomState) -> Verdict | None:
        held = state.held
        up = held in self.targets and not any(thing == held for thing, _ in state.on)
        return Verdict(True, "lifted it") if self.lasts(state, "up", up, LIFT_TICKS) else None


class PutOn(_Watch):
    """Let a target come to rest on `support`, a kind of furniture."""

    def __init__(self, targets: Iterable[int], support: str) -> None:
        super().__init__(targets)
        self._support = support

    def judge(self, state: PlayroomState) -> Verdict | None:
        there = any(rests(state, thing) and state.lies_on(thing, self._support) for thing in self.targets)
        return Verdict(True, "it lies there") if self.lasts(state, "there", there, REST_TICKS) else None


class PutIn(_Watch):
    """Let a target come to rest in the bin."""

    def judge(self, state: PlayroomState) -> Verdict | None:
        there = any(rests(state, thing) and state.is_in(thing) for thing in self.targets)
        return Verdict(True, "it lies in the bin") if self.lasts(state, "there", there, REST_TICKS) else None


class PushTo(_Watch):
    """Bring a target, and nothing else, onto the rug without picking it up."""

    def __init__(self, targets: Iterable[int]) -> None:
        super().__init__(targets, "rug")

    def judge(self, state: PlayroomState) -> Verdict | None:
        if state.held is not None:
            return Verdict(False, "carried it instead of pushing it")
        there = any(rests(state, thing) and state.lies_on(thing, "rug") for thing in self.targets)
        return Verdict(True, "it lies there") if self.lasts(state, "there", there, REST_TICKS) else None


class Stack(_Watch):
    """Let a target come to rest on one of the things `supports`, off the floor."""

    def __init__(self, targets: Iterable[int], supports: Iterable[int]) -> None:
        super().__init__(targets)
        self._supports = frozenset(supports)

    def judge(self, state: PlayroomState) -> Verdict | None:
        there = any(
            rests(state, thing) and (thing, support) in state.on and (thing, "floor") not in state.on
            for thing in self.targets
            for support in self._supports
        )
        return Verdict(True, "it lies there") if self.lasts(state, "there", there, REST_TICKS) else None


class Sort(_Watch):
    """Let all targets, and nothing else, come to rest in the bin or on another piece of furniture, `place`."""

    def __init__(self, targets: Iterable[int], place: str) -> None:
        super().__init__(targets, place)
        self._place = place

    def judge(self, state: PlayroomState) -> Verdict | None:
        there = self.targets <= self._resting(state, self._place)
        return Verdict(True, "they are all there") if self.lasts(state, "there", there, REST_TICKS) else None


FAMILIES: dict[str, Callable[..., Verifier]] = {
    "playroom.look_at": LookAt,
    "playroom.go_to": GoTo,
    "playroom.lift": Lift,
    "playroom.put_on": PutOn,
    "playroom.put_in": PutIn,
    "playroom.push_to": PushTo,
    "playroom.stack": Stack,
    "playroom.sort": Sort,
}

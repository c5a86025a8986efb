"""Verifiers of the playroom. As in tasks.verify, only what was asked for counts: the wrong thing ends the task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

import numpy as np

from envs.playroom.state import PlayroomState
from tasks.verify import Verdict, Verifier

NEAR = 1.4  # metres within which one is at a thing
NEAR_ANGLE = 30.0  # degrees off the view's centre
LOOK_TICKS = 14
LIFT_TICKS = 12
REST_TICKS = 8
REST_SPEED = 0.1  # metres a second
STAND_TICKS = 10
WRONG_LOOK_TICKS = 24
WRONG_HOLD_TICKS = 10  # who lets go of a wrong thing at once has not taken it


def thing_name(state: PlayroomState, thing: int) -> str:
    return f"{state.room.things[thing].colour} {state.room.things[thing].kind}"


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


class _Watch(ABC):
    """What every verifier of the playroom looks at. `targets`: indices into the room's things."""

    guard_stand = False
    guard_look = False

    def __init__(self, targets: Iterable[int]) -> None:
        self.targets = frozenset(targets)
        self._since: dict[str, int] = {}

    def update(self, state: PlayroomState) -> Verdict | None:
        wrong = state.held is not None and state.held not in self.targets
        if self.lasts(state, "wrong", wrong, WRONG_HOLD_TICKS):
            assert state.held is not None
            return Verdict(False, f"took the {thing_name(state, state.held)}, which was not asked for")
        return self.judge(state) or self._guards(state)

    @abstractmethod
    def judge(self, state: PlayroomState) -> Verdict | None:
        """The family's own rule."""

    def lasts(self, state: PlayroomState, what: str, true: bool, ticks: int) -> bool:
        """Whether `what` has been true for so many ticks."""
        if not true:
            self._since.pop(what, None)
            return False
        return state.tick - self._since.setdefault(what, state.tick) >= ticks

    def _guards(self, state: PlayroomState) -> Verdict | None:
        pose = f"{state.x:.1f} {state.y:.1f} {state.yaw:.0f}"
        self._since = {key: tick for key, tick in self._since.items() if not key.startswith("pose") or key[5:] == pose}
        still = state.tick - self._since.setdefault(f"pose {pose}", state.tick)
        near = min((state.distance(thing) for thing in self.targets), default=math.inf)
        for thing in range(len(state.room.things)):
            if thing in self.targets:
                continue
            if self.guard_stand and still >= STAND_TICKS and is_at(state, thing) and state.distance(thing) < near:
                return Verdict(False, f"stands at the {thing_name(state, thing)}, which was not asked for")
            if self.guard_look and still >= WRONG_LOOK_TICKS and looks_at(state, thing):
                return Verdict(False, f"looks at the {thing_name(state, thing)}, which was not asked for")
        return None


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
                return Verdict(True, f"is at the {thing_name(state, thing)}")
        return None


class Lift(_Watch):
    """Hold a target for 12 ticks, off what it stood on."""

    def judge(self, state: PlayroomState) -> Verdict | None:
        held = state.held
        up = held in self.targets and not any(thing == held for thing, _ in state.on)
        return Verdict(True, "lifted it") if self.lasts(state, "up", up, LIFT_TICKS) else None


class PutOn(_Watch):
    """Let a target come to rest on `support`: a kind of furniture, or the index of a thing."""

    def __init__(self, targets: Iterable[int], support: str | int) -> None:
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
    """Bring a target onto the rug without picking it up."""

    def judge(self, state: PlayroomState) -> Verdict | None:
        if state.held is not None:
            return Verdict(False, "carried it instead of pushing it")
        there = any(rests(state, thing) and state.lies_on(thing, "rug") for thing in self.targets)
        return Verdict(True, "it lies there") if self.lasts(state, "there", there, REST_TICKS) else None


FAMILIES: dict[str, Callable[..., Verifier]] = {
    "playroom.look_at": LookAt,
    "playroom.go_to": GoTo,
    "playroom.lift": Lift,
    "playroom.put_on": PutOn,
    "playroom.put_in": PutIn,
    "playroom.push_to": PushTo,
}

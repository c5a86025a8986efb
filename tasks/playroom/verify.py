"""Verifiers of the playroom. As in tasks.verify, only what was asked for counts: the wrong thing ends the task."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from envs.playroom.state import PlayroomState
from tasks.verdict import Verdict, Verifier
from tasks.watch import LOOK_TICKS, Watch

NEAR = 1.4  # metres within which one is at a thing
NEAR_ANGLE = 30.0  # degrees off the view's centre
LIFT_TICKS = 12
REST_TICKS = 8
REST_SPEED = 0.1  # metres a second
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


class _Watch(Watch):
    """A watch over a room's things, indices into `room.things`."""

    def wrong(self, state: PlayroomState) -> str:
        wrong = state.held is not None and state.held not in self.targets
        if not self.lasts(state, "wrong", wrong, WRONG_HOLD_TICKS):
            return ""
        assert state.held is not None
        return f"took the {thing_name(state, state.held)}"

    def names(self, state: PlayroomState) -> list[str]:
        return [thing_name(state, thing) for thing in range(len(state.room.things))]

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

"""Verifiers of Doom: they watch ground truth and end a task in success or failure.

Success counts as in SIMA 1: only the thing that was asked for. The wrong item taken or shot is a failure, also when
the right one would follow; so are three shots that aim at nothing asked for, and standing at a wrong thing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable

from envs.angles import wrapped
from envs.doom.things import KINDS
from envs.doom.world import DoomObject, DoomState
from tasks.doom.geometry import (
    DOOR_OPEN,
    REACH,
    REACH_ANGLE,
    aim_tolerance,
    bearing,
    distance,
    face_tolerance,
    gap,
)
from tasks.task import thing_name
from tasks.verifier import Verdict, Verifier

TOUCH_GAP = 10.0  # map units between the two bodies
FACE_TICKS = 16
STAND_TICKS = 12
STAND_DRIFT = 16.0  # map units
WRONG_FACE_TICKS = 28
WASTED_SHOTS = 3
LOOK_ANGLE = 12.0
LOOK_TICKS = 8
STILL_TICKS = 70
ROOM_MARGIN = 24.0  # map units from its walls at which one is in a room


class _Watch(ABC):
    """What every verifier looks at: what vanished, wasted shots, standing at a wrong thing.

    `targets`: indices into the level's things. A vanished thing that is not a target ends the task, and so does
    touching one of `avoid`. `allowed`: things that may be taken on the way. `guard_stand` and `guard_face` say
    whether standing at, or facing, a wrong thing ends it too.
    """

    guard_stand = True
    guard_face = False

    def __init__(self, targets: Iterable[int] = (), *, allowed: Iterable[int] = (), avoid: Iterable[int] = ()) -> None:
        self.targets, self.allowed, self.avoid = frozenset(targets), frozenset(allowed), frozenset(avoid)
        self._ids: dict[int, int] | None = None  # index of a thing -> object id
        self._ammo = 0
        self._wasted = 0
        self._markers: frozenset[int] = frozenset()
        self._still: tuple[int, float, float, float] = (0, 0.0, 0.0, 0.0)  # since tick, at x, y, angle

    def update(self, state: DoomState) -> Verdict | None:
        if self._ids is None:
            self._start(state)
        alive = {o.id: o for o in state.objects}
        assert self._ids is not None
        things = {index: alive[i] for index, i in self._ids.items() if i in alive}
        gone = [index for index, i in self._ids.items() if i not in alive]
        for index in gone:
            del self._ids[index]
            if index not in self.targets | self.allowed:
                thing = state.level.things[index]
                verb = "shot" if KINDS[thing.kind].role == "monster" else "took"
                return Verdict(False, f"{verb} the {thing_name(thing.kind, thing.colour)}, which was not asked for")
        for index in self.avoid & set(things):
            if gap(state, things[index]) <= TOUCH_GAP:
                thing = state.level.things[index]
                return Verdict(False, f"touched the {thing_name(thing.kind, thing.colour)}, which was to be avoided")
        if state.ammo < self._ammo:
            self._ammo = state.ammo
            if not any(self._aimed(state, things[t]) for t in self.targets if t in things) and not (
                self.targets & set(gone)
            ):
                self._wasted += 1
                if self._wasted >= WASTED_SHOTS:
                    return Verdict(False, f"{WASTED_SHOTS} shots at nothing that was asked for")
        _, x, y, angle = self._still
        turned = abs(wrapped(state.angle - angle))
        if math.hypot(state.x - x, state.y - y) > STAND_DRIFT or turned > 6.0:
            self._still = (state.tick, state.x, state.y, state.angle)
        verdict = self.judge(state, things, [index for index in gone if index in self.targets])
        return verdict or self._guards(state, things, state.tick - self._still[0])

    @abstractmethod
    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        """The family's own rule. `things`: what is there, by index; `gone`: targets that vanished just now."""

    def _start(self, state: DoomState) -> None:
        self._ids = {}
        for index, thing in enumerate(state.level.things):
            for o in state.objects:
                same = (o.kind, o.colour) == (thing.kind, thing.colour)
                if same and math.hypot(o.x - thing.x, o.y - thing.y) < 4.0:
                    self._ids[index] = o.id
        self._ammo = state.ammo
        self._still = (state.tick, state.x, state.y, state.angle)

    def _aimed(self, state: DoomState, thing: DoomObject) -> bool:
        dist = distance(state, thing.x, thing.y)
        return abs(bearing(state, thing.x, thing.y)) <= aim_tolerance(KINDS[thing.kind].radius, dist) + 6.0

    def _guards(self, state: DoomState, things: dict[int, DoomObject], still: int) -> Verdict | None:
        right = [things[t] for t in self.targets if t in things]
        for index, thing in things.items():
            if index in self.targets | self.allowed:
                continue
            off = abs(bearing(state, thing.x, thing.y))
            dist = distance(state, thing.x, thing.y)
            name = thing_name(thing.kind, thing.colour)
            if self.guard_stand and still >= STAND_TICKS and dist <= REACH and off <= REACH_ANGLE:
                nearer = any(distance(state, r.x, r.y) <= dist for r in right)
                if not nearer:
                    return Verdict(False, f"stands at the {name}, which was not asked for")
            if self.guard_face and still >= WRONG_FACE_TICKS and off <= face_tolerance(dist):
                return Verdict(False, f"faces the {name}, which was not asked for")
        return None


class GoTo(_Watch):
    """Be within 84 units of the target and see it within 30 degrees of the centre."""

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        if gone:
            return Verdict(True, "walked right into it")
        for index in self.targets & set(things):
            thing = things[index]
            near = distance(state, thing.x, thing.y) <= REACH
            if near and abs(bearing(state, thing.x, thing.y)) <= REACH_ANGLE:
                return Verdict(True, f"is at the {thing_name(thing.kind, thing.colour)}")
        return None


class Face(_Watch):
    """Hold the target within max(4 degrees, its body) of the view's centre for 16 ticks."""

    guard_stand = False
    guard_face = True

    def __init__(self, targets: Iterable[int] = (), **others: Iterable[int]) -> None:
        super().__init__(targets, **others)
        self._since: int | None = None

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        if gone:
            return Verdict(False, "took it instead of facing it")
        facing = any(
            abs(bearing(state, things[t].x, things[t].y)) <= face_tolerance(distance(state, things[t].x, things[t].y))
            for t in self.targets & set(things)
        )
        if not facing:
            self._since = None
        elif self._since is None:
            self._since = state.tick
        elif state.tick - self._since >= FACE_TICKS:
            return Verdict(True, "faces it")
        return None


class PickUp(_Watch):
    """The target is taken."""

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        return Verdict(True, "picked it up") if gone else None


class Touch(_Watch):
    """Stand against the target."""

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        if gone:
            return Verdict(True, "touched it")  # touching a thing that can be taken takes it
        for index in self.targets & set(things):
            thing = things[index]
            if gap(state, thing) <= TOUCH_GAP:
                return Verdict(True, f"touches the {thing_name(thing.kind, thing.colour)}")
        return None


class Shoot(_Watch):
    """The target is shot: it vanishes."""

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        return Verdict(True, "shot it") if gone else None


class Look(_Watch):
    """Look up or down by at least 12 degrees for 8 ticks. Looking farther the other way than at the start fails."""

    guard_stand = False

    def __init__(self, direction: str) -> None:
        super().__init__()
        self._sign = {"up": 1.0, "down": -1.0}[direction]
        self._since: int | None = None
        self._wrong = -LOOK_ANGLE

    def _start(self, state: DoomState) -> None:
        super()._start(state)
        self._wrong = min(self._wrong, state.pitch * self._sign - LOOK_ANGLE / 2)

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        pitch = state.pitch * self._sign
        if pitch <= self._wrong:
            return Verdict(False, "looked the other way")
        if pitch < LOOK_ANGLE:
            self._since = None
        elif self._since is None:
            self._since = state.tick
        elif state.tick - self._since >= LOOK_TICKS:
            return Verdict(True, "looks there")
        return None


class StandStill(_Watch):
    """Neither walk nor turn for two seconds, from the start."""

    guard_stand = False

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        if state.tick > self._still[0] and self._still[0] > 0:
            return Verdict(False, "moved")
        if state.tick >= STILL_TICKS:
            return Verdict(True, "stood still")
        return None


class Press(_Watch):
    """The panel is pressed, and no other before it."""

    guard_stand = False

    def __init__(self, panel: int, **others: Iterable[int]) -> None:
        super().__init__(**others)
        self._panel = panel
        self._before: frozenset[int] | None = None

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        if self._before is None:
            self._before = state.markers
        pressed = self._before - state.markers
        if pressed and self._panel not in pressed:
            return Verdict(False, "pressed another panel")
        return Verdict(True, "pressed the panel") if pressed else None


class Enter(_Watch):
    """Be 24 units inside the room."""

    guard_stand = False

    def __init__(self, room: int, **others: Iterable[int]) -> None:
        super().__init__(**others)
        self._room = room

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        inside = state.level.rooms[self._room].rect.contains(state.x, state.y, ROOM_MARGIN)
        return Verdict(True, "is in the room") if inside else None


class Open(_Watch):
    """One of the doors is open wide enough to walk through, and no lock or gate was opened but those of `also`."""

    guard_stand = False

    def __init__(self, doors: Iterable[int], also: Iterable[int] = (), **others: Iterable[int]) -> None:
        super().__init__(**others)
        self._doors, self._also = frozenset(doors), frozenset(also)

    def judge(self, state: DoomState, things: dict[int, DoomObject], gone: list[int]) -> Verdict | None:
        for index, (door, height) in enumerate(zip(state.level.doors, state.doors, strict=True)):
            if index in self._doors:
                if height >= DOOR_OPEN:
                    return Verdict(True, "the door is open")
            elif door.kind in ("locked", "remote") and height > 0.0 and index not in self._also:
                return Verdict(False, "opened another door")
        return None


FAMILIES: dict[str, Callable[..., Verifier]] = {
    "go_to": GoTo,
    "face": Face,
    "pick_up": PickUp,
    "touch": Touch,
    "shoot": Shoot,
    "look": Look,
    "stand_still": StandStill,
    "press": Press,
    "enter": Enter,
    "open": Open,
}

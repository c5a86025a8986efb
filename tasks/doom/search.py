"""The search for a thing that was not seen yet: looking around, through doors into other rooms, and a second look.

In a house it keeps the left hand on the wall, as in a maze: in a new room it looks around, and goes on through the
next exit clockwise from the one that it came by. So it gets through every room of a tree of rooms and needs no memory
of where it was; all that it has to remember is in its thought:

    look N      turning right from where it started; N decisions so far
    room N      looking around in a room that it came into: three turns to the left, then to the right
    room N door the same, and another exit than the one that it came by was seen; so with "look" and "second"
    door        looking around for the next exit, and going through it
    far         walking down a long room, whose far end can't be judged from here
    walk        a single room was looked at in vain: walking on to have another view
    second N    turning right there
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from agent import doom_codec as codec
from envs.angles import wrapped
from envs.doom.level import Rect, joined
from envs.doom.levels import segment_hits
from envs.doom.things import KINDS
from envs.doom.world import DoomState
from tasks.doom.expert import SEARCH_TURN, WALK_ANGLE, slides, walk_to
from tasks.doom.geometry import PLAYER_RADIUS, bearing, distance, view_of
from tasks.doom.planning import barred_doors, room_of

WHOLE_TURN = 330.0  # degrees after which the whole room was seen
SECOND_WALK = 8  # decisions
_NEAR_WALL = 70.0  # map units of free floor ahead at which a walk ends
_ENTERED = 56.0  # map units behind a doorway at which one is in the room, less in narrow rooms
_LEFT = 3 * SEARCH_TURN  # degrees that one looks back to the left first
_ROUND = 176.0  # degrees right of the way in at which all was seen
_EXIT_WIDTH = 1.5  # degrees under which an exit can be told from the wall
_FAR = 600.0  # map units: exits farther down the wall can't be told from it
_FAR_END = 130.0
_BESIDE = -8.0  # degrees from ahead at which an exit is on the left, on the way down a long room
_BEFORE = 160.0  # map units from a door's middle within which one stands before it
_VIEW = tuple(range(-40, 41, 8))  # directions in view, degrees

Mode = Literal["look", "room", "door", "far", "walk", "second"]


class Exit(NamedTuple):
    """A way out of the room that is in view: number of the door, degrees right of the view's centre."""

    door: int
    off: float


@dataclass(frozen=True)
class Move:
    """What a search does next. `off`: where it walks to, degrees right of the centre, None while it looks around.
    `gave_up`: all was looked at twice."""

    tokens: codec.Tokens
    thought: str
    off: float | None = None
    gave_up: bool = False


def exits(state: DoomState) -> list[Exit]:
    """The open doorways and plain doors of the room that one is in, as far as they are in view, from left to right."""
    level = state.level
    if not level.doors:
        return []
    here, barred = room_of(level, state.x, state.y), barred_doors(state)
    found = []
    for door in range(len(level.doors)):
        if door in barred or here not in joined(level, door):
            continue
        a, b = (bearing(state, *jamb) for jamb in _jambs(level.doors[door].rect, level.rooms[here].rect))
        off = bearing(state, *level.doors[door].rect.centre)
        if abs(off) < view_of(state) and abs(wrapped(a - b)) >= _EXIT_WIDTH:
            found.append(Exit(door, off))
    return sorted(found, key=lambda e: e.off)


def _jambs(door: Rect, room: Rect) -> tuple[tuple[float, float], tuple[float, float]]:
    """The two ends of a doorway's mouth in a room's wall."""
    if door.x0 >= room.x1 or door.x1 <= room.x0:
        x = room.x1 if door.x0 >= room.x1 else room.x0
        return (x, door.y0), (x, door.y1)
    y = room.y1 if door.y0 >= room.y1 else room.y0
    return (door.x0, y), (door.x1, y)


def behind(state: DoomState, door: int, room: int) -> tuple[float, float]:
    """The point in a room, straight behind one of its doors, at which one has come in."""
    level = state.level
    (ax, ay), (bx, by) = _jambs(level.doors[door].rect, level.rooms[room].rect)
    x, y, deep = (ax + bx) / 2, (ay + by) / 2, _depth(state, door, room) + 16.0
    centre = level.rooms[room].rect.centre
    if ax == bx:
        return x + math.copysign(deep, centre[0] - x), y
    return x, y + math.copysign(deep, centre[1] - y)


def _depth(state: DoomState, door: int, room: int) -> float:
    """How far into a room one has come in, map units."""
    r, (a, b) = state.level.rooms[room].rect, _jambs(state.level.doors[door].rect, state.level.rooms[room].rect)
    return min(_ENTERED, 0.5 * (r.x1 - r.x0 if a[0] == b[0] else r.y1 - r.y0))


def _walls(state: DoomState, off: float) -> float:
    """Map units to the wall of the room in a direction."""
    r = state.level.rooms[room_of(state.level, state.x, state.y)].rect
    angle = math.radians(state.angle - off)
    dx, dy = math.cos(angle), math.sin(angle)
    x = ((r.x1 if dx > 0 else r.x0) - state.x) / dx if abs(dx) > 1e-6 else math.inf
    y = ((r.y1 if dy > 0 else r.y0) - state.y) / dy if abs(dy) > 1e-6 else math.inf
    return max(0.0, min(x, y))


def _floor(state: DoomState, off: float) -> float:
    """Map units of free floor in a direction."""
    angle = math.radians(state.angle - off)
    dx, dy = math.cos(angle), math.sin(angle)
    low, high = 0.0, 2000.0
    while high - low > 4.0:
        middle = (low + high) / 2
        low, high = (middle, high) if _free(state, dx * middle, dy * middle) else (low, middle)
    return low


def _free(state: DoomState, dx: float, dy: float) -> bool:
    end = state.x + dx, state.y + dy
    level = state.level
    here = [r.rect for r in level.rooms if r.rect.contains(state.x, state.y)]
    if not any(r.contains(*end, PLAYER_RADIUS) for r in here):
        return False
    if any(segment_hits(p, state.x, state.y, *end, margin=PLAYER_RADIUS + 2.0) for p in level.pillars):
        return False
    length2 = max(dx * dx + dy * dy, 1.0)
    for o in state.objects:
        t = min(max(((o.x - state.x) * dx + (o.y - state.y) * dy) / length2, 0.0), 1.0)
        off = math.hypot(state.x + t * dx - o.x, state.y + t * dy - o.y)
        if off < KINDS[o.kind].radius + PLAYER_RADIUS + 12.0 and distance(state, o.x, o.y) > off:
            return False
    return True


class Search:
    """One search, from its first look on. Call `watch` and `advise` with the state of every decision."""

    def __init__(self) -> None:
        self._mode: Mode = "look"
        self._turned = 0.0  # degrees to the right since the turn began
        self._left = False  # whether the look back to the left is done
        self._other = False  # whether another exit than the one that one came by was seen
        self._walked = 0
        self._angle: float | None = None
        self._room: int | None = None  # the room that was last entered
        self._came: int | None = None  # the door that one came into it by
        self._exit: int | None = None  # the door that one goes to

    def restart(self, door: int | None = None) -> None:
        """Start again: look around, or go through a door that is in view."""
        self._turn("look")
        self._came = None
        if door is not None:
            self._mode, self._exit = "door", door

    def watch(self, state: DoomState) -> None:
        """Look at the state of a decision, also while nothing is searched for."""
        if self._angle is not None:
            self._turned += wrapped(self._angle - state.angle)
            if self._mode != "room":
                self._turned = max(0.0, self._turned)
        self._angle = state.angle
        level = state.level
        if self._room is None:
            self._room = room_of(level, state.x, state.y)
        for door in range(len(level.doors)):
            if self._room in (pair := joined(level, door)):
                other = pair[0] if self._room == pair[1] else pair[1]
                if level.rooms[other].rect.contains(state.x, state.y, 1.0) and self._inside(state, door, other):
                    self._room, self._came = other, door
                    self._turn("room")
                    break

    def _inside(self, state: DoomState, door: int, room: int) -> bool:
        (ax, ay), (bx, _) = _jambs(state.level.doors[door].rect, state.level.rooms[room].rect)
        return abs(state.x - ax if ax == bx else state.y - ay) >= _depth(state, door, room)

    def _turn(self, mode: Mode) -> None:
        self._mode, self._turned, self._left, self._other, self._exit = mode, 0.0, False, False, None

    def advise(self, state: DoomState) -> Move:
        """What to do until the thing is seen."""
        seen = exits(state)
        if self._mode in ("look", "room", "second"):
            long = self._room_is_long(state)
            self._other = self._other or long or any(e.door != self._came for e in seen)
            if self._mode == "room" and self._turned <= -_LEFT + 12.0:
                self._left = True
            if self._turned < (_ROUND if self._mode == "room" else WHOLE_TURN):
                return self._look_around(state)
            if self._mode == "second" and not self._other:
                return Move(codec.NOOP, "", gave_up=True)
            if self._mode == "look" and not self._other:
                self._mode, self._walked = "walk", 0
            else:
                self._mode, self._exit = "door", None if self._other else self._came
                self._turned = 0.0
        if self._mode == "walk":
            if self._walked < SECOND_WALK:
                self._walked += 1
                return self._walk(state)
            self._turn("second")
            return self._look_around(state)
        if self._mode == "far":
            # the left hand stays on the wall: the next opening there comes first
            beside = next((e.door for e in seen if e.off < _BESIDE), None)
            if beside is not None:
                self._mode, self._exit = "door", beside
            elif max(_floor(state, off) for off in (-24.0, 0.0, 24.0)) > _FAR_END:
                return self._ahead(state)
            else:
                self._mode, self._turned, self._came = "door", 0.0, None
        return self._go_on(state, seen)

    def _look_around(self, state: DoomState) -> Move:
        if self._mode == "room" and not self._left:
            number = _turns(max(0.0, -self._turned))
            tokens = turning(state, -SEARCH_TURN)
        else:
            start = -2 * _LEFT if self._mode == "room" else 0.0
            number, tokens = _turns(max(0.0, self._turned - start)), turning(state, SEARCH_TURN)
        more = " door" if self._other else ""
        return Move(tokens, f"{self._mode} {number}{more}")

    def _room_is_long(self, state: DoomState) -> bool:
        return len(state.level.rooms) > 1 and max(_walls(state, off) for off in _VIEW) >= _FAR

    def _go_on(self, state: DoomState, seen: list[Exit]) -> Move:
        """To the next exit clockwise, or down a long room before an exit that is farther round."""
        if self._exit is not None and self._missed(state, self._exit):
            # the player has turned past it and can only go on turning
            self._exit, self._turned = None, 0.0
        if self._exit is None:
            last = next((e.off for e in seen if e.door == self._came), -180.0)
            next_exit = next((e for e in seen if e.door != self._came and e.off > last), None)
            far = max(_VIEW, key=lambda off: _walls(state, off))
            if (
                _walls(state, far) >= _FAR
                and self._turned < 300.0
                and (next_exit is None or next_exit.off > far)
                and far > last
            ):
                if abs(far) > WALK_ANGLE:
                    return Move(codec.tokens_of(turn=far, look=_level(state)), "door")
                self._mode = "far"
                return self._ahead(state)
            if next_exit is None:
                if self._turned > 400.0:
                    self._came, self._turned = None, 0.0
                return Move(turning(state, SEARCH_TURN), "door")
            self._exit = next_exit.door
        assert self._room is not None
        pair = joined(state.level, self._exit)
        goal = behind(state, self._exit, pair[0] if pair[1] == self._room else pair[1])
        off = bearing(state, *state.level.doors[self._exit].rect.centre)
        return Move(walk_to(state, *goal, 0.0, state.objects), "door", off)

    def _missed(self, state: DoomState, door: int) -> bool:
        """Whether the door that the player goes to is out of view although the player is not right in front of it."""
        x, y = state.level.doors[door].rect.centre
        return abs(bearing(state, x, y)) >= view_of(state) and distance(state, x, y) > _BEFORE

    def _ahead(self, state: DoomState) -> Move:
        """Down a long room."""
        off = _farthest(state)
        return Move(codec.tokens_of(turn=off, look=_level(state), forth=_forth(state, True)), "far", off)

    def _walk(self, state: DoomState) -> Move:
        """Towards the farthest floor in view."""
        off = _farthest(state)
        forth = _forth(state, abs(off) <= WALK_ANGLE and _floor(state, 0.0) > _NEAR_WALL)
        return Move(codec.tokens_of(turn=off, look=_level(state), forth=forth), "walk", off)


def _farthest(state: DoomState) -> float:
    """The direction of the farthest floor in view; straight ahead unless another is clearly farther, so that one does
    not turn to and fro."""
    floors = {off: _floor(state, off) for off in _VIEW}
    far = max(floors.values())
    return min((off for off, floor in floors.items() if floor >= 0.8 * far), key=abs)


def _turns(degrees: float) -> int:
    """How many decisions it takes to turn so far; the first of an episode turns by half."""
    return int((degrees + SEARCH_TURN / 4) // SEARCH_TURN)


def _level(state: DoomState) -> float:
    return 0.0 if abs(state.pitch) < 3.0 else -state.pitch


def _forth(state: DoomState, walk: bool) -> int:
    """Walk on, or step back from what one slides into."""
    return -1 if slides(state, state.objects, walk) else int(walk)


def turning(state: DoomState, degrees: float) -> codec.Tokens:
    """Turn on the spot, with the view at the horizon; step back from what one would slide into."""
    return codec.tokens_of(turn=degrees, look=_level(state), forth=_forth(state, False))

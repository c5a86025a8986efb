"""What has to be done first: which lock, gate or key stands between the player and a goal, on ground truth."""

from __future__ import annotations

import functools
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from envs.doom.level import Level, joined
from envs.doom.world import DoomObject, DoomState
from tasks.doom.geometry import DOOR_OPEN, PLAYER_RADIUS
from tasks.doom.navigation import Route

Point = tuple[float, float]


@dataclass(frozen=True)
class Errand:
    """Something to do on the way: take thing number `thing` of the level, or press panel number `panel`."""

    thing: int | None = None
    panel: int | None = None


class Unsolvable(ValueError):  # noqa: N818 - it says what a level is
    """There is no way, whatever one opens."""


def room_of(level: Level, x: float, y: float) -> int:
    """The room that a point is in, or the nearest one: panels hang on walls, doors are between rooms."""

    def outside(index: int) -> float:
        r = level.rooms[index].rect
        return math.hypot(max(r.x0 - x, 0.0, x - r.x1), max(r.y0 - y, 0.0, y - r.y1))

    return min(range(len(level.rooms)), key=outside)


def next_door(level: Level, here: int, goal: int) -> int:
    """The first door on the way from room to room that passes the fewest. Raises Unsolvable."""
    door = _first_barred(level, here, goal, frozenset(range(len(level.doors))))
    if door is None:
        raise Unsolvable("it is the same room")
    return door


def has_key(state: DoomState, colour: str | None) -> bool:
    """Whether a key of that colour was taken."""
    there = sum((o.kind, o.colour) == ("key", colour) for o in state.objects)
    return there < sum((t.kind, t.colour) == ("key", colour) for t in state.level.things)


def barred_doors(state: DoomState) -> frozenset[int]:
    """The doors that don't open with use as things stand: gates, and locks without their key."""
    return frozenset(
        i
        for i, (door, height) in enumerate(zip(state.level.doors, state.doors, strict=True))
        if height <= 0.0 and (door.kind == "remote" or (door.kind == "locked" and not has_key(state, door.colour)))
    )


@functools.lru_cache(maxsize=1024)
def _first_barred(level: Level, start: int, goal: int, barred: frozenset[int]) -> int | None:
    """The first barred door on the way from room to room that passes the fewest of them, or None."""
    queue = [(0, start, -1)]
    seen = set()
    while queue:
        cost, room, first = heapq.heappop(queue)
        if room == goal:
            return None if first < 0 else first
        if room in seen:
            continue
        seen.add(room)
        for i in range(len(level.doors)):
            a, b = joined(level, i)
            if room in (a, b):
                ahead = i if first < 0 and i in barred else first
                heapq.heappush(queue, (cost + 1 + 1000 * (i in barred), b if room == a else a, ahead))
    raise Unsolvable("the rooms do not join")


def errand(state: DoomState, goal: Point) -> Errand | None:
    """What to do before one can walk to a point, or None where nothing bars the way. Raises Unsolvable."""
    barred = barred_doors(state) if state.level.doors else frozenset()
    if not barred:
        return None
    here = room_of(state.level, state.x, state.y)
    door = _first_barred(state.level, here, room_of(state.level, *goal), barred)
    return None if door is None else errand_for(state, door)


def errand_for(state: DoomState, door: int, asked: frozenset[int] = frozenset()) -> Errand:
    """What to do before a barred door can be opened. Raises Unsolvable where it never can."""
    if door in asked:
        raise Unsolvable(f"door {door} bars the way to what opens it")
    level = state.level
    if level.doors[door].kind == "remote":
        found = [(Errand(panel=i), p.centre) for i, p in enumerate(level.panels) if p.door == door]
    else:
        lock = ("key", level.doors[door].colour)
        found = [
            (Errand(thing=i), (float(t.x), float(t.y)))
            for i, t in enumerate(level.things)
            if (t.kind, t.colour) == lock
        ]
    if not found:
        raise Unsolvable(f"nothing opens door {door}")
    wanted, place = found[0]
    here = room_of(level, state.x, state.y)
    first = _first_barred(level, here, room_of(level, *place), barred_doors(state))
    return wanted if first is None else errand_for(state, first, asked | {door})


def start_state(level: Level) -> DoomState:
    """The state in which a level begins, as far as a plan needs it."""
    objects = tuple(DoomObject(i, t.kind, t.colour, t.x, t.y) for i, t in enumerate(level.things))
    heights = tuple(96.0 if d.kind == "open" else 0.0 for d in level.doors)
    x, y, angle = level.start
    return DoomState(level, 0, x, y, angle, 0.0, 50, 100, objects, frozenset(range(len(level.panels))), heights)


def walk_through(state: DoomState, goal: Point, keep: Sequence[int] = ()) -> DoomState:
    """The state after walking to a point, errands done; a plan, not the engine. Raises Unsolvable.

    `keep`: ids of the objects at the goal, which are not in the way.
    """
    for _ in range(2 * len(state.level.doors) + 1):
        todo = errand(state, goal)
        if todo is None:
            return _walked(state, goal, keep)
        state = _done(state, todo)
    raise Unsolvable("errands without end")


def opened(state: DoomState, door: int) -> DoomState:
    """The state after opening a door, errands done; a plan. Raises Unsolvable."""
    for _ in range(2 * len(state.level.doors) + 1):
        if state.doors[door] > 0.0:
            return state
        if door in barred_doors(state):
            state = _done(state, errand_for(state, door))
        else:
            state = _with_door(walk_through(state, state.level.doors[door].rect.centre), door)
    raise Unsolvable("errands without end")


def without(state: DoomState, things: Sequence[int]) -> DoomState:
    """The state once some things are taken."""
    return replace(state, objects=tuple(o for o in state.objects if o.id not in things))


def _done(state: DoomState, todo: Errand) -> DoomState:
    if todo.panel is not None:
        panel = state.level.panels[todo.panel]
        state = _walked(state, _before(state.level, panel.centre), ())
        return state if panel.door is None else _with_door(state, panel.door)
    assert todo.thing is not None
    key = state.level.things[todo.thing]
    return without(_walked(state, (key.x, key.y), (todo.thing,)), (todo.thing,))


def _with_door(state: DoomState, door: int) -> DoomState:
    return replace(state, doors=tuple(96.0 if i == door else h for i, h in enumerate(state.doors)))


def _before(level: Level, point: Point) -> Point:
    """The point in its room nearest to a point on a wall."""
    r = level.rooms[room_of(level, *point)].rect
    body = PLAYER_RADIUS + 2.0
    return min(max(point[0], r.x0 + body), r.x1 - body), min(max(point[1], r.y0 + body), r.y1 - body)


def _walked(state: DoomState, goal: Point, keep: Sequence[int]) -> DoomState:
    avoid = [o for o in state.objects if o.id not in keep]
    if Route.to(state, goal, avoid, barred_doors(state)).next_point(state) is None:
        raise Unsolvable(f"no way to {goal}")
    return replace(state, x=goal[0], y=goal[1])


def closed(state: DoomState, door: int) -> bool:
    """Whether a door is not yet open wide enough to walk through."""
    return state.level.doors[door].kind != "open" and state.doors[door] < DOOR_OPEN

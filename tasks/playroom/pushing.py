"""Shoving a thing onto the rug by walking into it: who walks into a thing moves it along."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from agent import doom_codec as codec
from envs.angles import wrapped
from envs.playroom.room import Furniture, Room
from envs.playroom.rooms import BODY_RADIUS
from envs.playroom.state import PlayroomState
from tasks.playroom.walking import Grid, Point, Tokens, bearing_to, turn_to, walk_to

RUN_UP = 0.35  # metres between one and the thing before one walks into it
BERTH = 0.1  # metres more than is needed that one keeps from it on the way
INSET = 0.3  # metres inside of the rug's edge: where it is pushed to
ON = 0.1  # metres inside of the rug's edge: far enough
ASTRAY = 40.0  # degrees off the way to the rug, seen from the thing: one walks round it
SLIPPED = 25.0  # degrees: it slips aside, and one steps back
STRAIGHT = 8.0  # degrees: one is behind it
TOUCHES = 0.08  # metres between two that all but touch
PITCH = -46.0  # degrees: one sees what is before one's feet


def push(state: PlayroomState, thing: int, rug: Furniture) -> Tokens:
    """The decision towards pushing a thing onto the rug."""
    x, y = (float(number) for number in state.positions[thing][:2])
    if rug.covers(x, y, -ON):
        return codec.NOOP
    seen = math.degrees(math.atan2(y - state.y, x - state.x))

    def aside(goal: Point) -> float:
        return wrapped(_heading((x, y), goal) - seen)

    goals = _goals(rug)
    goals = [goal for goal in goals if _free(state.room, state.positions, thing, goal)] or goals
    # the nearest, and rather one that it is pushed to from here
    goal = min(goals, key=lambda goal: math.dist((x, y), goal) + abs(aside(goal)) / 60.0)
    off_line, ahead = aside(goal), _heading((x, y), goal)
    contact = state.room.things[thing].radius + BODY_RADIUS
    gap = state.distance(thing) - contact
    if abs(off_line) > ASTRAY or gap > 2 * RUN_UP:
        return walk_to(state, _behind((x, y), ahead, contact + RUN_UP), 0.2, set(), berth=BERTH)
    look = PITCH - state.pitch
    if gap < TOUCHES and abs(off_line) > SLIPPED:
        return codec.tokens_of(turn=state.bearing(thing)[0], look=look, forth=-1)
    if gap < TOUCHES or abs(off_line) < STRAIGHT:
        off = wrapped(state.yaw - ahead)
    else:
        off = bearing_to(state, _behind((x, y), ahead, contact - 0.02))
    ready = abs(off) < 15.0 and abs(look) < 16.0
    return codec.tokens_of(turn=off if gap < RUN_UP else turn_to(off), look=look, forth=int(ready))


def can_push(room: Room, thing: int) -> bool:
    """Whether a thing lies on the floor beside the rug, with room behind it and nothing between it and the rug."""
    rug, item = room.piece("rug"), room.things[thing]
    if rug is None or item.z > 0.0 or rug.covers(item.x, item.y, item.radius + 0.1):
        return False
    positions = np.array([(other.x, other.y, other.z + other.height / 2) for other in room.things])
    goal = min(_goals(rug), key=lambda goal: math.dist((item.x, item.y), goal))
    if not _free(room, positions, thing, goal):
        return False
    behind = _behind((item.x, item.y), _heading((item.x, item.y), goal), item.radius + BODY_RADIUS + RUN_UP)
    return Grid(room, positions, (), BERTH).joins((room.start[0], room.start[1]), behind)


def _goals(rug: Furniture) -> list[Point]:
    """Places on the rug, well inside of its edge."""
    half_x, half_y = rug.half
    xs, ys = (np.linspace(-1.0, 1.0, 3) * (half - INSET) for half in (half_x, half_y))
    return [(rug.x + float(x), rug.y + float(y)) for x in xs for y in ys]


def _free(room: Room, positions: npt.NDArray[np.float64], thing: int, goal: Point) -> bool:
    """Whether nothing is in the way from behind a thing to a place, for it and for who pushes it."""
    item, at = room.things[thing], (float(positions[thing][0]), float(positions[thing][1]))
    wide = max(BODY_RADIUS, item.radius) + 0.1
    start = _behind(at, _heading(at, goal), item.radius + BODY_RADIUS + RUN_UP)
    for t in np.linspace(0.0, 1.0, 24):
        x, y = (float(a + t * (b - a)) for a, b in zip(start, goal, strict=True))
        if abs(x) > room.width / 2 - wide or abs(y) > room.depth / 2 - wide:
            return False
        if any(piece.kind != "rug" and piece.covers(x, y, wide) for piece in room.furniture):
            return False
        for i, other in enumerate(room.things):
            if i != thing and other.z == 0.0 and math.dist(positions[i][:2], (x, y)) < other.radius + wide:
                return False
    return True


def _heading(a: Point, b: Point) -> float:
    return math.degrees(math.atan2(b[1] - a[1], b[0] - a[0]))


def _behind(at: Point, ahead: float, far: float) -> Point:
    return at[0] - far * math.cos(math.radians(ahead)), at[1] - far * math.sin(math.radians(ahead))

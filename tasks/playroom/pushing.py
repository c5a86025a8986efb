"""Shoving a thing onto the rug by walking into it: who walks into a thing moves it along."""

from __future__ import annotations

import math

import numpy as np

from agent import codec
from envs.playroom.room import Furniture, Room
from envs.playroom.rooms import BODY_RADIUS
from envs.playroom.state import PlayroomState
from tasks.playroom.walking import Point, Tokens, bearing_to, turn_to, walk_to

RUN_UP = 0.3  # metres between one and the thing before one walks into it
INSET = 0.3  # metres inside of the rug's edge: where it is pushed to
ON = 0.1  # metres inside of the rug's edge: far enough
ASTRAY = 40.0  # degrees off the way to the rug, seen from the thing: one walks round it
SLIPPED = 25.0  # degrees: it slips aside, and one steps back
STRAIGHT = 8.0  # degrees: one is behind it
PITCH = -34.0  # degrees: one sees what is before one's feet


def goal_on(rug: Furniture, at: Point) -> Point:
    """The nearest place on the rug, well inside of its edge."""
    half_x, half_y = rug.half
    x = min(max(at[0], rug.x - half_x + INSET), rug.x + half_x - INSET)
    y = min(max(at[1], rug.y - half_y + INSET), rug.y + half_y - INSET)
    return x, y


def push(state: PlayroomState, thing: int, rug: Furniture) -> Tokens:
    """The decision towards pushing a thing onto the rug."""
    at: Point = (float(state.positions[thing][0]), float(state.positions[thing][1]))
    if rug.covers(*at, -ON):
        return codec.NOOP
    contact = state.room.things[thing].radius + BODY_RADIUS
    goal = goal_on(rug, at)
    ahead = math.degrees(math.atan2(goal[1] - at[1], goal[0] - at[0]))
    seen = math.degrees(math.atan2(at[1] - state.y, at[0] - state.x))
    aside = (ahead - seen + 180.0) % 360.0 - 180.0
    gap = state.distance(thing) - contact
    if abs(aside) > ASTRAY or gap > 2 * RUN_UP:
        return walk_to(state, _behind(at, ahead, contact + RUN_UP), 0.2, set())
    look = PITCH - state.pitch if abs(PITCH - state.pitch) > 4.0 else 0.0
    if gap < 0.08 or abs(aside) < STRAIGHT:
        if abs(aside) > SLIPPED:
            return codec.tokens_of(turn=turn_to(state.bearing(thing)[0]), look=look, forth=-1)
        off = (state.yaw - ahead + 180.0) % 360.0 - 180.0
    else:
        off = bearing_to(state, _behind(at, ahead, contact - 0.02))
    return codec.tokens_of(turn=turn_to(off), look=look, forth=int(abs(off) < 15.0))


def _behind(at: Point, ahead: float, far: float) -> Point:
    return at[0] - far * math.cos(math.radians(ahead)), at[1] - far * math.sin(math.radians(ahead))


def can_push(room: Room, thing: int) -> bool:
    """Whether a thing lies on the floor beside the rug, with room behind it and nothing between it and the rug."""
    rug, item = room.piece("rug"), room.things[thing]
    if rug is None or item.z > 0.0 or rug.covers(item.x, item.y, item.radius + 0.1):
        return False
    goal = goal_on(rug, (item.x, item.y))
    ahead = math.degrees(math.atan2(goal[1] - item.y, goal[0] - item.x))
    start = _behind((item.x, item.y), ahead, item.radius + BODY_RADIUS + RUN_UP)
    end = _behind(goal, ahead, -0.3)
    for t in np.linspace(0.0, 1.0, 24):
        x, y = (float(a + t * (b - a)) for a, b in zip(start, end, strict=True))
        wide = max(BODY_RADIUS, item.radius) + 0.1
        if abs(x) > room.width / 2 - wide or abs(y) > room.depth / 2 - wide:
            return False
        if any(piece.kind != "rug" and piece.covers(x, y, wide) for piece in room.furniture):
            return False
        for i, other in enumerate(room.things):
            if i != thing and other.z == 0.0 and math.hypot(other.x - x, other.y - y) < other.radius + wide:
                return False
    return True

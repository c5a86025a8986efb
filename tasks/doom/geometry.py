"""Where things are as seen by the player: bearings, distances, tolerances."""

from __future__ import annotations

import math

from agent.sight import half_view
from envs.angles import wrapped
from envs.doom.things import KINDS
from envs.doom.world import DoomObject, DoomState

REACH = 84.0  # map units within which the player is "at" a thing
REACH_ANGLE = 30.0  # degrees off the view's centre
PLAYER_RADIUS = 16.0
DOOR_OPEN = 56.0  # map units: the player fits through


def bearing(state: DoomState, x: float, y: float) -> float:
    """Degrees from the view's centre to a point, right positive, in [-180, 180)."""
    angle = math.degrees(math.atan2(y - state.y, x - state.x))
    return wrapped(state.angle - angle)


def view_of(state: DoomState) -> float:
    """Half of what counts as seen, degrees."""
    return half_view(state.level.fov)


def distance(state: DoomState, x: float, y: float) -> float:
    return math.hypot(x - state.x, y - state.y)


def aim_tolerance(radius: float, dist: float) -> float:
    """Half the angle under which a body of that radius is seen, degrees."""
    return math.degrees(math.atan2(radius, max(dist, 1.0)))


def face_tolerance(dist: float) -> float:
    return max(4.0, aim_tolerance(16.0, dist))


def gap(state: DoomState, thing: DoomObject) -> float:
    """Map units between the player's body and a thing's; bodies are boxes in the engine."""
    return max(abs(thing.x - state.x), abs(thing.y - state.y)) - KINDS[thing.kind].radius - PLAYER_RADIUS

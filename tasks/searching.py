"""The search for what was not seen yet: looking around, and walking on where looking is not enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from agent import codec
from envs.doom.levels import segment_hits
from envs.doom.things import KINDS
from envs.doom.world import DoomState
from tasks.expert import SEARCH_TURN
from tasks.verify import PLAYER_RADIUS, distance

WHOLE_TURN = 330.0  # degrees after which all around was seen
WALK_DECISIONS = 8
_NEAR_WALL = 70.0  # map units of free floor ahead at which a walk ends


@dataclass(frozen=True)
class Move:
    """What a search does next. `off`: where it walks to, degrees right of the centre, None while it looks around.
    `gave_up`: all was looked at twice."""

    tokens: codec.Tokens
    thought: str
    off: float | None = None
    gave_up: bool = False


def floor_ahead(state: DoomState, off: float) -> float:
    """Map units of free floor in a direction, degrees right of the view's centre."""
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
    """One search, from its first look on. `found`: whether what is sought was seen."""

    def __init__(self) -> None:
        self.found = False
        self._mode = "look"
        self._turned = 0.0
        self._walked = 0
        self._angle: float | None = None

    def watch(self, state: DoomState, seen: bool) -> None:
        """Look at the state of a decision. `seen`: whether what is sought is in view."""
        self.found = self.found or seen
        if self._angle is not None:
            right = (self._angle - state.angle + 180.0) % 360.0 - 180.0
            self._turned = max(0.0, self._turned + right)
        self._angle = state.angle

    def advise(self, state: DoomState) -> Move:
        if self._mode in ("look", "second") and self._turned >= WHOLE_TURN:
            if self._mode == "second":
                return Move(codec.NOOP, "", gave_up=True)
            self._mode, self._walked = "walk", 0
        if self._mode == "walk":
            if self._walked < WALK_DECISIONS:
                self._walked += 1
                return self._walk(state)
            self._mode, self._turned = "second", 0.0
        return Move(_turn_right(state), f"{self._mode} {round(self._turned / SEARCH_TURN)}")

    def _walk(self, state: DoomState) -> Move:
        """Towards the farthest floor in view."""
        offs = np.arange(-40.0, 41.0, 8.0)
        floors = [floor_ahead(state, float(off)) for off in offs]
        # straight ahead unless elsewhere is clearly farther, so that it does not turn to and fro
        off = 0.0 if floors[5] >= 0.8 * max(floors) else float(offs[int(np.argmax(floors))])
        forth = int(abs(off) <= 24.0 and floors[5] > _NEAR_WALL)
        look = 0.0 if abs(state.pitch) < 3.0 else -state.pitch
        return Move(codec.tokens_of(turn=off, look=look, forth=forth), "walk", off)


def _turn_right(state: DoomState) -> codec.Tokens:
    return codec.tokens_of(turn=SEARCH_TURN, look=0.0 if abs(state.pitch) < 3.0 else -state.pitch)

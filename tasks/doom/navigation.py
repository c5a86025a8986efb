"""Ways through a level, on ground truth: for the expert, which also says whether a level can be solved."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from envs.doom.level import Level
from envs.doom.levels import segment_hits
from envs.doom.things import KINDS
from envs.doom.world import DoomObject, DoomState
from tasks.doom.geometry import PLAYER_RADIUS

CELL = 16  # map units
# Map units kept from what one walks around: more from what is taken by accident, as the player slides in turns.
_MARGINS = {"pickup": 12.0, "solid": 2.0, "monster": 2.0}


def _keep_off(kind: str) -> float:
    # bodies are boxes in the engine: their corners reach further than their sides
    return (KINDS[kind].radius + PLAYER_RADIUS) * math.sqrt(2.0) + _MARGINS[KINDS[kind].role]


def clear(
    state: DoomState,
    start: tuple[float, float],
    end: tuple[float, float],
    avoid: Sequence[DoomObject],
    width: float = PLAYER_RADIUS + 2.0,
) -> bool:
    """Whether the straight way is free of pillars, of walls between rooms and of what is to be avoided."""
    level = state.level
    if any(segment_hits(p, *start, *end, margin=width) for p in level.pillars):
        return False
    if len(level.rooms) > 1 and not any(r.rect.contains(*start) and r.rect.contains(*end) for r in level.rooms):
        return False
    dx, dy = end[0] - start[0], end[1] - start[1]
    length2 = dx * dx + dy * dy
    if length2 < 1.0:
        return True
    for o in avoid:
        t = ((o.x - start[0]) * dx + (o.y - start[1]) * dy) / length2
        if 0.0 < t < 1.0:
            off = math.hypot(start[0] + t * dx - o.x, start[1] + t * dy - o.y)
            # what already touches us can't be kept off any more
            if off < min(_keep_off(o.kind), math.hypot(o.x - start[0], o.y - start[1]) - 1.0):
                return False
    return True


@functools.lru_cache(maxsize=64)
def _floor(level: Level, barred: frozenset[int]) -> tuple[npt.NDArray[np.bool_], int, int]:
    """Where the player's centre can be, on a grid [column, row], with the grid's origin. `barred`: doors that are
    walls."""
    areas = [r.rect for r in level.rooms] + [d.rect for d in level.doors]
    x0, y0 = min(r.x0 for r in areas), min(r.y0 for r in areas)
    shape = (max(r.x1 for r in areas) - x0) // CELL + 1, (max(r.y1 for r in areas) - y0) // CELL + 1
    xs = x0 + CELL * np.arange(shape[0])[:, None]
    ys = y0 + CELL * np.arange(shape[1])[None, :]
    free = np.zeros(shape, bool)
    body = PLAYER_RADIUS
    side = body + CELL / 2  # from the frame of a doorway, where one who comes along the wall gets stuck
    for room in level.rooms:
        r = room.rect
        free |= (xs >= r.x0 + body) & (xs <= r.x1 - body) & (ys >= r.y0 + body) & (ys <= r.y1 - body)
    for index, door in enumerate(level.doors):
        if index in barred:
            continue
        r = door.rect
        # a doorway is walked through along its short side, which joins it to the rooms
        if (r.x1 - r.x0) < (r.y1 - r.y0):
            free |= (xs >= r.x0 - 2 * body) & (xs <= r.x1 + 2 * body) & (ys >= r.y0 + side) & (ys <= r.y1 - side)
        else:
            free |= (xs >= r.x0 + side) & (xs <= r.x1 - side) & (ys >= r.y0 - 2 * body) & (ys <= r.y1 + 2 * body)
    for p in level.pillars:
        grown = body + 2
        free &= ~((xs > p.x0 - grown) & (xs < p.x1 + grown) & (ys > p.y0 - grown) & (ys < p.y1 + grown))
    return free, x0, y0


@functools.lru_cache(maxsize=256)
def _field(
    level: Level, goal: tuple[int, int], avoid: tuple[tuple[int, int, int], ...], barred: frozenset[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32], int, int]:
    """Walking distance from every grid point to the goal point, inf where there is no way, and the point to go to
    next, as a number."""
    base, x0, y0 = _floor(level, barred)
    free = base.copy()
    xs = x0 + CELL * np.arange(free.shape[0])[:, None]
    ys = y0 + CELL * np.arange(free.shape[1])[None, :]
    for x, y, radius in avoid:
        free &= (xs - x) ** 2 + (ys - y) ** 2 >= radius**2
    # the goal itself may stand where a body can't: panels hang on walls
    near = np.argmin((xs - goal[0]) ** 2 + (ys - goal[1]) ** 2 + np.where(free, 0.0, 1e9))
    number = np.arange(free.size).reshape(free.shape)
    rows, cols, costs = [], [], []
    for di, dj in ((1, 0), (0, 1), (1, 1), (1, -1)):
        a = (slice(0, free.shape[0] - di), slice(max(0, -dj), free.shape[1] - max(0, dj)))
        b = (slice(di, free.shape[0]), slice(max(0, dj), free.shape[1] + min(0, dj)))
        both = free[a] & free[b]
        rows.append(number[a][both])
        cols.append(number[b][both])
        costs.append(np.full(int(both.sum()), CELL * math.hypot(di, dj)))
    graph = coo_array(
        (np.concatenate(costs), (np.concatenate(rows), np.concatenate(cols))), shape=(free.size, free.size)
    ).tocsr()
    distances, following = dijkstra(graph, directed=False, indices=int(near), return_predecessors=True)
    return distances.reshape(free.shape), following, x0, y0


@dataclass(frozen=True)
class Route:
    """The way to a goal, as walking distances over the level's floor."""

    distances: npt.NDArray[np.float64]
    following: npt.NDArray[np.int32]
    x0: int
    y0: int
    goal: tuple[float, float]

    @classmethod
    def to(
        cls,
        state: DoomState,
        goal: tuple[float, float],
        avoid: Sequence[DoomObject],
        barred: frozenset[int] = frozenset(),
    ) -> Route:
        """`barred`: doors that can't be walked through."""
        keep_off = tuple(sorted((round(o.x), round(o.y), round(_keep_off(o.kind))) for o in avoid))
        return cls(*_field(state.level, (round(goal[0]), round(goal[1])), keep_off, barred), goal)

    def length(self, x: float, y: float) -> float:
        """Walking distance from a point, map units; inf where there is no way."""
        i, j = round((x - self.x0) / CELL), round((y - self.y0) / CELL)
        window = self.distances[max(0, i - 2) : i + 3, max(0, j - 2) : j + 3]
        return float(window.min()) if window.size else math.inf

    def points(self, state: DoomState, steps: int) -> list[tuple[float, float]]:
        """The next points of the way, up to `steps` of them; none where there is no way."""
        height = self.distances.shape[1]
        i = min(max(round((state.x - self.x0) / CELL), 0), self.distances.shape[0] - 1)
        j = min(max(round((state.y - self.y0) / CELL), 0), height - 1)
        if not math.isfinite(self.distances[i, j]):
            # pushed into what one keeps off: the nearest point from which there is a way
            low_i, low_j = max(0, i - 4), max(0, j - 4)
            window = self.distances[low_i : i + 5, low_j : j + 5]
            free = np.argwhere(np.isfinite(window))
            if not len(free):
                return []
            x, y = (state.x - self.x0) / CELL - low_i, (state.y - self.y0) / CELL - low_j
            best = free[np.argmin((free[:, 0] - x) ** 2 + (free[:, 1] - y) ** 2)]
            i, j = low_i + int(best[0]), low_j + int(best[1])
            out = [self._point(i, j)]
        else:
            out = []
        number = i * height + j
        while len(out) < steps:
            number = int(self.following[number])
            if number < 0:
                break
            out.append(self._point(*divmod(number, height)))
        return out

    def next_point(self, state: DoomState) -> tuple[float, float] | None:
        """A point down the way to which one can walk straight, or None where there is no way."""
        points = self.points(state, 8)
        if not points:
            near = math.hypot(state.x - self.goal[0], state.y - self.goal[1]) < 3 * CELL
            return self.goal if near else None
        for k in (7, 5, 3):
            if k < len(points) and self._straight(state, points[k]):
                return points[k]
        return points[min(1, len(points) - 1)]

    def _straight(self, state: DoomState, end: tuple[float, float]) -> bool:
        """Whether all grid points along a straight line are free; where one stands now may be anywhere."""
        dx, dy = end[0] - state.x, end[1] - state.y
        n = max(2, int(math.hypot(dx, dy) / (CELL / 2)))
        t = np.arange(2, n + 1) / n
        i = np.rint((state.x + t * dx - self.x0) / CELL).astype(int)
        j = np.rint((state.y + t * dy - self.y0) / CELL).astype(int)
        return bool(np.isfinite(self.distances[i, j]).all())

    def _point(self, i: int, j: int) -> tuple[float, float]:
        return float(self.x0 + CELL * i), float(self.y0 + CELL * j)

"""Walking in the playroom, for its expert: around furniture and things, on a grid. Without a memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from agent import doom_codec as codec
from envs.angles import wrapped
from envs.playroom.mjcf import EYE
from envs.playroom.room import Room
from envs.playroom.rooms import BODY_RADIUS
from envs.playroom.state import PlayroomState

SEARCH_TURN = 32.0  # degrees a decision while the target is out of view; always the same way, so that it can be learned
VIEW = 36.0  # half of what is seen, degrees
WALK_ANGLE = 20.0  # walk while the way ahead is within this
CELL = 0.1  # metres, of the grid on which ways are looked for

Tokens = codec.Tokens
Point = tuple[float, float]


def turn_to(off: float) -> float:
    """The turn of one decision towards what is `off` degrees to the right."""
    return SEARCH_TURN if abs(off) > VIEW else off


def bearing_to(state: PlayroomState, point: Iterable[float]) -> float:
    """How far to the right a point of the floor is, degrees."""
    x, y = point
    return wrapped(state.yaw - math.degrees(math.atan2(y - state.y, x - state.x)))


def walk_to(
    state: PlayroomState,
    goal: Iterable[float],
    stop: float,
    leave_out: set[int],
    *,
    pitch: float = -15.0,
    fine: bool = False,
    height: float | None = None,
    berth: float = 0.0,
) -> Tokens:
    """Walk to within `stop` metres of a point, around furniture and things, looking up or down by `pitch`, or, where
    it is `fine`, as one does. `height`: of what has to be seen in the end, metres. `berth`: metres more than is needed
    that one keeps from things."""
    x, y = (float(number) for number in goal)
    off, dist = bearing_to(state, (x, y)), math.hypot(x - state.x, y - state.y)
    level = 0.0 if fine or abs(state.pitch - pitch) < 4.0 else pitch - state.pitch
    if dist <= stop and (height is None or fine):
        return codec.tokens_of(turn=turn_to(off), look=level)
    way = Grid(state.room, state.positions, leave_out | {state.held}, berth).next_point(state, (x, y), stop, height)
    if way is not None:
        around = bearing_to(state, way)
        # look for the target first: who has not seen it cannot know the way
        if abs(off) <= VIEW or abs(around) <= VIEW:
            off = around
    return codec.tokens_of(turn=turn_to(off), look=level, forth=int(abs(off) <= WALK_ANGLE))


class Grid:
    """Where one can walk in a room now: `free`, and `furniture_free` where things may be shoved along.

    `positions` (N, 3): the things' centres. `leave_out`: things that don't count. `berth`: as for `walk_to`.
    """

    def __init__(
        self, room: Room, positions: npt.NDArray[np.float64], leave_out: Collection[int | None], berth: float = 0.0
    ) -> None:
        self._shape = math.ceil(room.width / CELL), math.ceil(room.depth / CELL)
        self._corner = -room.width / 2, -room.depth / 2
        xs, ys = (self._corner[i] + CELL * (np.arange(self._shape[i]) + 0.5) for i in range(2))
        self.x, self.y = np.meshgrid(xs, ys, indexing="ij")
        margin = BODY_RADIUS + 0.04
        free = (abs(self.x) < room.width / 2 - margin) & (abs(self.y) < room.depth / 2 - margin)
        for piece in room.furniture:
            if piece.kind != "rug":
                half_x, half_y = piece.half
                free &= (abs(self.x - piece.x) > half_x + margin) | (abs(self.y - piece.y) > half_y + margin)
        self.furniture_free = free.copy()
        for i, (thing, (x, y, z)) in enumerate(zip(room.things, positions, strict=True)):
            if z < thing.height + 0.1 and i not in leave_out:
                free &= np.hypot(self.x - x, self.y - y) > thing.radius + margin + berth
        self.free = free

    def joins(self, a: Point, b: Point) -> bool:
        """Whether one can walk from one point to the other."""
        parts, _ = ndimage.label(self.free)
        part = int(parts[self._cell(*a)])
        return part > 0 and part == parts[self._cell(*b)]

    def _cell(self, x: float, y: float) -> tuple[int, int]:
        i = int((x - self._corner[0]) / CELL), int((y - self._corner[1]) / CELL)
        return min(max(i[0], 0), self._shape[0] - 1), min(max(i[1], 0), self._shape[1] - 1)

    def next_point(self, state: PlayroomState, goal: Point, stop: float, height: float | None) -> Point | None:
        """A place ahead on the way to within `stop` of the goal, in a straight line from here; None without a way.

        `height`: of what has to be seen there over the furniture, where it has to be."""
        for free in (self.free, self.furniture_free):  # where things bar the way, one shoves them along
            steps = self._steps(free, goal, stop, height, state)
            here = self._cell(state.x, state.y)
            if steps[here] < 0:
                continue
            point = None
            for _ in range(14):
                if steps[here] == 0:
                    break
                here = self._downhill(steps, here)
                spot = float(self.x[here]), float(self.y[here])
                if point is not None and not self._clear(free, (state.x, state.y), spot):
                    break
                point = spot
            if point is not None:
                return point
        return None

    def _steps(
        self, free: npt.NDArray[np.bool_], goal: Point, stop: float, height: float | None, state: PlayroomState
    ) -> npt.NDArray[np.int64]:
        """For every cell, the steps from it to the nearest one within `stop` of the goal; -1 where there is no way."""
        passable = free.copy()
        passable[self._cell(state.x, state.y)] = True
        passable = ndimage.binary_dilation(passable & ~free, iterations=3) & self.furniture_free | passable
        reach = np.hypot(self.x - goal[0], self.y - goal[1])
        front = free & (reach < stop - 0.05)
        if height is not None and (seen := front & self._sees(state, goal, height)).any():
            front = seen
        if not front.any():
            front = free & (reach <= reach[free].min() + 0.05)
        steps = np.where(front, 0, -1)
        count, cross = 0, ndimage.generate_binary_structure(2, 1)
        while front.any():
            count += 1
            front = ndimage.binary_dilation(front, cross) & passable & (steps < 0)
            steps[front] = count
        return steps

    def _sees(self, state: PlayroomState, goal: Point, height: float) -> npt.NDArray[np.bool_]:
        """From which cells nothing of the furniture hides what is at the goal, at that height."""
        seen = np.ones(self._shape, bool)
        for t in np.linspace(0.05, 0.95, 12):
            x, y = self.x + t * (goal[0] - self.x), self.y + t * (goal[1] - self.y)
            for piece in state.room.furniture:
                half_x, half_y = piece.half
                if EYE + t * (height - EYE) < piece.height and piece.kind != "rug":
                    seen &= (abs(x - piece.x) > half_x) | (abs(y - piece.y) > half_y)
        return seen

    @staticmethod
    def _downhill(steps: npt.NDArray[np.int64], here: tuple[int, int]) -> tuple[int, int]:
        i, j = here
        around = [
            (steps[a, b], (a, b))
            for a in range(max(i - 1, 0), min(i + 2, steps.shape[0]))
            for b in range(max(j - 1, 0), min(j + 2, steps.shape[1]))
            if steps[a, b] >= 0
        ]
        return min(around)[1]

    def _clear(self, free: npt.NDArray[np.bool_], a: Point, b: Point) -> bool:
        """Whether the straight way is free, but for where one stands already."""
        length = math.hypot(b[0] - a[0], b[1] - a[1])
        for k in range(3, math.ceil(length / (CELL / 2))):
            t = k * CELL / 2 / length
            if not free[self._cell(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]))]:
                return False
        return True

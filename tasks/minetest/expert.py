"""The scripted expert of Minetest. Like tasks.doom.expert it reads ground truth and has no memory."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from agent import doom_codec as codec
from agent.policy import Decision
from envs.errors import UserError
from envs.minetest.state import BLOCKED, MinetestState
from envs.minetest.things import FRONTS
from tasks.minetest.verify import FAMILIES, NEAR, look_tolerance
from tasks.task import VerifierSpec

SEARCH_TURN = 32.0  # degrees a decision while the target is out of view; always the same way, so that it can be learned
VIEW = 40.0  # half of what is seen, degrees
WALK_ANGLE = 24.0  # walk while the way ahead is within this
REACH = 3.6  # nodes from the eyes: the hand of the game reaches 4
ARM = 2.4  # nodes along the ground from which one digs, opens and places
PITCH = -12.0  # degrees, while walking
PRESS = 4  # decisions from one press of the right button to the next: what it did has to be seen first
_RIGHT = 0.06  # nodes
WIDE = 0.34  # nodes: half of the player, and a little

Tokens = codec.Tokens
Point = tuple[float, float]
Cell = tuple[int, int]


def start(spec: VerifierSpec) -> Callable[[MinetestState], Decision]:
    """What decides from ground truth towards what `spec` verifies. Raises UserError for what the expert can't do."""
    if spec.name not in FAMILIES:
        raise UserError(f"the expert cannot do {spec.name}; it can do {', '.join(FAMILIES)}")
    return lambda state: codec.decode(choose(state, spec))


def choose(state: MinetestState, spec: VerifierSpec) -> Tokens:
    """The action tokens for one decision towards what `spec` verifies."""
    left = [thing for thing in spec.args["targets"] if thing not in state.dug]
    if not left:
        return codec.NOOP
    thing = min(left, key=state.distance)
    return _FAMILIES[spec.name](state, thing)


def _look_at(state: MinetestState, thing: int) -> Tokens:
    right, up = state.bearing(thing)
    exact = 0.4 * look_tolerance(state, thing)
    if abs(right) < exact and abs(up) < exact and state.aimed not in (None, thing):  # something hides it
        return walk_to(state, thing, NEAR - 0.4)
    return codec.tokens_of(
        turn=0.0 if abs(right) < exact else _turn_to(right),
        look=0.0 if abs(right) > VIEW or abs(up) < exact else up,
    )


def _go_to(state: MinetestState, thing: int) -> Tokens:
    return walk_to(state, thing, NEAR - 0.3)


def _dig(state: MinetestState, thing: int) -> Tokens:
    item = state.level.things[thing]
    height = min(item.height / 2, 1.2)
    if state.aimed == thing and state.aimed_distance <= REACH:
        return codec.tokens_of(hand="attack")
    return _aim(state, thing, (item.x, state.base[thing] + height, item.z), lambda: codec.tokens_of(hand="attack"))


def _place_on(state: MinetestState, thing: int) -> Tokens:
    if state.placed:
        return codec.NOOP
    item = state.level.things[thing]
    return _aim(
        state, thing, (item.x, state.base[thing] + item.height, item.z),
        lambda: _press(state) if state.aimed_top else codec.tokens_of(look=4.0),
    )  # fmt: skip


def _open(state: MinetestState, thing: int) -> Tokens:
    if thing in state.opened:
        return codec.NOOP
    item = state.level.things[thing]
    return _aim(state, thing, (item.x, state.base[thing] + 0.5, item.z), lambda: _press(state))


def _enter(state: MinetestState, thing: int) -> Tokens:
    if state.inside(thing):
        return codec.NOOP
    item = state.level.things[thing]
    east, north = FRONTS[item.turn]  # out of the door

    def before(ahead: float) -> Point:
        """A place so far before the house's middle, a little to the right: an open door takes room on the left."""
        return item.x + ahead * east - _RIGHT * north, item.z + ahead * north + _RIGHT * east

    x, z = state.x - before(0.0)[0], state.z - before(0.0)[1]
    ahead, aside = x * east + z * north, abs(x * north - z * east)
    if not 1.5 < ahead < 5.5 or aside > max(0.12, 0.16 * (ahead - 2.0)):  # come straight from the front
        return _walk(state, before(4.7), None, {thing})
    if thing in state.opened:
        return _steer(state, before(2.0 if ahead > 2.9 else 0.0))
    if ahead > 4.9:
        return _steer(state, before(2.0))
    door = before(2.0)
    return _aim(state, thing, (door[0], state.base[thing] + 1.3, door[1]), lambda: _press(state), near=6.0)


def _aim(
    state: MinetestState,
    thing: int,
    point: tuple[float, float, float],
    act: Callable[[], Tokens],
    near: float = ARM,
) -> Tokens:
    """Go near a point of a thing, bring the crosshair onto it, and then do `act`."""
    right, up = state.bearing_to(*point)
    dist = math.hypot(point[0] - state.x, point[2] - state.z)
    if state.gap(thing) > near - 0.5 or (dist > near and near == ARM):
        return walk_to(state, thing, near - 0.7)
    if abs(right) > 3.0 or abs(up) > 3.0:
        return codec.tokens_of(turn=_turn_to(right), look=up if abs(right) <= VIEW else 0.0)
    if state.aimed == thing and state.aimed_distance <= REACH:
        return act()
    if state.aimed not in (None, thing):  # something is in between
        return walk_to(state, thing, 0.4)
    return codec.tokens_of(turn=right, look=up) if max(abs(right), abs(up)) >= 1.0 else codec.tokens_of(forth=1)


def _press(state: MinetestState) -> Tokens:
    return codec.tokens_of(hand="use" if state.tick // codec.CHUNK % PRESS == 0 else "none")


def _turn_to(off: float) -> float:
    return SEARCH_TURN if abs(off) > VIEW else off


def _level(state: MinetestState) -> float:
    return 0.0 if abs(state.pitch - PITCH) < 5.0 else PITCH - state.pitch


def _steer(state: MinetestState, point: Point) -> Tokens:
    """Walk straight to a point, turning first where it is not ahead."""
    off, _ = state.bearing_to(point[0], state.eye, point[1])
    return codec.tokens_of(turn=_turn_to(off), look=_level(state), forth=int(abs(off) < 8.0))


def walk_to(state: MinetestState, thing: int, stop: float) -> Tokens:
    """Walk to within `stop` nodes of a thing's side, around what is in the way, and turn to it."""
    item = state.level.things[thing]
    if state.gap(thing) <= stop:
        off, _ = state.bearing(thing)
        return codec.tokens_of(turn=_turn_to(off), look=_level(state))
    return _walk(state, (item.x, item.z), (thing, stop), {thing})


def _walk(state: MinetestState, point: Point, goal: tuple[int, float] | None, leave_out: set[int]) -> Tokens:
    """Walk towards a point, until within so many nodes of a thing's side where there is a `goal`."""
    off, _ = state.bearing_to(point[0], state.eye, point[1])
    way = _next_point(state, point, goal)
    if way is not None:
        around, _ = state.bearing_to(way[0], state.eye, way[1])
        # look for the target first: who has not seen it cannot know the way
        if abs(off) <= VIEW or abs(around) <= VIEW:
            off = around
    return codec.tokens_of(turn=_turn_to(off), look=_level(state), forth=int(abs(off) <= WALK_ANGLE))


def _floor(state: MinetestState) -> npt.NDArray[np.int16]:
    """The ground's y where one can walk now, BLOCKED elsewhere, by [x + half + 1, z + half + 1]."""
    ground = state.ground.copy()
    middle = state.level.half + 1
    for index, thing in enumerate(state.level.things):
        wide, deep = math.floor(thing.half[0]), math.floor(thing.half[1])
        i, j = thing.x + middle, thing.z + middle
        place = ground[max(0, i - wide) : i + wide + 1, max(0, j - deep) : j + deep + 1]
        place[:] = state.base[index] if index in state.dug else BLOCKED
    for placed in state.placed:
        ground[round(placed.x) + middle, round(placed.z) + middle] = BLOCKED
    return ground


def _next_point(state: MinetestState, point: Point, goal: tuple[int, float] | None) -> Point | None:
    """A place ahead on the way, in a straight line from here; None where there is no way."""
    floor, middle = _floor(state), state.level.half + 1
    climb = 0 if state.level.site is None else 1
    here = _nearest(floor, (state.x + middle, state.z + middle))

    def there(cell: Cell) -> bool:
        x, z = cell[0] - middle, cell[1] - middle
        if goal is None:
            return math.hypot(x - point[0], z - point[1]) <= 0.75
        item = state.level.things[goal[0]]
        gap = math.hypot(max(0.0, abs(x - item.x) - item.half[0]), max(0.0, abs(z - item.z) - item.half[1]))
        return gap <= max(goal[1], 1.0)

    path = _path(floor, here, there, climb)
    if not path:
        return None
    best: Cell | None = None
    for cell in path[1:16]:
        if best is not None and not _straight(floor, (state.x + middle, state.z + middle), cell, climb):
            break
        best = cell
    if best is None or best == path[-1]:
        return point
    return float(best[0] - middle), float(best[1] - middle)


def _nearest(floor: npt.NDArray[np.int16], at: Point) -> Cell:
    """The cell that one stands on: of those that one may touch, the nearest that is free."""
    i, j = round(at[0]), round(at[1])
    around = [(a, b) for a in range(i - 1, i + 2) for b in range(j - 1, j + 2)]
    free = [c for c in around if _inside(floor, c) and floor[c] != BLOCKED]
    return min(free, key=lambda c: math.hypot(c[0] - at[0], c[1] - at[1]), default=(i, j))


def _inside(floor: npt.NDArray[np.int16], cell: Cell) -> bool:
    return bool(0 <= cell[0] < floor.shape[0] and 0 <= cell[1] < floor.shape[1])


def _passes(floor: npt.NDArray[np.int16], a: Cell, b: Cell, climb: int) -> bool:
    if not _inside(floor, b) or floor[b] == BLOCKED or not _inside(floor, a) or floor[a] == BLOCKED:
        return False
    return -2 <= int(floor[b]) - int(floor[a]) <= climb


def _path(floor: npt.NDArray[np.int16], start: Cell, there: Callable[[Cell], bool], climb: int) -> list[Cell]:
    """The cells of a shortest way, from `start` on; empty where there is none. Corners are not cut."""
    before: dict[Cell, Cell] = {start: start}
    front = deque([start])
    while front:
        cell = front.popleft()
        if there(cell):
            path = [cell]
            while path[-1] != start:
                path.append(before[path[-1]])
            return path[::-1]
        i, j = cell
        for di, dj in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)):
            to = (i + di, j + dj)
            if to in before or not _passes(floor, cell, to, climb):
                continue
            if (
                di
                and dj
                and not (_passes(floor, cell, (i + di, j), climb) and _passes(floor, cell, (i, j + dj), climb))
            ):
                continue
            before[to] = cell
            front.append(to)
    return []


def _straight(floor: npt.NDArray[np.int16], a: Point, b: Cell, climb: int) -> bool:
    """Whether the straight way is free for the whole width of the player."""
    length = math.hypot(b[0] - a[0], b[1] - a[1])
    steps = max(1, math.ceil(length / 0.25))
    last: set[Cell] = set()
    for k in range(1, steps + 1):
        x, z = a[0] + (b[0] - a[0]) * k / steps, a[1] + (b[1] - a[1]) * k / steps
        cells = {(round(x + dx), round(z + dz)) for dx in (-WIDE, WIDE) for dz in (-WIDE, WIDE)}
        if any(not _inside(floor, cell) or floor[cell] == BLOCKED for cell in cells):
            return False
        if last and max(int(floor[c]) for c in cells) - min(int(floor[c]) for c in last) > climb:
            return False
        last = cells
    return True


_FAMILIES: dict[str, Callable[[MinetestState, int], Tokens]] = {
    "minetest.look_at": _look_at,
    "minetest.go_to": _go_to,
    "minetest.dig": _dig,
    "minetest.place_on": _place_on,
    "minetest.enter": _enter,
    "minetest.open": _open,
}

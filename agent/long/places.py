"""`Places`: a map with visit counts that the player draws of its own way, and what it saw where."""

from __future__ import annotations

import math
import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agent.long.odometer import Pose
from agent.sight import direction

CELL = 0.6  # seconds of walking: the side of a cell of the map
_SIDES = {"left": -28.0, "ahead": 0.0, "right": 28.0}  # degrees right of the middle that a word of a caption means
_AWAY = 1.2  # seconds of walking: how far off what is seen is taken to be
_NEAR, _FACED = (0.5, 1.6), 20.0  # seconds of walking and degrees off: what is there must be in view
_LASTING = frozenset({"doorway"})  # nothing takes it away, and from near it is too large to be named
MISSES = 4  # looks at a place without what was seen there, after which it is taken to be gone
_STRIDE = 1.0  # seconds of walking: how far ahead on a way one is told where it leads
_CLOSE = 0.9  # seconds of walking: what is so near should be in view
_AGAIN = 3  # times that the player was in a cell, after which it is told where it never was
_BEYOND, _WIDE = 1.0, 20.0  # seconds of walking, and degrees: who was there has been behind an exit in that direction
_PATIENCE = 100  # times that an exit is told, after which it is taken to lead nowhere
_EXITS = frozenset({"doorway", "door"})
_ONE_PLACE = _EXITS | {"gate"}  # what the same opening may be called from one look to the next
_AROUND = {"ahead": 0.0, "right": 90.0, "behind": 180.0, "left": -90.0}
_SEEN = re.compile(r"(?P<name>.+?) (?P<side>left|ahead|right)")

Cell = tuple[int, int]


@dataclass(frozen=True)
class Landmark:
    """Something that was seen. `place`: about where it is. `seen_from`: where the player stood. `tick`: when it was
    seen last. `missed`: how often its place was looked at since, and it was not seen."""

    name: str
    place: Pose
    seen_from: Pose
    tick: int
    missed: int = 0


def cell_of(pose: Pose) -> Cell:
    return math.floor(pose.ahead / CELL), math.floor(pose.right / CELL)


def things_in(caption: str) -> list[tuple[str, str]]:
    """What a caption such as "red key left and imp ahead" names, and on which side."""
    found = (_SEEN.fullmatch(part.strip()) for part in caption.split(" and "))
    return [(match["name"], match["side"]) for match in found if match]


class Places:
    """Cells of CELL seconds of walking with the number of times that the player came into each, and landmarks.

    The loop writes while a planner reads in its own thread: the list of landmarks is replaced, never changed.
    `looks_again`: a landmark that is not seen any more where it should be is forgotten after MISSES looks.
    """

    def __init__(self, *, looks_again: bool = True) -> None:
        self._looks_again = looks_again
        self.visits: Counter[Cell] = Counter()
        self.here = Pose()
        self.landmarks: list[Landmark] = []  # the newest last; one for each name and cell
        self._views: dict[tuple[Cell, int], str] = {}  # what was last in view, by place and direction
        self._spots: dict[Cell, Pose] = {}  # where in a cell the player was last
        self._next: dict[Cell, set[Cell]] = {}  # the cells that it went to from each, both ways
        self._told: Counter[Cell] = Counter()  # times that it was sent to an exit, by the exit's cell

    def at(self, pose: Pose) -> None:
        """The player is there now."""
        cell, before = cell_of(pose), cell_of(self.here)
        if not self.visits or cell != before:
            self.visits[cell] += 1
            if len(self.visits) > 1 and _near(cell, before):  # one who went back to a saved moment did not walk there
                self._next.setdefault(before, set()).add(cell)
                self._next.setdefault(cell, set()).add(before)
        self.here = self._spots[cell] = pose

    def saw(self, caption: str, tick: int) -> list[str]:
        """The player sees from here what a caption says; the names of the landmarks that are forgotten for it."""
        self._views[cell_of(self.here), _sector(self.here.heading)] = caption
        gone = self._miss({name for name, _ in things_in(caption)}) if self._looks_again else []
        for name, side in things_in(caption):
            place = self.here.towards(_SIDES[side], _AWAY)
            others = [m for m in self.landmarks if cell_of(m.place) != cell_of(place) or not _alike(m.name, name)]
            self.landmarks = [*others, Landmark(name, place, self.here, tick)]
        return gone

    def gates_may_be_open(self) -> None:
        """A switch was pressed: what was a gate may be a doorway now, until it is seen again."""
        self.landmarks = [replace(m, name="doorway") if m.name == "gate" else m for m in self.landmarks]
        self._told.clear()

    def _miss(self, seen: set[str]) -> list[str]:
        """Count the landmarks that should be in view and are not; the names of those that are forgotten."""
        kept: list[Landmark] = []
        gone: list[Landmark] = []
        for mark in self.landmarks:
            far, off = self.here.bearing(mark.place)
            if mark.name not in seen | _LASTING and _NEAR[0] <= far <= _NEAR[1] and abs(off) <= _FACED:
                mark = replace(mark, missed=mark.missed + 1)
            (kept if mark.missed < MISSES else gone).append(mark)
        self.landmarks = kept
        return [mark.name for mark in gone]

    def forget(self, name: str) -> None:
        """The newest landmark of that name is gone."""
        newest = next((m for m in reversed(self.landmarks) if m.name == name), None)
        self.landmarks = [m for m in self.landmarks if m is not newest]

    def count(self, off: float) -> int:
        """How often the player was about a second's walk away, `off` degrees right of where it looks."""
        ahead = (self.here.towards(off, far) for far in (_AWAY / 2, _AWAY))
        return sum(self.visits[cell] for cell in {cell_of(pose) for pose in ahead} - {cell_of(self.here)})

    def way(self, wanted: Callable[[str], bool], since: int) -> str:
        """In which direction, one of agent.sight.DIRECTIONS, the way begins to the thing seen last whose name is
        `wanted`, by where the player walked before; "" where it was in view at the tick `since` or later, or should be
        in view from here. Where no such thing is known and the player has come here again and again, the way to the
        nearest exit behind which it never was; "" where there is none."""
        steps = self._steps()
        known = next((mark for mark in reversed(self.landmarks) if wanted(mark.name)), None)
        if known is not None:
            near = self.here.bearing(known.place)[0] < _CLOSE or known.tick >= since
            return "" if near else self._first(known, steps)
        if self.visits[cell_of(self.here)] < _AGAIN:
            return ""
        spots = np.array([(spot.ahead, spot.right) for spot in self._spots.values()])
        exits = [mark for mark in self.landmarks if mark.name in _EXITS and cell_of(mark.seen_from) in steps]
        exits.sort(key=lambda mark: len(_path(steps, cell_of(mark.seen_from)) or ()))
        nearest = next((mark for mark in exits if self._leads_on(mark, spots)), None)
        if nearest is None:
            return ""
        self._told[cell_of(nearest.place)] += 1
        return self._first(nearest, steps)

    def _leads_on(self, exit_: Landmark, spots: npt.NDArray[np.float64]) -> bool:
        """Whether nobody was behind an exit yet, which may be farther away than its place is. `spots` (N, 2): where
        the player was."""
        if self._told[cell_of(exit_.place)] >= _PATIENCE:
            return False
        here, there = exit_.seen_from, exit_.place
        ahead, right = spots[:, 0] - here.ahead, spots[:, 1] - here.right
        off = math.atan2(there.right - here.right, there.ahead - here.ahead)
        aside = np.abs(np.angle(np.exp(1j * (np.arctan2(right, ahead) - off))))
        return not bool(((np.hypot(ahead, right) > _BEYOND) & (aside < math.radians(_WIDE))).any())

    def _first(self, mark: Landmark, steps: dict[Cell, Cell | None]) -> str:
        """The direction in which the way to a landmark begins."""
        path = _path(steps, cell_of(mark.seen_from)) or []
        spots = [self._spots[cell] for cell in path[1:]]
        ahead = next((spot for spot in spots if self.here.bearing(spot)[0] >= _STRIDE), mark.place)
        return direction(self.here.bearing(ahead)[1])

    def _steps(self) -> dict[Cell, Cell | None]:
        """Every cell that can be reached by where the player walked, with the one before it on the way."""
        start = cell_of(self.here)
        before: dict[Cell, Cell | None] = {start: None}
        queue = deque([start])
        while queue:
            cell = queue.popleft()
            for other in tuple(self._next.get(cell, ())):
                if other not in before:
                    before[other] = cell
                    queue.append(other)
        return before

    def measure(self, name: str) -> str:
        """How far and in which direction the nearest landmark of that name is; "" where none is known."""
        known = [self.here.bearing(m.place) for m in self.landmarks if m.name == name]
        if not known:
            return ""
        far, off = min(known)
        return f"{name}: about {far:.0f} s of walking away, {_direction(off)}"

    def around(self) -> str:
        """What was in view from here, in the four directions."""
        cell = cell_of(self.here)
        parts = []
        for word, off in _AROUND.items():
            seen = self._views.get((cell, _sector(self.here.heading + off)))
            parts.append(f"{word}: {'not looked' if seen is None else seen or 'nothing'}")
        return "; ".join(parts)

    def text(self, most: int = 6) -> str:
        """The map in a line: where the player is, how often it was around, and the nearest landmarks."""
        cell, around = cell_of(self.here), ", ".join(f"{word} {self.count(off)}" for word, off in _AROUND.items())
        near = sorted({m.name: self.here.bearing(m.place) for m in self.landmarks}.items(), key=lambda one: one[1])
        known = "; ".join(f"{name} {far:.0f} s {_direction(off)}" for name, (far, off) in near[:most])
        line = f"cell {cell[0]},{cell[1]}, visit {self.visits[cell]}, {len(self.visits)} cells known; visits {around}"
        return f"{line}; seen: {known}" if known else line


def _alike(name: str, other: str) -> bool:
    return name == other or {name, other} <= _ONE_PLACE


def _near(cell: Cell, other: Cell) -> bool:
    return max(abs(a - b) for a, b in zip(cell, other, strict=True)) <= 1


def _path(steps: dict[Cell, Cell | None], goal: Cell) -> list[Cell] | None:
    """The cells from where `steps` begins to a goal; None where it can't be reached."""
    if goal not in steps:
        return None
    path: list[Cell] = []
    cell: Cell | None = goal
    while cell is not None:
        path.append(cell)
        cell = steps[cell]
    return path[::-1]


def _sector(heading: float) -> int:
    """One of four directions."""
    return round(heading / 90.0) % 4


def _direction(off: float) -> str:
    return min(_AROUND, key=lambda word: abs((off - _AROUND[word] + 180.0) % 360.0 - 180.0))

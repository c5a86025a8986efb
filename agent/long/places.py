"""`Places`: a map with visit counts that the player draws of its own way, and what it saw where."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace

from agent.long.odometer import Pose

CELL = 0.6  # seconds of walking: the side of a cell of the map
_SIDES = {"left": -28.0, "ahead": 0.0, "right": 28.0}  # degrees right of the middle that a word of a caption means
_AWAY = 1.2  # seconds of walking: how far off what is seen is taken to be
_NEAR, _FACED = (0.5, 1.6), 20.0  # seconds of walking and degrees off: what is there must be in view
_LASTING = frozenset({"doorway"})  # nothing takes it away, and from near it is too large to be named
MISSES = 4  # looks at a place without what was seen there, after which it is taken to be gone
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

    def at(self, pose: Pose) -> None:
        """The player is there now."""
        if not self.visits or cell_of(pose) != cell_of(self.here):
            self.visits[cell_of(pose)] += 1
        self.here = pose

    def saw(self, caption: str, tick: int) -> list[str]:
        """The player sees from here what a caption says; the names of the landmarks that are forgotten for it."""
        self._views[cell_of(self.here), _sector(self.here.heading)] = caption
        gone = self._miss({name for name, _ in things_in(caption)}) if self._looks_again else []
        for name, side in things_in(caption):
            place = self.here.towards(_SIDES[side], _AWAY)
            others = [m for m in self.landmarks if m.name != name or cell_of(m.place) != cell_of(place)]
            self.landmarks = [*others, Landmark(name, place, self.here, tick)]
        return gone

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


def _sector(heading: float) -> int:
    """One of four directions."""
    return round(heading / 90.0) % 4


def _direction(off: float) -> str:
    return min(_AROUND, key=lambda word: abs((off - _AROUND[word] + 180.0) % 360.0 - 180.0))

"""`Seen` and `scene_of`: what a frame shows, on ground truth; things by their pixels, doors and switches by geometry.

Questions, captions and proposals are programs on this, so that a model can learn to say what is in a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.sight import COLUMNS, ROWS
from envs.doom.level import FOV, LOCKS, Door, Level, Rect
from envs.doom.things import CLASSES
from envs.doom.world import DoomObject, DoomState
from tasks.doom.geometry import DOOR_OPEN, bearing, distance, view_of
from tasks.task import thing_name

# Fixtures: classes beyond those of things.
PRESSED, DOORWAY, DOOR, GATE, PANEL = 248, 249, 250, 254, 255
LOCKED = {"red": 251, "blue": 252, "yellow": 253}
FIXTURES: dict[int, tuple[str, str | None]] = {
    PRESSED: ("switch", None),  # its light has changed
    DOORWAY: ("doorway", None),
    DOOR: ("door", None),
    **{number: ("door", colour) for colour, number in LOCKED.items()},
    GATE: ("gate", None),
    PANEL: ("switch", None),
}
PAIRS: dict[int, tuple[str, str | None]] = {**{number: pair for pair, number in CLASSES.items()}, **FIXTURES}

SCENE_ROWS = 16  # of a packed scene
UNCLEAR = 8  # pixels that a fixture is given of which nobody can say what is seen: it moves, or one stands in it, or
NARROW = 5.0  # it is seen from so far aside, or so much of it is hidden, that less than these columns are left
_STEPS = 16.0  # of a packed pixel count, in an octave: 4 % apart
_UNIT = 8.0  # map units in a step of a packed distance
_EYE = 41.0  # map units above the floor
_STRETCH = 1.2  # the engine's pixels are taller than wide
_DOORWAY_HEIGHT = 96.0  # map units
# What tells a switch from the wall is its button: from where to where on the panel's width, as one looks at it, and
# above the floor, map units. Wide textures are cut off at the panel's end.
_BUTTON = (0.25, 0.75)
_BUTTONS = {"SW1BRCOM": (0.75, 1.0), "SW1BRN1": (0.75, 1.0)}
_BUTTON_HEIGHT = (30.0, 68.0)
_SAMPLES = 17  # points along a fixture's face that are looked at
_STEP = 8.0  # map units between the points of a line of sight


@dataclass(frozen=True)
class Seen:
    """A thing or a fixture in view.

    `name_class`: of envs.doom.things.CLASSES or FIXTURES. `column`: its middle, `row`: its foot, both in [0, 1] of the
    picture from its left upper corner. `pixels`: how many of 160 x 120 it covers, fewer where it can't be told.
    `distance`: map units.
    """

    name_class: int
    column: float
    row: float
    pixels: int
    distance: float

    @property
    def pair(self) -> tuple[str, str | None]:
        return PAIRS[self.name_class]

    @property
    def kind(self) -> str:
        """A kind of thing, or "door", "gate", "switch", "doorway"."""
        return self.pair[0]

    @property
    def colour(self) -> str | None:
        """Of a door: the colour of its lock."""
        return self.pair[1]

    @property
    def fixture(self) -> bool:
        return self.name_class in FIXTURES

    @property
    def name(self) -> str:
        """Its plain name: "red key", "imp", "blue door"."""
        return thing_name(*self.pair)


Scene = tuple[Seen, ...]


def scene_of(state: DoomState) -> Scene:
    """What the frame of a state shows, from left to right. Raises ValueError where the state has no labels."""
    if state.labels is None:
        raise ValueError("a scene needs labels: make the world with labels=True")
    found = [*_things(state, state.labels), *_doors(state, state.labels), *_panels(state, state.labels)]
    return tuple(sorted(found, key=lambda s: s.column))


def pack(scene: Sequence[Seen]) -> npt.NDArray[np.uint8]:
    """A scene as uint8 (SCENE_ROWS, 5): class, column in 80ths, row in 24ths, 16 log2 of the pixels, distance / 8.

    Rows behind the last are 0. The largest SCENE_ROWS are kept.
    """
    kept = sorted(sorted(scene, key=lambda s: -s.pixels)[:SCENE_ROWS], key=lambda s: s.column)
    out = np.zeros((SCENE_ROWS, 5), np.uint8)
    for i, seen in enumerate(kept):
        out[i] = (
            seen.name_class,
            min(int(seen.column * COLUMNS), COLUMNS - 1),
            min(int(seen.row * ROWS), ROWS - 1),
            min(round(_STEPS * math.log2(max(seen.pixels, 1))), 255),
            min(round(seen.distance / _UNIT), 255),
        )
    return out


def unpack(rows: npt.NDArray[np.uint8]) -> Scene:
    """The scene that `pack` packed, as exactly as it was kept. `rows`: uint8 (SCENE_ROWS, 5)."""
    return tuple(
        Seen(int(c), (column + 0.5) / COLUMNS, (row + 0.5) / ROWS, round(2.0 ** (pixels / _STEPS)), far * _UNIT)
        for c, column, row, pixels, far in rows.tolist()
        if c
    )


def sighted(state: DoomState, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of some points (N, 2) can be seen from where the player is, whichever way it looks: no wall, pillar or
    closed door is between. A point on a wall is in sight."""
    here = np.array([state.x, state.y])
    length = float(np.hypot(*(points - here).T).max(initial=_STEP))
    # short of the ends: the player may touch a wall, and the points may lie on one
    t = np.linspace(0.02, 0.98, max(3, int(length / _STEP)))[None, :, None]
    way = here + t * (points - here)[:, None, :]
    free = np.zeros(way.shape[:2], bool)
    for rect in _open_areas(state):
        free |= _inside(rect, way)
    for pillar in state.level.pillars:
        free &= ~_inside(pillar, way)
    return np.asarray(free.all(axis=1))


def _open_areas(state: DoomState) -> list[Rect]:
    level = state.level
    through = [d.rect for i, d in enumerate(level.doors) if is_open(state, i)]
    return [*(room.rect for room in level.rooms), *through]


def is_open(state: DoomState, door: int) -> bool:
    """Whether the player can walk through a door: it is open, or a mere doorway."""
    return state.level.doors[door].kind == "open" or state.doors[door] >= DOOR_OPEN


def _inside(rect: Rect, points: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    x, y = points[..., 0], points[..., 1]
    return np.asarray((x >= rect.x0 - 0.5) & (x <= rect.x1 + 0.5) & (y >= rect.y0 - 0.5) & (y <= rect.y1 + 0.5))


def _column(off: float, across: float) -> float:
    """The column of a bearing: the picture is a plane, as far to its edge as `across` where it is 1 away."""
    return 0.5 + 0.5 * math.tan(math.radians(max(-89.0, min(89.0, off)))) / across


def _across(state: DoomState) -> float:
    return math.tan(math.radians(state.level.fov / 2)) if state.level.fov != FOV else 1.0


def _things(state: DoomState, labels: npt.NDArray[np.uint8]) -> list[Seen]:
    height, width = labels.shape
    scale = 160 * 120 / (height * width)
    rows, columns = np.nonzero(labels)
    values = labels[rows, columns]
    found = []
    for number in np.flatnonzero(np.bincount(values, minlength=256)):
        mine = values == number
        alike = [o for o in state.objects if (o.kind, o.colour) == PAIRS[int(number)]]
        for thing, own in _shares(state, alike, columns[mine] / width):
            x, y = columns[mine][own], rows[mine][own]
            found.append(
                Seen(
                    int(number),
                    float(x.mean() + 0.5) / width,
                    float(y.max() + 1) / height,
                    max(1, round(len(x) * scale)),
                    distance(state, thing.x, thing.y),
                )
            )
    return found


def _shares(
    state: DoomState, alike: Sequence[DoomObject], columns: npt.NDArray[np.float64]
) -> list[tuple[DoomObject, npt.NDArray[np.bool_]]]:
    """Which pixels of a class belong to which of its things: those nearest to where it must be in the picture."""
    if len(alike) > 1:
        visible = sighted(state, np.array([(o.x, o.y) for o in alike]))
        offs = [bearing(state, o.x, o.y) for o in alike]
        near = [o for o, off, free in zip(alike, offs, visible, strict=True) if free and abs(off) < 60.0]
        alike = near or [min(alike, key=lambda o: abs(bearing(state, o.x, o.y)))]
    if not alike:
        return []  # the thing was taken in this tick
    middles = np.array([_column(bearing(state, o.x, o.y), _across(state)) for o in alike])
    whose = np.abs(columns[:, None] - middles[None, :]).argmin(axis=1)
    return [(o, whose == i) for i, o in enumerate(alike) if (whose == i).any()]


def _doors(state: DoomState, labels: npt.NDArray[np.uint8]) -> list[Seen]:
    found = []
    for i, door in enumerate(state.level.doors):
        if door.rect.contains(state.x, state.y):
            found.append(Seen(DOORWAY, 0.5, 1.0, UNCLEAR, 0.0))
            continue
        (ax, ay), (bx, by) = _face(door, state)
        opened = is_open(state, i)
        number = DOORWAY if opened else _door_class(door)
        tall = _DOORWAY_HEIGHT if opened else _ceiling(state.level, (ax + bx) / 2, (ay + by) / 2)
        seen = _fixture(state, labels, number, (ax, ay), (bx, by), (0.0, tall))
        if seen is not None:
            moves = not opened and state.doors[i] > 0.0
            found.append(Seen(number, seen.column, seen.row, UNCLEAR, seen.distance) if moves else seen)
    return found


def _door_class(door: Door) -> int:
    if door.kind == "locked":
        return LOCKED[door.colour or next(iter(LOCKS))]
    return GATE if door.kind == "remote" else DOOR


def _face(door: Door, state: DoomState) -> tuple[tuple[float, float], tuple[float, float]]:
    """The side of a door or doorway that one looks at, as a segment."""
    r = door.rect
    # a passage is as deep as the wall, which is its short side
    if r.x1 - r.x0 < r.y1 - r.y0:
        x = r.x0 if state.x < (r.x0 + r.x1) / 2 else r.x1
        return (x, r.y0), (x, r.y1)
    y = r.y0 if state.y < (r.y0 + r.y1) / 2 else r.y1
    return (r.x0, y), (r.x1, y)


def _panels(state: DoomState, labels: npt.NDArray[np.uint8]) -> list[Seen]:
    found = []
    for i, p in enumerate(state.level.panels):
        number = PANEL if i in state.markers else PRESSED
        ends = (float(p.x0), float(p.y0)), (float(p.x1), float(p.y1))
        (ax, ay), (bx, by) = ends
        if (ax - state.x) * (by - state.y) > (ay - state.y) * (bx - state.x):  # b is left of a
            (ax, ay), (bx, by) = reversed(ends)
        start, end = ((ax + t * (bx - ax), ay + t * (by - ay)) for t in _BUTTONS.get(p.texture, _BUTTON))
        seen = _fixture(state, labels, number, start, end, _BUTTON_HEIGHT)
        if seen is not None:
            found.append(seen)
    return found


def _ceiling(level: Level, x: float, y: float) -> float:
    return float(next((r.ceiling for r in level.rooms if r.rect.contains(x, y)), level.rooms[0].ceiling))


def _fixture(
    state: DoomState,
    labels: npt.NDArray[np.uint8],
    number: int,
    start: tuple[float, float],
    end: tuple[float, float],
    heights: tuple[float, float],
) -> Seen | None:
    """A fixture by the points of its face that are in view, or None where there is none. `heights`: from where to where
    it reaches, map units above the floor."""
    height, width = labels.shape
    t = np.linspace(0.0, 1.0, 2 * _SAMPLES + 1)[1::2, None]  # the middles of equal parts
    points = (1.0 - t) * np.array(start) + t * np.array(end)
    turn = math.radians(state.angle)
    delta = points - (state.x, state.y)
    depth = delta @ (math.cos(turn), math.sin(turn))
    aside = delta @ (math.sin(turn), -math.cos(turn))
    free = (depth > 4.0) & (np.abs(aside) < math.tan(math.radians(view_of(state))) * np.maximum(depth, 1e-6))
    if not free.any():
        return None
    free &= sighted(state, points)
    depth, aside = depth[free], aside[free]
    focal = width / 2 / _across(state)
    horizon = height / 2 + focal * _STRETCH * math.tan(math.radians(state.pitch))
    columns = 0.5 + 0.5 * aside / depth / _across(state)
    foot = np.clip(horizon + focal * _STRETCH * _EYE / depth, 0, height)
    low, high = (np.clip(horizon + focal * _STRETCH * (_EYE - up) / depth, 0, height) for up in heights)
    # each point stands for its part of the face: how wide that is in the picture is the column's derivative
    ex, ey = (end[0] - start[0]) / _SAMPLES, (end[1] - start[1]) / _SAMPLES
    deeper, farther_aside = ex * math.cos(turn) + ey * math.sin(turn), ex * math.sin(turn) - ey * math.cos(turn)
    wide = focal * np.abs(farther_aside * depth - aside * deeper) / depth**2
    if number != DOORWAY:  # what stands before a door or a switch hides it; one sees through a doorway
        row = np.clip((low + high) / 2, 0, height - 1).astype(int)
        wide[labels[row, np.clip(columns * width, 0, width - 1).astype(int)] > 0] = 0.0
    area = wide * (low - high)
    pixels = min(float(area.sum()) / (height * width), 1.0) * 160 * 120
    if pixels < 1.0:
        return None
    if wide.sum() * 160 / width < NARROW:
        pixels = min(pixels, UNCLEAR)
    middle = points.mean(axis=0)
    return Seen(
        number,
        min(max(float((columns * area).sum() / area.sum()), 0.0), 1.0),
        float(np.median(foot)) / height,
        round(pixels),
        distance(state, float(middle[0]), float(middle[1])),
    )

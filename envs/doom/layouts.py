"""Floor plans of several rooms: which rooms there are, how they join, and what stands and opens where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from envs.doom.level import Door, Level, Panel, Rect, Room, Theme, Thing
from envs.doom.placement import PANEL_TEXTURES, PANEL_WIDTH, START_GAP, place, themes_of

WALL = 32  # map units between two rooms, which is how deep a doorway is
PASSAGE = 96  # map units, the width of a doorway
_NARROW = 200  # rooms narrower than this hold no things: one has to get through

_R = (20, 31)  # sides of rooms and corridors, in steps of 16 map units
_C = (8, 10)
_S = (14, 20)
_T = (18, 26)

Cells = tuple[int, int, int, int]
Range = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """A grid of `columns` and `rows` (least and most, in steps of 16 map units), `rooms` as blocks of its cells
    (column, row, end column, end row), and `joins`: pairs of rooms with a doorway between them."""

    columns: tuple[Range, ...]
    rows: tuple[Range, ...]
    rooms: tuple[Cells, ...]
    joins: tuple[tuple[int, int], ...]


LAYOUTS: dict[str, Layout] = {
    "pair": Layout((_R, _R), (_R,), ((0, 0, 1, 1), (1, 0, 2, 1)), ((0, 1),)),
    "row": Layout((_R, _R, _R), (_R,), ((0, 0, 1, 1), (1, 0, 2, 1), (2, 0, 3, 1)), ((0, 1), (1, 2))),
    "hall": Layout((_R, _R), (_R, _R), ((0, 0, 2, 1), (0, 1, 1, 2), (1, 1, 2, 2)), ((0, 1), (0, 2))),
    "square": Layout(
        (_R, _R), (_R, _R), ((0, 0, 1, 1), (1, 0, 2, 1), (0, 1, 1, 2), (1, 1, 2, 2)), ((0, 1), (0, 2), (1, 3))
    ),
    "corridor": Layout(
        (_R, _R, _R), (_C, _R), ((0, 0, 3, 1), (0, 1, 1, 2), (1, 1, 2, 2), (2, 1, 3, 2)), ((0, 1), (0, 2), (0, 3))
    ),
    "passage": Layout(
        (_R, _S, _R), (_S, _C, _C), ((0, 0, 1, 3), (1, 1, 2, 2), (2, 0, 3, 3)), ((0, 1), (1, 2))
    ),
    # never in training
    "ring": Layout(
        (_R, _R), (_R, _R), ((0, 0, 1, 1), (1, 0, 2, 1), (0, 1, 1, 2), (1, 1, 2, 2)), ((0, 1), (0, 2), (1, 3), (2, 3))
    ),
    "ell": Layout(
        (_R, _R, _R), (_R, _R), ((0, 0, 1, 1), (1, 0, 2, 1), (2, 0, 3, 1), (2, 1, 3, 2)), ((0, 1), (1, 2), (2, 3))
    ),
    "star": Layout(
        (_R, _R, _R), (_R, _R, _R),
        ((1, 1, 2, 2), (1, 0, 2, 1), (0, 1, 1, 2), (2, 1, 3, 2), (1, 2, 2, 3)), ((0, 1), (0, 2), (0, 3), (0, 4)),
    ),
    "avenue": Layout(
        (_R, _R, _R), (_R, _C, _R),
        ((0, 1, 3, 2), (0, 0, 1, 1), (1, 0, 3, 1), (0, 2, 2, 3), (2, 2, 3, 3)), ((0, 1), (0, 2), (0, 3), (0, 4)),
    ),
    # the vault's own
    "vault-hub": Layout(
        (_R, (26, 34), _R), (_R, _R), ((1, 0, 2, 1), (0, 0, 1, 1), (2, 0, 3, 1), (1, 1, 2, 2)), ((0, 1), (0, 2), (0, 3))
    ),
    "vault-cells": Layout(
        (_R, _R), (_R, (18, 24), _R),
        ((0, 1, 2, 2), (0, 0, 1, 1), (1, 0, 2, 1), (0, 2, 2, 3)), ((0, 1), (0, 2), (0, 3)),
    ),
    "vault-depth": Layout(
        (_R, _R, _R), (_R, _S), ((0, 0, 1, 2), (1, 0, 2, 1), (2, 0, 3, 2), (1, 1, 2, 2)), ((0, 1), (1, 2), (0, 3))
    ),
}  # fmt: skip
TRAINING_LAYOUTS = ("pair", "row", "hall", "square", "corridor", "passage")
HELD_OUT_LAYOUTS = ("ring", "ell", "star", "avenue")
VAULT_LAYOUTS = ("vault-hub", "vault-cells", "vault-depth")


@dataclass(frozen=True)
class Plan:
    """Rooms and the doorways between them, still without doors and things. `joins`: the two rooms of each doorway."""

    layout: str
    rooms: tuple[Room, ...]
    doorways: tuple[Rect, ...]
    joins: tuple[tuple[int, int], ...]

    def furnished(self) -> list[int]:
        """The rooms that are wide enough to hold things."""
        return [i for i, r in enumerate(self.rooms) if min(r.rect.x1 - r.rect.x0, r.rect.y1 - r.rect.y0) >= _NARROW]

    def doors_of(self, room: int) -> list[int]:
        return [i for i, join in enumerate(self.joins) if room in join]

    def beyond(self, door: int, start: int) -> frozenset[int]:
        """The rooms that one reaches from `start` only through a door."""
        reached, fresh = {start}, [start]
        while fresh:
            room = fresh.pop()
            for i in self.doors_of(room):
                a, b = self.joins[i]
                other = b if a == room else a
                if i != door and other not in reached:
                    reached.add(other)
                    fresh.append(other)
        return frozenset(range(len(self.rooms))) - reached


def floor_plan(rng: np.random.Generator, layouts: Sequence[str], themes: Sequence[str]) -> Plan:
    """A plan of random sizes, turned and mirrored. Raises ValueError for an unknown layout or theme."""
    for name in layouts:
        if name not in LAYOUTS:
            raise ValueError(f"unknown layout {name!r}; known: {', '.join(LAYOUTS)}")
    looks = themes_of(themes)
    name = str(rng.choice(list(layouts)))
    return _planned(rng, name, LAYOUTS[name], looks)


def tree_plan(rng: np.random.Generator, rooms: int, themes: Sequence[str]) -> Plan:
    """A plan of `rooms` rooms on a grid, in which one way leads from any room to any other: a random tree."""
    side = math.ceil(math.sqrt(rooms))
    cells = [(side // 2, side // 2)]
    joins: list[tuple[int, int]] = []
    while len(cells) < rooms:
        free = [
            (i, cell)
            for i, (x, y) in enumerate(cells)
            for cell in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1))
            if cell not in cells and 0 <= cell[0] < side and 0 <= cell[1] < side
        ]
        # mostly on from the newest room that has free ground beside it: long ways with branches
        newest = max(i for i, _ in free)
        choice = [f for f in free if f[0] == newest] if rng.random() < 0.6 else free
        at, cell = choice[rng.integers(len(choice))]
        joins.append((at, len(cells)))
        cells.append(cell)
    blocks = tuple((x, y, x + 1, y + 1) for x, y in cells)
    return _planned(rng, "tree", Layout((_T,) * side, (_T,) * side, blocks, tuple(joins)), themes_of(themes))


def _planned(rng: np.random.Generator, name: str, layout: Layout, looks: list[Theme]) -> Plan:
    """The plan of a layout, with random sizes and looks, turned and mirrored."""
    edges = [_edges(rng, layout.columns), _edges(rng, layout.rows)]
    turned, flips = rng.random() < 0.5, (rng.random() < 0.5, rng.random() < 0.5)

    def rect(cells: Cells) -> Rect:
        spans = []
        for axis in (0, 1):
            low = edges[axis][cells[axis]][0]
            high = edges[axis][cells[axis + 2] - 1][1]
            end = edges[axis][-1][1]
            spans.append((end - high, end - low) if flips[axis] else (low, high))
        (x0, x1), (y0, y1) = reversed(spans) if turned else spans
        return Rect(x0, y0, x1, y1)

    one = looks[rng.integers(len(looks))] if rng.random() < 0.4 else None
    rooms = tuple(
        Room(
            rect(cells),
            one or looks[rng.integers(len(looks))],
            ceiling=int(rng.choice([128, 144, 176])),
            light=int(rng.integers(170, 256)),
            name=f"room{i}",
        )
        for i, cells in enumerate(layout.rooms)
    )
    doorways = tuple(_doorway(rng, rooms[a].rect, rooms[b].rect) for a, b in layout.joins)
    return Plan(name, rooms, doorways, layout.joins)


def _edges(rng: np.random.Generator, sizes: Sequence[Range]) -> list[tuple[int, int]]:
    out, at = [], 0
    for low, high in sizes:
        size = 16 * int(rng.integers(low, high + 1))
        out.append((at, at + size))
        at += size + WALL
    return out


def _doorway(rng: np.random.Generator, a: Rect, b: Rect) -> Rect:
    """A passage through the wall between two rooms, somewhere along what they share of it."""
    if a.x1 <= b.x0 or b.x1 <= a.x0:
        low, high = max(a.y0, b.y0), min(a.y1, b.y1)
        at = 16 * int(rng.integers(low // 16 + 1, (high - PASSAGE) // 16)) if high - low > PASSAGE + 32 else low + 16
        return Rect(min(a.x1, b.x1), at, max(a.x0, b.x0), at + min(PASSAGE, high - low - 32))
    low, high = max(a.x0, b.x0), min(a.x1, b.x1)
    at = 16 * int(rng.integers(low // 16 + 1, (high - PASSAGE) // 16)) if high - low > PASSAGE + 32 else low + 16
    return Rect(at, min(a.y1, b.y1), at + min(PASSAGE, high - low - 32), max(a.y0, b.y0))


def furnish(
    plan: Plan,
    rng: np.random.Generator,
    *,
    start: int,
    things: Sequence[tuple[str, str | None, int]],
    doors: Mapping[int, tuple[str, str | None]] | None = None,
    panels: Sequence[tuple[int, int | None]] = (),
    panel_textures: Sequence[str] = PANEL_TEXTURES,
    seed: int = 0,
) -> Level:
    """The level that a plan becomes.

    `start`: the room one starts in. `things`: (kind, colour, room). `doors`: (kind, colour) by doorway; the others
    stay open. `panels`: (room, door that it opens or None). Raises ValueError where something finds no place.
    """
    doors = doors or {}
    made = tuple(Door(rect, *doors.get(i, ("open", None))) for i, rect in enumerate(plan.doorways))  # type: ignore[arg-type]
    # nothing may stand in front of a doorway
    taken: list[tuple[float, float]] = [p for rect in plan.doorways for p in _mouths(rect)]
    walls: list[Panel] = []
    for room, door in panels:
        panel = _wall_panel(
            rng, plan.rooms[room].rect, plan.doorways, walls, door, str(rng.choice(list(panel_textures)))
        )
        walls.append(panel)
        taken.append(panel.centre)
    rect = plan.rooms[start].rect
    narrow = min(rect.x1 - rect.x0, rect.y1 - rect.y0) < _NARROW
    spot = place(rng, rect, [], gap=0)
    if spot is None:
        raise ValueError("no place to start from")
    here = spot
    placed: list[Thing] = []
    for kind, colour, room in things:
        for _ in range(8):
            spot = place(rng, plan.rooms[room].rect, taken)
            if spot is not None and math.hypot(spot[0] - here[0], spot[1] - here[1]) >= START_GAP:
                break
        else:
            raise ValueError(f"no place for the {kind} in room {room}")
        placed.append(Thing(kind, colour, *spot))
        taken.append((float(spot[0]), float(spot[1])))
    facing = int(rng.integers(0, 360))
    if narrow:  # in a corridor one looks along it
        along = 0 if rect.x1 - rect.x0 > rect.y1 - rect.y0 else 90
        facing = (along + 180 * int(rng.integers(2)) + int(rng.integers(-30, 31))) % 360
    return Level(plan.rooms, (*here, facing), tuple(placed), made, panels=tuple(walls), seed=seed)


def _mouths(rect: Rect) -> list[tuple[float, float]]:
    x, y = rect.centre
    if rect.x1 - rect.x0 == WALL:
        return [(x - 48, y), (x + 48, y)]
    return [(x, y - 48), (x, y + 48)]


def _wall_panel(
    rng: np.random.Generator,
    rect: Rect,
    doorways: Sequence[Rect],
    others: Sequence[Panel],
    door: int | None,
    texture: str,
) -> Panel:
    """A panel on a wall of a room, clear of its doorways and of other panels."""
    for _ in range(40):
        side = int(rng.integers(4))
        along_x = side < 2
        low, high = (rect.x0, rect.x1) if along_x else (rect.y0, rect.y1)
        if high - low < PANEL_WIDTH + 64:
            continue
        at = int(rng.integers(low + 32, high - 32 - PANEL_WIDTH + 1))
        wall = (rect.y0, rect.y1, rect.x0, rect.x1)[side]
        ends = (at, wall, at + PANEL_WIDTH, wall) if along_x else (wall, at, wall, at + PANEL_WIDTH)
        panel = Panel(*ends, door=door, texture=texture)
        x, y = panel.centre
        near_door = any(d.contains(x, y, -(PANEL_WIDTH / 2 + 24)) for d in doorways)
        if not near_door and all(math.hypot(x - p.centre[0], y - p.centre[1]) > 128 for p in others):
            return panel
    raise ValueError("no wall has room for a panel")


def house(
    seed: int,
    *,
    layouts: Sequence[str],
    themes: Sequence[str],
    things: Sequence[tuple[str, str | None]] = (),
    doors: float = 0.3,
) -> Level:
    """Several rooms with `things` spread over them. `doors`: the share of doorways that have a door, which opens
    with use. Raises ValueError where the things don't fit."""
    for attempt in range(20):
        rng = np.random.default_rng([seed, attempt, 0x40E])
        plan = floor_plan(rng, layouts, themes)
        rooms = plan.furnished()
        spread = [(*t, rooms[rng.integers(len(rooms))]) for t in things]
        kinds = {i: ("door", None) for i in range(len(plan.doorways)) if rng.random() < doors}
        try:
            return furnish(plan, rng, start=rooms[rng.integers(len(rooms))], things=spread, doors=kinds, seed=seed)
        except ValueError:
            continue
    raise ValueError(f"no house holds {len(things)} things with these options")

"""The generator of playrooms: a seed in, a room out. It knows rooms and things, not tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from envs.playroom.room import MAX_THINGS, Furniture, Room, Surface, Theme, Thing
from envs.playroom.textures import Rgb
from envs.playroom.things import COLOURS, FURNITURE_KINDS, KINDS, SIZES

BODY_RADIUS = 0.2  # of the avatar, metres
ARM = 1.2  # metres: at most so far, along the floor, from where one can stand to a thing
_GAP = 0.12  # between things
_CELL = 0.1  # of the grid on which it is looked up where one can walk
_TRIES = 200

Item = tuple[str, str, str]  # kind, colour, size

_OAK = Surface("planks", (0.66, 0.47, 0.28), (0.42, 0.28, 0.15), 1.0)
_PINE = Surface("planks", (0.85, 0.70, 0.48), (0.62, 0.47, 0.28), 1.0)
_GREY = Surface("plain", (0.55, 0.56, 0.58), (0.4, 0.4, 0.4), 1.0)
_CREAM, _SKY, _SNOW = (0.93, 0.91, 0.86), (0.78, 0.85, 0.92), (0.96, 0.96, 0.97)


def _theme(
    name: str, wall: Surface, floor: Surface, furniture: Surface, cloth: Surface, ceiling: Rgb = _CREAM
) -> Theme:
    return Theme(name, wall, floor, ceiling, furniture, cloth)


_ALL = (
    _theme(
        "brick",
        Surface("bricks", (0.68, 0.40, 0.32), (0.82, 0.78, 0.72), 1.0),
        Surface("planks", (0.72, 0.58, 0.42), (0.50, 0.38, 0.26), 1.6),
        _OAK,
        Surface("checker", (0.55, 0.72, 0.72), (0.80, 0.88, 0.86), 0.6),
    ),
    _theme(
        "meadow",
        Surface("dots", (0.72, 0.84, 0.66), (0.90, 0.94, 0.84), 1.0),
        Surface("tiles", (0.80, 0.76, 0.68), (0.62, 0.58, 0.50), 1.0),
        _PINE,
        Surface("stripes", (0.86, 0.62, 0.55), (0.94, 0.86, 0.78), 0.5),
    ),
    _theme(
        "sea",
        Surface("waves", (0.60, 0.76, 0.86), (0.76, 0.87, 0.92), 1.2),
        Surface("planks", (0.82, 0.74, 0.60), (0.64, 0.55, 0.42), 1.6),
        _GREY,
        Surface("zigzag", (0.35, 0.45, 0.58), (0.70, 0.78, 0.84), 0.6),
        _SNOW,
    ),
    _theme(
        "parlour",
        Surface("stripes", (0.86, 0.80, 0.66), (0.78, 0.68, 0.54), 0.8),
        Surface("checker", (0.50, 0.42, 0.38), (0.64, 0.56, 0.50), 1.2),
        _OAK,
        Surface("dots", (0.52, 0.34, 0.40), (0.80, 0.68, 0.66), 0.5),
    ),
    _theme(
        "workshop",
        Surface("tiles", (0.74, 0.76, 0.78), (0.58, 0.60, 0.63), 0.8),
        Surface("plain", (0.52, 0.54, 0.55), (0.4, 0.4, 0.4), 1.0),
        _PINE,
        Surface("stripes", (0.30, 0.32, 0.36), (0.78, 0.70, 0.40), 0.7),
        _SNOW,
    ),
    _theme(
        "cabin",
        Surface("planks", (0.70, 0.54, 0.36), (0.48, 0.35, 0.22), 1.4),
        Surface("tiles", (0.58, 0.60, 0.56), (0.44, 0.46, 0.43), 0.9),
        _GREY,
        Surface("panels", (0.62, 0.66, 0.52), (0.84, 0.84, 0.72), 0.8),
    ),
    _theme(
        "candy",
        Surface("zigzag", (0.92, 0.78, 0.82), (0.84, 0.66, 0.74), 1.0),
        Surface("dots", (0.86, 0.84, 0.80), (0.72, 0.70, 0.68), 1.0),
        _PINE,
        Surface("waves", (0.58, 0.74, 0.66), (0.82, 0.90, 0.84), 0.6),
        _SNOW,
    ),
    _theme(
        "manor",
        Surface("panels", (0.50, 0.58, 0.52), (0.72, 0.76, 0.68), 1.2),
        Surface("checker", (0.86, 0.84, 0.80), (0.40, 0.40, 0.42), 1.4),
        _OAK,
        Surface("tiles", (0.66, 0.56, 0.40), (0.40, 0.32, 0.22), 0.5),
    ),
    _theme(
        "studio",
        Surface("checker", (0.66, 0.64, 0.74), (0.74, 0.72, 0.82), 1.6),
        Surface("waves", (0.60, 0.56, 0.52), (0.70, 0.66, 0.60), 1.2),
        _GREY,
        Surface("bricks", (0.44, 0.52, 0.66), (0.74, 0.80, 0.86), 0.6),
        _SKY,
    ),
)
THEMES: dict[str, Theme] = {theme.name: theme for theme in _ALL}
HELD_OUT_THEMES = ("candy", "manor", "studio")
TRAINING_THEMES = tuple(name for name in THEMES if name not in HELD_OUT_THEMES)

# width, depth, height in metres, and where it stands
_SIDES: dict[str, tuple[float, float, float]] = {
    "table": (1.2, 0.75, 0.5),
    "shelf": (1.3, 0.4, 0.95),
    "bin": (0.75, 0.75, 0.32),
    "bench": (1.3, 0.45, 0.36),
    "bed": (1.8, 0.95, 0.38),
    "rug": (1.5, 1.1, 0.05),
}
_AT_A_WALL = ("shelf", "bed", "bench")
_CARRIES = ("table", "bench", "bed")  # what things may lie on in the beginning


def generate(
    seed: int,
    *,
    things: Sequence[Sequence[str | None]] | None = None,
    themes: Sequence[str] = TRAINING_THEMES,
    n_things: tuple[int, int] = (7, 12),
    furniture: Sequence[str] = FURNITURE_KINDS,
    raised: float = 0.2,
) -> Room:
    """A room of random size, light and theme, with furniture and things in it, all of which can be reached.

    `things`: (kind, colour, size) that must be there, None for a random size, before random others fill up to
    `n_things` (least, most); no two things are alike in kind and colour. `furniture`: the kinds that stand in it.
    `raised`: the share of things that lie on table, bench or bed instead of the floor. Raises ValueError on unknown
    names and where the room can't hold it all.
    """
    for name, given, known in (("themes", themes, THEMES), ("furniture", furniture, FURNITURE_KINDS)):
        for item in given:
            if item not in known:
                raise ValueError(f"playroom: {name}: unknown {item!r}; known: {', '.join(known)}")
    if not themes or not 0 <= n_things[0] <= n_things[1] <= MAX_THINGS:
        raise ValueError(f"playroom: expected a theme, and n_things (least, most) up to {MAX_THINGS}, got {n_things}")
    rng = np.random.default_rng([seed, 0x900])
    for attempt in range(30):
        more = 0.1 * attempt  # a room that was too small for it all is tried larger
        width, depth = (round(float(rng.uniform(4.2, 6.2)) + more, 2) for _ in range(2))
        theme = THEMES[str(rng.choice(list(themes)))]
        items = _filled(rng, things or (), int(rng.integers(n_things[0], n_things[1] + 1)))
        pieces = _furnish(rng, width, depth, furniture)
        if pieces is None:
            continue
        walk = _Walk(width, depth, pieces)
        start = walk.random(rng, 1.0)
        placed = _place(rng, items, pieces, walk, start, raised)
        if placed is None:
            continue
        yaw = round(float(rng.uniform(0, 360)), 1)
        light = round(float(rng.uniform(0.75, 1.0)), 2)
        height = round(float(rng.uniform(2.4, 3.0)), 2)
        return Room(width, depth, height, theme, (*start, yaw), pieces, placed, light, seed)
    raise ValueError(f"playroom: no room holds {len(things or ())} things with these options")


def _filled(rng: np.random.Generator, wanted: Sequence[Sequence[str | None]], count: int) -> list[Item]:
    """What is wanted, and others up to `count`, no two of the same kind and colour unless that is wanted."""
    items: list[Item] = []
    for want in wanted:
        kind, colour, size = (*want, None)[:3] if len(want) == 2 else want
        for name, value, known in (("kind", kind, KINDS), ("colour", colour, COLOURS)):
            if value not in known:
                raise ValueError(f"playroom: things: unknown {name} {value!r}; known: {', '.join(known)}")
        if size is not None and size not in SIZES:
            raise ValueError(f"playroom: things: unknown size {size!r}; known: {', '.join(SIZES)}")
        items.append((str(kind), str(colour), size or str(rng.choice(list(SIZES)))))
    taken = {item[:2] for item in items}
    others = [(kind, colour) for kind in KINDS for colour in COLOURS if (kind, colour) not in taken]
    picks = rng.permutation(len(others))[: max(0, count - len(items))]
    sizes = list(SIZES)
    return items + [(*others[i], sizes[int(rng.integers(len(sizes)))]) for i in picks]


def _furnish(
    rng: np.random.Generator, width: float, depth: float, kinds: Sequence[str]
) -> tuple[Furniture, ...] | None:
    """Furniture that leaves ways to walk between its pieces; None where it does not fit."""
    pieces: list[Furniture] = []
    for kind in dict.fromkeys(kinds):
        for _ in range(_TRIES):
            wide, deep, high = _SIDES[kind]
            wide, deep = (round(side * float(rng.uniform(0.9, 1.15)), 2) for side in (wide, deep))
            turn = int(rng.integers(4))
            piece = Furniture(kind, 0.0, 0.0, turn, wide, deep, high)
            half_x, half_y = piece.half
            if kind in _AT_A_WALL:  # its back (plus y before it is turned) is at the wall
                x, y = ((0, 1), (-1, 0), (0, -1), (1, 0))[turn]
                free_x, free_y = width / 2 - half_x - 0.02, depth / 2 - half_y - 0.02
                spot = (
                    x * free_x if x else float(rng.uniform(-free_x, free_x)),
                    y * free_y if y else float(rng.uniform(-free_y, free_y)),
                )
            else:
                margin = 0.1 if kind == "rug" else 0.75
                free_x, free_y = width / 2 - half_x - margin, depth / 2 - half_y - margin
                if min(free_x, free_y) <= 0:
                    continue
                spot = float(rng.uniform(-free_x, free_x)), float(rng.uniform(-free_y, free_y))
            piece = Furniture(kind, round(spot[0], 2), round(spot[1], 2), turn, wide, deep, high)
            if all(_apart(piece, other, 0.05 if "rug" in (kind, other.kind) else 0.7) for other in pieces):
                pieces.append(piece)
                break
        else:
            return None
    return tuple(pieces)


def _apart(a: Furniture, b: Furniture, gap: float) -> bool:
    (ax, ay), (bx, by) = a.half, b.half
    return abs(a.x - b.x) >= ax + bx + gap or abs(a.y - b.y) >= ay + by + gap


class _Walk:
    """Where one can stand, on a grid: the largest connected part of the floor."""

    def __init__(self, width: float, depth: float, pieces: Sequence[Furniture]) -> None:
        margin = BODY_RADIUS + 0.08
        xs = np.arange(-width / 2 + margin, width / 2 - margin, _CELL)
        ys = np.arange(-depth / 2 + margin, depth / 2 - margin, _CELL)
        self.x, self.y = (axis.ravel() for axis in np.meshgrid(xs, ys, indexing="ij"))
        free = np.ones(self.x.shape, bool)
        for piece in pieces:
            if piece.kind != "rug":
                free &= ~_over(piece, self.x, self.y, margin)
        parts, count = ndimage.label(free.reshape(len(xs), len(ys)))
        sizes = ndimage.sum_labels(np.ones_like(parts), parts, range(1, count + 1))
        self.free: npt.NDArray[np.bool_] = (parts == 1 + int(np.argmax(sizes))).ravel()
        self.width, self.depth, self.pieces = width, depth, pieces

    def random(self, rng: np.random.Generator, margin: float) -> tuple[float, float]:
        """A place to stand, at least `margin` from walls and furniture where there is one."""
        clear = self.free & (abs(self.x) < self.width / 2 - margin) & (abs(self.y) < self.depth / 2 - margin)
        cells = np.flatnonzero(clear if clear.any() else self.free)
        cell = cells[int(rng.integers(len(cells)))]
        return round(float(self.x[cell]), 2), round(float(self.y[cell]), 2)

    def reaches(self, x: float, y: float, arm: float = ARM) -> bool:
        """Whether one can stand within an arm's length of (x, y)."""
        return bool((np.hypot(self.x - x, self.y - y)[self.free] < arm - BODY_RADIUS).any())


def _over(
    piece: Furniture, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], margin: float
) -> npt.NDArray[np.bool_]:
    half_x, half_y = piece.half
    return (abs(x - piece.x) < half_x + margin) & (abs(y - piece.y) < half_y + margin)


def _place(
    rng: np.random.Generator,
    items: Sequence[Item],
    pieces: Sequence[Furniture],
    walk: _Walk,
    start: tuple[float, float],
    raised: float,
) -> tuple[Thing, ...] | None:
    """The items at places where nothing overlaps and each can be reached; None where there are none."""
    carriers = [piece for piece in pieces if piece.kind in _CARRIES]
    solid = [piece for piece in pieces if piece.kind != "rug"]
    placed: list[Thing] = []
    for kind, colour, size in items:
        lifted = bool(carriers) and rng.random() < raised
        for attempt in range(_TRIES):
            yaw = round(float(rng.uniform(0, 360)), 1)
            piece = carriers[int(rng.integers(len(carriers)))] if lifted and attempt < _TRIES // 2 else None
            if piece is None:
                x, y = (float(rng.uniform(-0.5, 0.5)) * side for side in (walk.width, walk.depth))
                thing = Thing(kind, colour, size, round(x, 3), round(y, 3), 0.0, yaw)
                edge = thing.radius + 0.06
                fits = abs(x) < walk.width / 2 - edge and abs(y) < walk.depth / 2 - edge
                fits = fits and not any(p.covers(x, y, edge + 0.1) for p in solid)
                fits = fits and math.hypot(x - start[0], y - start[1]) > thing.radius + BODY_RADIUS + 0.35
            else:
                half_x, half_y = piece.half
                x, y = piece.x + float(rng.uniform(-1, 1)) * half_x, piece.y + float(rng.uniform(-1, 1)) * half_y
                thing = Thing(kind, colour, size, round(x, 3), round(y, 3), piece.height, yaw)
                fits = piece.covers(x, y, -thing.radius - 0.02)
            others = (math.hypot(t.x - x, t.y - y) > t.radius + thing.radius + _GAP for t in placed)
            if fits and all(others) and walk.reaches(thing.x, thing.y):
                placed.append(thing)
                break
        else:
            return None
    return tuple(placed)

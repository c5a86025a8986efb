"""`Level`: what stands where in a Minetest episode, as JSON, and a generator that makes one from a seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from envs.errors import UserError
from envs.minetest.things import COLOURS, FRONTS, KINDS, MOD, THEMES, TRAINING_THEMES, footprint, nodes_of, watched

WIDEST = 14  # the largest half of an arena: it lies in as few map blocks as can be
NATURAL_HALF = 16

# Where the natural terrain (MAP_SEED) is gentle land: east, up and north of the middle of each place. The last half is
# for evaluation.
MAP_SEED = 7
SITES: tuple[tuple[int, int, int], ...] = (
    (-1752, 15, 488), (-152, 16, 8), (1288, 9, 1688), (1448, 6, -72),
    (2328, 21, -2312), (-1912, 7, -1512), (-232, 12, 168), (1368, 19, 1688),
    (-552, 10, 408), (2088, 15, 1128), (-2392, 11, -472), (-312, 9, 88),
    (-1992, 13, 1688), (-2072, 14, -1992), (2008, 19, -2312), (-232, 12, 1768),
    (1128, 5, 248), (-872, 9, 2248), (1768, 12, -1352), (-1352, 5, 488),
    (-2312, 7, -1592), (-1912, 5, 1848), (-1192, 18, -2072), (2248, 8, 328),
)  # fmt: skip

Wanted = tuple[str, str]  # kind, colour


@dataclass(frozen=True)
class Thing:
    """`kind` and `colour`; `x` east and `z` north of the level's middle, nodes; `turn`: where its front looks, 0 to 3:
    north, east, south, west."""

    kind: str
    colour: str
    x: int
    z: int
    turn: int = 0

    @property
    def half(self) -> tuple[float, float]:
        """Half of its width (east) and of its depth (north), nodes."""
        return footprint(self.kind, self.turn)

    @property
    def height(self) -> float:
        return KINDS[self.kind].height

    @property
    def opening(self) -> tuple[int, int, int] | None:
        """Its door or lid from the level's middle: east, up from its foot, north; None where it has none."""
        at = watched(self.kind, self.turn)
        return None if at is None else (self.x + at[0], at[1], self.z + at[2])

    @property
    def threshold(self) -> tuple[float, float]:
        """The place before its front, where one can stand to open it: east, north."""
        x, z = FRONTS[self.turn]
        reach = self.half[0] * abs(x) + self.half[1] * abs(z) + 1.0
        return self.x + x * reach, self.z + z * reach


@dataclass(frozen=True)
class Level:
    """An arena, or a place in natural terrain, and what stands there.

    `half`: nodes from its middle to each side. `theme`: floor and walls of an arena. `start`: where the player begins:
    x, z and the yaw in degrees (0 north, 90 west). `site`: number of the natural place, None for an arena. `items`:
    (kind, colour, count) in the player's hands.
    """

    half: int
    theme: str
    things: tuple[Thing, ...]
    start: tuple[float, float, float]
    site: int | None = None
    items: tuple[tuple[str, str, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Level:
        """Raises UserError that says what is wrong."""
        try:
            level = cls(
                int(data["half"]), str(data["theme"]), tuple(Thing(**thing) for thing in data["things"]),
                (float(data["start"][0]), float(data["start"][1]), float(data["start"][2])),
                data.get("site"), tuple((str(k), str(c), int(n)) for k, c, n in data.get("items", ())),
            )  # fmt: skip
            level._check()
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UserError(f"minetest: level: {type(error).__name__}: {error}") from error
        return level

    def _check(self) -> None:
        most = WIDEST if self.site is None else NATURAL_HALF
        if not 4 <= self.half <= most:
            raise ValueError(f"half: expected 4 to {most}, got {self.half}")
        if self.theme not in THEMES:
            raise ValueError(f"theme: expected one of {', '.join(THEMES)}, got {self.theme!r}")
        if self.site is not None and not 0 <= self.site < len(SITES):
            raise ValueError(f"site: expected 0 to {len(SITES) - 1}, got {self.site}")
        for kind, colour in [(t.kind, t.colour) for t in self.things] + [(k, c) for k, c, _ in self.items]:
            if kind not in KINDS or colour not in COLOURS:
                raise ValueError(f"unknown thing: {colour} {kind}")
        inside = [(t.x, t.z, *t.half, t.turn) for t in self.things] + [(*self.start[:2], 0.0, 0.0, 0)]
        for x, z, wide, deep, turn in inside:
            if not (abs(x) + wide <= self.half + 0.5 and abs(z) + deep <= self.half + 0.5 and turn in range(4)):
                raise ValueError(f"({x}, {z}), turn {turn}: expected a place in an area of half {self.half}")

    def command(self) -> dict[str, Any]:
        """What the mod is told to build."""
        things = []
        for thing in self.things:
            nodes = [list(node) for node in nodes_of(thing.kind, thing.colour, thing.turn)]
            room = math.ceil(max(KINDS[thing.kind].half)) + (1 if thing.opening else 0)
            things.append({"x": thing.x, "z": thing.z, "nodes": nodes, "room": room})
            if (at := watched(thing.kind, thing.turn)) is not None:
                things[-1]["watched"] = list(at)
        return {
            "kind": "level", "half": self.half, "floor": f"{MOD}:floor_{self.theme}",
            "wall": f"{MOD}:wall_of_{self.theme}", "things": things, "start": list(self.start),
            "items": [f"{MOD}:{kind}_{colour} {count}" for kind, colour, count in self.items], "time": 0.5,
            "natural": self.site is not None, "site": None if self.site is None else list(SITES[self.site]),
        }  # fmt: skip


def generate(
    seed: int,
    *,
    things: Sequence[Wanted] = (),
    n_things: tuple[int, int] = (4, 7),
    themes: Sequence[str] = TRAINING_THEMES,
    half: tuple[int, int] = (7, 11),
    natural: bool = False,
    sites: Sequence[int] | None = None,
    items: Sequence[tuple[str, str, int]] = (),
) -> Level:
    """A level with at least `things`, and others up to a number drawn from `n_things`; the same for the same seed.

    No two of the others are alike in kind and colour, or like one of `things`. Between any two there is room to walk.
    `half`: least and most. `natural`: in natural terrain, at one of `sites`. Raises ValueError where it does not fit.
    """
    rng = np.random.default_rng(seed)
    theme = str(rng.choice(list(themes)))
    site = int(rng.choice(list(sites if sites is not None else range(len(SITES))))) if natural else None
    least = max(n_things[0], len(things))
    count = int(rng.integers(least, max(least, n_things[1]) + 1))
    # a house would fill half of an arena
    others = [
        (kind, colour) for kind in KINDS for colour in COLOURS if kind != "house" and (kind, colour) not in things
    ]
    rng.shuffle(others)
    wanted = [*things, *others[: count - len(things)]]
    size = NATURAL_HALF if natural else int(rng.integers(half[0], half[1] + 1))
    if any(kind == "house" for kind, _ in wanted):
        size = max(size, 9)
    for larger in range(4):
        level = _placed(rng, wanted, size if natural else min(size + larger, WIDEST), theme, site, tuple(items))
        if level is not None:
            return level
    raise ValueError(f"no room for {len(wanted)} things in an arena of half {size}")


def _placed(
    rng: np.random.Generator, wanted: Sequence[Wanted], half: int, theme: str, site: int | None,
    items: tuple[tuple[str, str, int], ...],
) -> Level | None:  # fmt: skip
    placed: list[Thing] = []
    span = half if site is None else half - 5  # the rim is left to who walks around
    for kind, colour in sorted(wanted, key=lambda w: -max(KINDS[w[0]].half)):  # large ones first, while there is room
        for _ in range(60):
            turn = int(rng.integers(4))
            wide, deep = footprint(kind, turn)
            # between a thing and the wall one can walk as well
            reach = int(span - 1.5 - wide), int(span - 1.5 - deep)
            east, north = (int(rng.integers(-r, r + 1)) for r in reach)
            thing = Thing(kind, colour, east, north, turn)
            if all(_apart(thing, other) for other in placed) and _front_free(thing, placed, span):
                placed.append(thing)
                break
        else:
            return None
    order = [next(t for t in placed if (t.kind, t.colour) == pair) for pair in dict.fromkeys(wanted)]
    things = (*order, *(t for t in placed if t not in order))
    for _ in range(60):
        # on a slope the middle of a node is a place where one stands on that node alone
        x, z = rng.uniform(-span + 1, span - 1, 2).round(2 if site is None else 0).tolist()
        if all(abs(x - t.x) > t.half[0] + 1.2 or abs(z - t.z) > t.half[1] + 1.2 for t in things):
            return Level(half, theme, things, (x, z, float(rng.integers(360))), site, items)
    return None


def _apart(a: Thing, b: Thing) -> bool:
    """Whether two nodes are left between two things, and what is before a front stays free."""
    gap = 2.0 + (a.kind == "house" or b.kind == "house")
    return abs(a.x - b.x) >= a.half[0] + b.half[0] + gap or abs(a.z - b.z) >= a.half[1] + b.half[1] + gap


def _front_free(thing: Thing, placed: Sequence[Thing], span: int) -> bool:
    """Whether one can stand before what it opens."""
    x, z = thing.threshold
    return thing.opening is None or max(abs(x), abs(z)) <= span - 1

"""Level generators: a seed in, a level out. They know rooms and things, not tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from envs.doom.level import Level, Panel, Rect, Room, Theme, Thing
from envs.doom.things import ACTORS, KINDS

THEMES: dict[str, Theme] = {
    theme.name: theme
    for theme in (
        Theme("base", "STARTAN3", "FLOOR4_8", "CEIL3_5"),
        Theme("brick", "BRICK7", "FLOOR5_1", "CEIL5_1"),
        Theme("stone", "STONE2", "FLAT1", "FLAT19"),
        Theme("wood", "WOOD1", "FLAT5_4", "CEIL1_1"),
        Theme("tan", "BIGBRIK1", "MFLR8_1", "FLAT10"),
        Theme("gray", "GRAY1", "FLOOR7_1", "CEIL5_1"),
        Theme("metal", "SLADWALL", "FLAT20", "FLAT3"),
        Theme("panel", "PANEL7", "FLAT8", "CEIL3_5"),
        Theme("steel", "SHAWN2", "FLOOR0_1", "FLAT20"),
        Theme("earth", "TANROCK7", "RROCK16", "RROCK13"),
        # never in training
        Theme("marble", "MARBLE1", "FLOOR1_1", "FLAT5_5"),
        Theme("white", "ICKWALL1", "FLAT19", "MFLR8_1"),
        Theme("rust", "METAL2", "FLOOR6_2", "SLIME13"),
        # the vault's own
        Theme("vault-stone", "STONE6", "RROCK09", "DEM1_5"),
        Theme("vault-tech", "TEKWALL4", "FLOOR3_3", "FLAT10"),
        Theme("vault-brown", "BROWN96", "SLIME15", "RROCK20"),
    )
}
TRAINING_THEMES = tuple(THEMES)[:10]
HELD_OUT_THEMES = tuple(THEMES)[10:13]
VAULT_THEMES = tuple(THEMES)[13:]

PANEL_TEXTURES = ("SW1BRCOM", "SW1BRN1", "SW1STON1")
PANEL_WIDTH = 64
_WALL_MARGIN = 48
_THING_GAP = 96
_START_GAP = 112


def segment_hits(rect: Rect, ax: float, ay: float, bx: float, by: float, margin: float = 0.0) -> bool:
    """Whether the segment from a to b passes through the rectangle, grown by `margin`."""
    t0, t1 = 0.0, 1.0
    for start, delta, low, high in (
        (ax, bx - ax, rect.x0 - margin, rect.x1 + margin),
        (ay, by - ay, rect.y0 - margin, rect.y1 + margin),
    ):
        if abs(delta) < 1e-9:
            if not low <= start <= high:
                return False
            continue
        near, far = (low - start) / delta, (high - start) / delta
        t0, t1 = max(t0, min(near, far)), min(t1, max(near, far))
    return t0 <= t1


def place(
    rng: np.random.Generator,
    rect: Rect,
    taken: Sequence[tuple[float, float]],
    pillars: Sequence[Rect] = (),
    gap: float = _THING_GAP,
    margin: float = _WALL_MARGIN,
) -> tuple[int, int] | None:
    """A free place in a room: `gap` away from what is taken, `margin` from walls and pillars; None if none is found."""
    for _ in range(60):
        x = int(rng.integers(rect.x0 + margin, rect.x1 - margin + 1))
        y = int(rng.integers(rect.y0 + margin, rect.y1 - margin + 1))
        if any(p.contains(x, y, -margin) for p in pillars):
            continue
        if all(math.hypot(x - a, y - b) >= gap for a, b in taken):
            return x, y
    return None


def wall_panels(rng: np.random.Generator, rect: Rect, count: int, door: int | None = None) -> list[Panel]:
    """Up to four panels, each on a wall of its own; the walls must be free of doors."""
    panels = []
    for side in rng.permutation(4)[:count]:
        texture = str(rng.choice(PANEL_TEXTURES))
        along_x = side < 2
        low, high = (rect.x0, rect.x1) if along_x else (rect.y0, rect.y1)
        at = int(rng.integers(low + 64, high - 64 - PANEL_WIDTH + 1))
        wall = (rect.y0, rect.y1, rect.x0, rect.x1)[side]
        ends = (at, wall, at + PANEL_WIDTH, wall) if along_x else (wall, at, wall, at + PANEL_WIDTH)
        panels.append(Panel(*ends, door=door, texture=texture))
    return panels


def generate(
    seed: int,
    *,
    things: Sequence[tuple[str, str | None]] | None = None,
    themes: Sequence[str] = TRAINING_THEMES,
    n_things: tuple[int, int] = (4, 7),
    pillars: int = 2,
    panels: int = 0,
) -> Level:
    """A single room of random size, height, light and theme, with things in it.

    `things`: (kind, colour) pairs that must be there, before random others fill up to `n_things`; no two things of a
    filled room are alike. `pillars`: the most solid pillars. `panels`: switches on the walls
    that count as pressed and open nothing. Raises ValueError where the things don't fit.
    """
    for name in themes:
        if name not in THEMES:
            raise ValueError(f"unknown theme {name!r}; known: {', '.join(THEMES)}")
    rng = np.random.default_rng([seed, 0xD00])
    for _ in range(50):
        width, depth = (int(16 * rng.integers(24, 45)) for _ in range(2))
        room = Room(
            Rect(0, 0, width, depth),
            THEMES[str(rng.choice(list(themes)))],
            ceiling=int(rng.choice([112, 128, 144, 176])),
            light=int(rng.integers(170, 256)),
            name="room",
        )
        blocks: list[Rect] = []
        for _ in range(int(rng.integers(0, pillars + 1))):
            size = int(rng.choice([32, 48]))
            spot = place(rng, room.rect, [b.centre for b in blocks], gap=200, margin=110)
            if spot is not None:
                blocks.append(Rect(spot[0], spot[1], spot[0] + size, spot[1] + size))
        walls = wall_panels(rng, room.rect, panels)
        start = place(rng, room.rect, [], blocks)
        if start is None:
            continue
        wanted = list(things or [])
        others = [key for key in ACTORS if key not in wanted]
        count = max(len(wanted), int(rng.integers(n_things[0], n_things[1] + 1)))
        picks = rng.permutation(len(others))[: count - len(wanted)]
        wanted += [others[i] for i in picks]
        placed: list[Thing] = []
        for kind, colour in wanted:
            taken = [(float(t.x), float(t.y)) for t in placed] + [p.centre for p in walls]
            spot = place(rng, room.rect, taken, blocks)
            if spot is None or math.hypot(spot[0] - start[0], spot[1] - start[1]) < _START_GAP:
                break
            if any(segment_hits(b, *start, *spot, margin=24) for b in blocks):
                break
            placed.append(Thing(kind, colour, *spot))
        if len(placed) == len(wanted):
            facing = int(rng.integers(0, 360))
            return Level(
                (room,), (*start, facing), tuple(placed), pillars=tuple(blocks), panels=tuple(walls), seed=seed
            )
    raise ValueError(f"no room holds {len(things or [])} things with these options")


def solid(kind: str) -> bool:
    """Whether a thing of this kind blocks the way."""
    return KINDS[kind].role != "pickup"

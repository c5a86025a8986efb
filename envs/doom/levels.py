"""Level generators: a seed in, a level out. They know rooms and things, not tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from envs.doom.layouts import house
from envs.doom.level import Level, Rect, Room, Thing
from envs.doom.placement import (
    HELD_OUT_THEMES,
    PANEL_TEXTURES,
    START_GAP,
    THEMES,
    TRAINING_THEMES,
    VAULT_THEMES,
    place,
    segment_hits,
    themes_of,
    wall_panels,
)
from envs.doom.things import ACTORS

__all__ = [
    "HELD_OUT_THEMES", "PANEL_TEXTURES", "THEMES", "TRAINING_THEMES", "VAULT_THEMES", "generate", "place",
    "segment_hits", "wall_panels",
]  # fmt: skip


def generate(
    seed: int,
    *,
    things: Sequence[tuple[str, str | None]] | None = None,
    themes: Sequence[str] = TRAINING_THEMES,
    n_things: tuple[int, int] = (4, 7),
    pillars: int = 2,
    panels: int = 0,
    layouts: Sequence[str] = (),
    doors: float = 0.3,
) -> Level:
    """A single room of random size, height, light and theme, with things in it; with `layouts`, several rooms.

    `things`: (kind, colour) pairs that must be there, before random others fill up to `n_things`; no two things of a
    filled room are alike. `pillars`: the most solid pillars. `panels`: switches on the walls
    that count as pressed and open nothing. `layouts`: names of envs.doom.layouts.LAYOUTS; such a level has no
    pillars and no panels. `doors`: the share of its doorways that have a door, which opens with use. Raises
    ValueError where the things don't fit.
    """
    themes_of(themes)
    rng = np.random.default_rng([seed, 0xD00])
    if layouts:
        count = int(rng.integers(n_things[0], n_things[1] + 1))
        filled = _filled(rng, list(things or []), count)
        return house(seed, layouts=layouts, themes=themes, things=filled, doors=doors)
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
        wanted = _filled(rng, list(things or []), int(rng.integers(n_things[0], n_things[1] + 1)))
        placed: list[Thing] = []
        for kind, colour in wanted:
            taken = [(float(t.x), float(t.y)) for t in placed] + [p.centre for p in walls]
            spot = place(rng, room.rect, taken, blocks)
            if spot is None or math.hypot(spot[0] - start[0], spot[1] - start[1]) < START_GAP:
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


def _filled(rng: np.random.Generator, wanted: list[tuple[str, str | None]], count: int) -> list[tuple[str, str | None]]:
    """What is wanted, and others, no two alike, up to `count`."""
    others = [key for key in ACTORS if key not in wanted]
    picks = rng.permutation(len(others))[: max(0, count - len(wanted))]
    return wanted + [others[i] for i in picks]

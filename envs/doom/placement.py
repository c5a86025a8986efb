"""Textures, and free places for things and panels: what the level generators share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from envs.doom.level import Panel, Rect, Theme

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


def themes_of(names: Sequence[str]) -> list[Theme]:
    """Themes by name. Raises ValueError for an unknown one."""
    for name in names:
        if name not in THEMES:
            raise ValueError(f"unknown theme {name!r}; known: {', '.join(THEMES)}")
    return [THEMES[name] for name in names]


PANEL_TEXTURES = ("SW1BRCOM", "SW1BRN1", "SW1STON1")
VAULT_PANEL_TEXTURES = ("SW1GRAY", "SW1METAL")
PANEL_WIDTH = 64
_WALL_MARGIN = 48
_THING_GAP = 96
START_GAP = 112


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
    margin: int = _WALL_MARGIN,
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

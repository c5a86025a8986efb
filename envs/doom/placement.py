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
        Theme("clay", "BRICK1", "FLOOR0_3", "CEIL5_2"),
        Theme("cellar", "BRICK11", "RROCK03", "FLAT5_1"),
        Theme("moss", "BROWNGRN", "FLAT5_7", "FLOOR6_1"),
        Theme("block", "BSTONE1", "FLAT5_8", "RROCK10"),
        Theme("cement", "CEMENT1", "FLAT3", "FLOOR0_2"),
        Theme("slate", "GRAY4", "FLAT4", "CEIL3_3"),
        Theme("green", "GSTONE1", "DEM1_1", "FLOOR7_2"),
        Theme("library", "PANEL1", "FLOOR0_7", "FLAT2"),
        Theme("pipes", "PIPE2", "FLAT1_2", "CEIL5_3"),
        Theme("rock", "ROCK3", "RROCK02", "MFLR8_3"),
        Theme("canyon", "ROCKRED1", "RROCK02", "CEIL5_2"),
        Theme("silver", "SILVER1", "FLAT23", "FLAT22"),
        Theme("flag", "STONE5", "FLOOR5_3", "FLAT5_3"),
        Theme("stucco", "STUCCO", "CEIL4_1", "FLOOR0_6"),
        Theme("desert", "TANROCK2", "MFLR8_4", "RROCK18"),
        Theme("circuit", "TEKGREN2", "FLOOR3_3", "CEIL1_2"),
        Theme("cabin", "WOOD6", "FLAT5_2", "CEIL1_3"),
        Theme("tower", "ZIMMER3", "GRASS1", "RROCK14"),
        Theme("ash", "ASHWALL2", "RROCK11", "FLAT10"),
        Theme("lounge", "COMPBLUE", "FLOOR0_1", "FLAT3"),
        Theme("hangar", "STARG3", "FLOOR0_5", "FLOOR4_6"),
        Theme("vent", "MODWALL1", "SLIME14", "FLOOR1_7"),
        Theme("cave", "TANROCK5", "GRNROCK", "RROCK20"),
        Theme("office", "SPACEW4", "FLOOR4_1", "TLITE6_1"),
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
HELD_OUT_THEMES = ("marble", "white", "rust")
VAULT_THEMES = ("vault-stone", "vault-tech", "vault-brown")
TRAINING_THEMES = tuple(name for name in THEMES if name not in HELD_OUT_THEMES + VAULT_THEMES)


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

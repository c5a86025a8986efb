"""`draw_map`: a level from above, for reports."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from envs.doom.level import Level

_COLOURS = {
    None: (150, 150, 150),
    "red": (220, 50, 47),
    "green": (60, 160, 60),
    "blue": (50, 90, 220),
    "yellow": (225, 180, 0),
}
_DOORS = {"open": (250, 248, 240), "door": (150, 105, 60), "remote": (70, 70, 80)}
_FLOOR, _WALL, _PANEL, _PLAYER = (250, 248, 240), (40, 40, 46), (200, 90, 200), (20, 20, 20)


def draw_map(level: Level, size: int = 480, path: Sequence[tuple[float, float]] = ()) -> Image.Image:
    """An RGB picture whose longer side has `size` pixels; north is up.

    Things carry their name; locked doors show their colour; the arrow is the start. `path`: points (x, y) in map
    units that are joined by a line, for example where the player walked.
    """
    areas = [*(r.rect for r in level.rooms), *(d.rect for d in level.doors)]
    x0, y0 = min(r.x0 for r in areas) - 24, min(r.y0 for r in areas) - 24
    x1, y1 = max(r.x1 for r in areas) + 24, max(r.y1 for r in areas) + 24
    scale = size / max(x1 - x0, y1 - y0)
    image = Image.new("RGB", (round((x1 - x0) * scale), round((y1 - y0) * scale)), _WALL)
    draw = ImageDraw.Draw(image)

    def at(x: float, y: float) -> tuple[float, float]:
        return (x - x0) * scale, (y1 - y) * scale

    for room in level.rooms:
        draw.rectangle([at(room.rect.x0, room.rect.y1), at(room.rect.x1, room.rect.y0)], fill=_FLOOR)
    for door in level.doors:
        colour = _COLOURS[door.colour] if door.kind == "locked" else _DOORS[door.kind]
        draw.rectangle([at(door.rect.x0, door.rect.y1), at(door.rect.x1, door.rect.y0)], fill=colour)
    for pillar in level.pillars:
        draw.rectangle([at(pillar.x0, pillar.y1), at(pillar.x1, pillar.y0)], fill=_WALL)
    for panel in level.panels:
        draw.line([at(panel.x0, panel.y0), at(panel.x1, panel.y1)], fill=_PANEL, width=5)
    if len(path) > 1:
        draw.line([at(x, y) for x, y in path], fill=_PLAYER, width=2)
    for thing in level.things:
        x, y = at(thing.x, thing.y)
        draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=_COLOURS[thing.colour], outline=_PLAYER)
        draw.text((x, y + 6), thing.kind, fill=_PLAYER, anchor="mt")
    x, y = level.start[0], level.start[1]
    angle = math.radians(level.start[2])
    tip, left, right = (
        at(x + r * math.cos(angle + turn), y + r * math.sin(angle + turn))
        for r, turn in ((30, 0), (18, 2.4), (18, -2.4))
    )
    draw.polygon([tip, left, right], fill=_PLAYER)
    return image

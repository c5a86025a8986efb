"""`randomised`: a level in other looks, so that who learns from many such levels goes by more than the wallpaper.

Textures are mixed freely, room by room, and so are light, tint, field of view, the weapon and the size of sprites. What
an instruction names stays recognisable: things keep their sprites and colours, locks show their colour, plain doors are
of wood and gates of metal. Nothing else of the level changes, so that what could be done before can be done after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from envs.doom.level import FOV, Level, Look, Room, Theme
from envs.doom.textures import CEILINGS, DOORS, FLOORS, GATES, LOCKS, SWITCHES, WALLS

MIXED = "mixed"  # the name of a theme of which every part is drawn
_KEPT = 0.15  # of the rooms keep their theme
_ALIKE = 0.35  # of the houses have the same textures in all rooms that keep none
_LIGHT = (160, 256)  # darker than that, things can't be told
_TINTED = 0.4  # of the rooms have a light of some colour
_PALEST = 0.72  # of a tint: how much of each of red, green and blue is left at least
_VIEWS = 0.5  # of the levels are seen in another field of view
_FOVS = (76.0, 106.0)  # degrees across
_ARMED = 0.5  # of the levels show the weapon
_SCALES = (0.85, 1.2)  # of sprites
_USUAL_DOORS = 0.2  # of the doors look as in levels without a look


def randomised(level: Level, seed: int) -> Level:
    """The level in looks that follow from the seed."""
    rng = np.random.default_rng([seed, 0x100C])
    one = _theme(rng) if rng.random() < _ALIKE else None
    return replace(
        level,
        rooms=tuple(_room(rng, room, one) for room in level.rooms),
        panels=tuple(replace(panel, texture=_one(rng, SWITCHES)) for panel in level.panels),
        look=Look(
            doors=tuple(_door(rng, door.kind, door.colour) for door in level.doors),
            tints=tuple(_tint(rng) for _ in level.rooms),
            scales=tuple(round(float(rng.uniform(*_SCALES)), 3) for _ in level.things),
            fov=round(float(rng.uniform(*_FOVS)), 1) if rng.random() < _VIEWS else FOV,
            weapon=bool(rng.random() < _ARMED),
        ),
    )


def _one(rng: np.random.Generator, names: Sequence[str]) -> str:
    return names[int(rng.integers(len(names)))]


def _theme(rng: np.random.Generator) -> Theme:
    return Theme(MIXED, _one(rng, WALLS), _one(rng, FLOORS), _one(rng, CEILINGS))


def _room(rng: np.random.Generator, room: Room, one: Theme | None) -> Room:
    usual = room.theme
    # some themes share a floor with one that is held out
    fits = usual.wall in WALLS and usual.floor in FLOORS and usual.ceiling in CEILINGS
    theme = usual if rng.random() < _KEPT and fits else one or _theme(rng)
    return replace(room, theme=theme, light=int(rng.integers(*_LIGHT)))


def _door(rng: np.random.Generator, kind: str, colour: str | None) -> str:
    """The texture of a door; the first of each kind is the usual one."""
    names = {"door": DOORS, "remote": GATES, "locked": LOCKS[colour or "red"]}.get(kind)
    if names is None:  # a doorway shows the wall that it leads through
        return "-"
    return names[0] if rng.random() < _USUAL_DOORS else _one(rng, names)


def _tint(rng: np.random.Generator) -> str:
    if rng.random() >= _TINTED:
        return "ffffff"
    return "".join(f"{int(255 * rng.uniform(_PALEST, 1.0)):02x}" for _ in range(3))

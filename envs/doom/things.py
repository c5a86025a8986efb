"""The things that stand in our Doom levels: 22 kinds, told apart by kind and colour, and their DECORATE actors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

COLOURS = ("red", "green", "blue", "yellow")
_TARGET_RANGE = {"red": (176, 191), "green": (112, 127), "blue": (192, 207), "yellow": (160, 167)}
_FIRST_NUMBER = 20000

Role = Literal["pickup", "solid", "monster"]


@dataclass(frozen=True)
class Kind:
    """A kind of thing.

    `role`: "pickup" is taken by walking over it, "solid" blocks the way, "monster" is passive and can be shot.
    `sprite`: sprite name and frames. `native`: the palette ranges that carry its colour; none for kinds of one
    colour. `radius`, in map units, is also what a shot has to hit.
    """

    name: str
    role: Role
    sprite: str
    native: tuple[tuple[int, int], ...] = ()
    radius: int = 20
    height: int = 56
    scale: float = 1.0

    @property
    def colours(self) -> tuple[str | None, ...]:
        return COLOURS if self.native else (None,)


_RED, _GREEN, _BLUE, _YELLOW = (176, 191), (112, 127), (192, 207), (160, 167)


def _pickup(name: str, sprite: str, native: tuple[tuple[int, int], ...] = (), scale: float = 1.0) -> Kind:
    return Kind(name, "pickup", sprite, native, radius=12, height=40, scale=scale)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _pickup("key", "YKEY A", (_YELLOW,), scale=2.0),
        _pickup("skull", "BSKU A", (_BLUE,), scale=2.2),
        _pickup("armor", "ARM2 A", (_BLUE, _GREEN, _RED), scale=1.6),
        _pickup("map", "PMAP A", (_RED, _GREEN, _BLUE), scale=1.5),
        _pickup("orb", "PINV A", (_GREEN, _RED), scale=1.4),
        _pickup("mask", "SOUL A", (_BLUE, _YELLOW), scale=1.4),
        _pickup("medikit", "MEDI A", scale=1.5),
        _pickup("backpack", "BPAK A", scale=1.4),
        _pickup("suit", "SUIT A", scale=1.1),
        Kind("torch", "solid", "TGRN ABCD", (_GREEN,), radius=16, height=68),
        Kind("column", "solid", "COL1 A", (_GREEN,), radius=16, height=52, scale=1.2),
        Kind("bush", "solid", "SMIT A", (_GREEN,), radius=16, height=40, scale=1.5),
        Kind("barrel", "solid", "BAR1 A", radius=12, height=42, scale=1.3),
        Kind("candelabra", "solid", "CBRA A", radius=16, height=60),
        Kind("eye", "solid", "CEYE ABCB", radius=16, height=54),
        Kind("pylon", "solid", "ELEC A", radius=16, height=128),
        Kind("stump", "solid", "TRE1 A", radius=16, height=56),
        Kind("lamp", "solid", "COLU A", radius=16, height=48, scale=1.2),
        Kind("demon", "monster", "SARG AB", ((16, 47),), radius=28),
        Kind("imp", "monster", "TROO AB"),
        Kind("zombie", "monster", "POSS AB"),
        Kind("cacodemon", "monster", "HEAD A", radius=28),
    )
}

# What an actor is called in the game, for every (kind, colour); the order gives the editor numbers.
ACTORS: dict[tuple[str, str | None], str] = {
    (kind.name, colour): f"Ludens_{kind.name}{'_' + colour if colour else ''}"
    for kind in KINDS.values()
    for colour in kind.colours
}
NUMBERS: dict[tuple[str, str | None], int] = {key: _FIRST_NUMBER + i for i, key in enumerate(ACTORS)}
# Segmentation classes: 0 is nothing, things follow in this order.
CLASSES: dict[tuple[str, str | None], int] = {key: 1 + i for i, key in enumerate(ACTORS)}
BY_ACTOR: dict[str, tuple[str, str | None]] = {name: key for key, name in ACTORS.items()}

# A marker out of sight that a pressed panel removes: how ground truth learns of the press.
MARKER = "Ludens_marker"
MARKER_NUMBER = _FIRST_NUMBER + 500
TOKEN = "Ludens_token"

MONSTER_HEALTH = 15
_LOCK_KEYS = {"red": "RedCard", "blue": "BlueCard", "yellow": "YellowCard"}


def _translation(kind: Kind, colour: str | None) -> str:
    if colour is None:
        return ""
    low, high = _TARGET_RANGE[colour]
    ranges = [f'"{a}:{b}={low}:{high}"' for a, b in kind.native if (a, b) != (low, high)]
    return f"  Translation {', '.join(ranges)}\n" if ranges else ""


def _frames(kind: Kind, ticks: int) -> str:
    sprite, frames = kind.sprite.split()
    if len(frames) == 1:
        return f"    Spawn: {sprite} A -1 bright\n    stop\n"
    return f"    Spawn: {sprite} {frames} {ticks} bright\n    loop\n"


def decorate() -> str:
    """The DECORATE lump that defines every actor."""
    out = [
        f"actor {TOKEN} : Inventory\n{{\n  Inventory.MaxAmount 999\n}}\n",
        f"actor {MARKER} {MARKER_NUMBER}\n{{\n  +NOBLOCKMAP\n  +NOGRAVITY\n"
        "  states { Spawn: TNT1 A -1\n stop }\n}\n",
    ]
    for (name, colour), actor in ACTORS.items():
        kind = KINDS[name]
        body = f"  Radius {kind.radius}\n  Height {kind.height}\n  Scale {kind.scale}\n{_translation(kind, colour)}"
        if kind.role == "pickup":
            gift = _LOCK_KEYS.get(colour or "") if name == "key" else None
            # a pick-up counts only if it gives something
            pickup = f'    Pickup: TNT1 A 0 A_GiveInventory("{TOKEN}")\n'
            pickup += f'    TNT1 A 0 A_GiveInventory("{gift}")\n    stop\n' if gift else "    stop\n"
            head, states = f"actor {actor} : CustomInventory", _frames(kind, 6) + pickup
        elif kind.role == "solid":
            head, states = f"actor {actor}", _frames(kind, 5)
            body += "  +SOLID\n"
        else:
            sprite = kind.sprite.split()[0]
            head = f"actor {actor}"
            body += f"  Health {MONSTER_HEALTH}\n  Mass 10000\n  PainChance 256\n  +SOLID\n  +SHOOTABLE\n  +NOBLOOD\n"
            states = _frames(kind, 10) + f"    Pain: {sprite} A 3\n    goto Spawn\n    Death: TNT1 A 1\n    stop\n"
        out.append(f"{head} {NUMBERS[name, colour]}\n{{\n{body}  states\n  {{\n{states}  }}\n}}\n")
    return "".join(out)

"""`Room`: a playroom as data, JSON both ways."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from envs.playroom.textures import PATTERNS, Rgb
from envs.playroom.things import COLOURS, FURNITURE_KINDS, KINDS, SIZES, Kind

MAX_THINGS = 40
MAX_SIDE = 20.0  # metres


@dataclass(frozen=True)
class Surface:
    """A pattern of envs.playroom.textures.PATTERNS in two colours, rgb in 0 to 1; it repeats every `metres`."""

    pattern: str
    ground: Rgb
    figure: Rgb
    metres: float = 1.0


@dataclass(frozen=True)
class Theme:
    """What a room is made of."""

    name: str
    wall: Surface
    floor: Surface
    ceiling: Rgb
    furniture: Surface
    cloth: Surface


@dataclass(frozen=True)
class Furniture:
    """A piece of furniture, at most one of each kind in a room. `x`, `y`: its centre, metres. `turn`: quarter turns,
    counter-clockwise. `width`, `depth`: its sides before it is turned. `height`: its top; a rug has next to none."""

    kind: str
    x: float
    y: float
    turn: int
    width: float
    depth: float
    height: float

    @property
    def half(self) -> tuple[float, float]:
        """Half of its extent along x and y, as it stands."""
        return (self.depth / 2, self.width / 2) if self.turn % 2 else (self.width / 2, self.depth / 2)

    def covers(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether (x, y) is over it, or at most `margin` beside it."""
        half_x, half_y = self.half
        return abs(x - self.x) <= half_x + margin and abs(y - self.y) <= half_y + margin


@dataclass(frozen=True)
class Thing:
    """A thing and where its base is, metres. `yaw`: degrees. `size`: "small" or "large"."""

    kind: str
    colour: str
    size: str
    x: float
    y: float
    z: float = 0.0
    yaw: float = 0.0

    @property
    def shape(self) -> Kind:
        return KINDS[self.kind]

    @property
    def scale(self) -> float:
        return SIZES[self.size]

    @property
    def radius(self) -> float:
        """How far it reaches from its axis, metres."""
        return self.shape.radius * self.scale

    @property
    def height(self) -> float:
        return self.shape.height * self.scale


@dataclass(frozen=True)
class Room:
    """A room around the origin: `width` along x, `depth` along y, metres.

    `start`: x, y in metres and yaw in degrees, 0 is along x, counter-clockwise. `light`: 0 to 1.
    """

    width: float
    depth: float
    height: float
    theme: Theme
    start: tuple[float, float, float]
    furniture: tuple[Furniture, ...] = ()
    things: tuple[Thing, ...] = ()
    light: float = 1.0
    seed: int = field(default=0, compare=False)

    def piece(self, kind: str) -> Furniture | None:
        """The furniture of that kind, or None where there is none."""
        return next((piece for piece in self.furniture if piece.kind == kind), None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Room:
        """The room that a JSON object describes. Raises ValueError where the object is not a room."""
        try:
            theme = data["theme"]
            room = cls(
                _number(data["width"], "width", 0.5, MAX_SIDE),
                _number(data["depth"], "depth", 0.5, MAX_SIDE),
                _number(data["height"], "height", 0.5, MAX_SIDE),
                theme=Theme(
                    str(theme["name"]),
                    _surface(theme["wall"]),
                    _surface(theme["floor"]),
                    _rgb(theme["ceiling"]),
                    _surface(theme["furniture"]),
                    _surface(theme["cloth"]),
                ),
                start=_start(data["start"]),
                furniture=tuple(_furniture(piece) for piece in data["furniture"]),
                things=tuple(_thing(thing) for thing in data["things"]),
                light=_number(data.get("light", 1.0), "light", 0.0, 1.0),
                seed=int(data.get("seed", 0)),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a room: {type(error).__name__}: {error}") from error
        kinds = [piece.kind for piece in room.furniture]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"room.furniture: expected at most one of each kind, got {', '.join(kinds)}")
        if len(room.things) > MAX_THINGS:
            raise ValueError(f"room.things: expected at most {MAX_THINGS}, got {len(room.things)}")
        return room


def _number(value: Any, name: str, low: float = -MAX_SIDE, high: float = MAX_SIDE) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"room: {name}: expected a number from {low:g} to {high:g}, got {value!r}")
    return float(value)


def _known(value: Any, name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"room: {name}: unknown {value!r}; known: {', '.join(known)}")
    return value


def _rgb(value: Any) -> Rgb:
    if not isinstance(value, Sequence) or len(value) != 3:
        raise ValueError(f"room: colour: expected three numbers, got {value!r}")
    red, green, blue = (_number(part, "colour", 0.0, 1.0) for part in value)
    return red, green, blue


def _surface(data: Mapping[str, Any]) -> Surface:
    pattern = _known(data["pattern"], "pattern", PATTERNS)
    metres = _number(data["metres"], "metres", 0.05)
    return Surface(pattern, _rgb(data["ground"]), _rgb(data["figure"]), metres)


def _start(value: Any) -> tuple[float, float, float]:
    if not isinstance(value, Sequence) or len(value) != 3:
        raise ValueError(f"room: start: expected x, y and yaw, got {value!r}")
    return _number(value[0], "start"), _number(value[1], "start"), _angle(value[2])


def _angle(value: Any) -> float:
    return math.fmod(_number(value, "yaw", -1e6, 1e6), 360.0)


def _furniture(data: Mapping[str, Any]) -> Furniture:
    turn = data["turn"]
    if turn not in (0, 1, 2, 3):
        raise ValueError(f"room: turn: expected 0 to 3, got {turn!r}")
    kind = _known(data["kind"], "furniture", FURNITURE_KINDS)
    return Furniture(
        kind,
        _number(data["x"], "x"),
        _number(data["y"], "y"),
        int(turn),
        _number(data["width"], "width", 0.3),
        _number(data["depth"], "depth", 0.3),
        _number(data["height"], "height", 0.05),
    )


def _thing(data: Mapping[str, Any]) -> Thing:
    return Thing(
        _known(data["kind"], "thing", KINDS),
        _known(data["colour"], "colour", COLOURS),
        _known(data["size"], "size", SIZES),
        _number(data["x"], "x"),
        _number(data["y"], "y"),
        _number(data.get("z", 0.0), "z", 0.0),
        _angle(data.get("yaw", 0.0)),
    )

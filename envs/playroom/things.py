"""The things of a playroom: kinds built of simple shapes, told apart by kind, colour and size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Shape = Literal["box", "sphere", "ellipsoid", "cylinder", "capsule", "mesh"]
Size = Literal["small", "large"]
Vector = tuple[float, float, float]

COLOURS: dict[str, Vector] = {
    "red": (0.83, 0.10, 0.10),
    "green": (0.12, 0.60, 0.16),
    "blue": (0.10, 0.25, 0.85),
    "yellow": (0.95, 0.80, 0.08),
    "purple": (0.55, 0.15, 0.70),
    "white": (0.95, 0.95, 0.95),
}
SIZES: dict[str, float] = {"small": 0.26, "large": 0.42}  # metres, along the longest side

_TINTS: dict[str, Vector] = {
    "dark": (0.12, 0.12, 0.14),
    "light": (0.93, 0.90, 0.82),
    "wood": (0.45, 0.28, 0.14),
    "orange": (0.98, 0.50, 0.05),
}


@dataclass(frozen=True)
class Part:
    """A shape of a kind, in units of the thing's size, z = 0 where it stands.

    `size`: as MuJoCo has it: half sides of a box, radius and half height of a cylinder or capsule, radius of a sphere,
    half axes of an ellipsoid; nothing for a mesh, whose name is `mesh`. `turn`: degrees about x, y, z. `tint`: "main"
    is the thing's colour. `shown`: whether it is drawn. `solid`: whether it has mass and touches. A part that
    is neither fills a gap in which the crosshair would miss the thing.
    """

    shape: Shape
    size: tuple[float, ...]
    at: Vector
    tint: str = "main"
    turn: Vector = (0.0, 0.0, 0.0)
    shown: bool = True
    solid: bool = True
    mesh: str = ""

    def rgb(self, colour: str) -> Vector:
        return COLOURS[colour] if self.tint == "main" else _TINTS[self.tint]


@dataclass(frozen=True)
class Kind:
    """A kind of thing. `radius` and `height` bound it, in units of its size, about the axis through its origin."""

    name: str
    parts: tuple[Part, ...]

    @cached_property
    def radius(self) -> float:
        return max(_bounds(part)[0] for part in self.parts)

    @cached_property
    def height(self) -> float:
        return max(_bounds(part)[1] for part in self.parts)


def _bounds(part: Part) -> tuple[float, float]:
    """How far a part reaches from the z axis, and its top."""
    x, y, z = part.at
    if part.shape == "mesh":
        points = np.array(MESHES[part.mesh][0]) + part.at
        return float(np.hypot(points[:, 0], points[:, 1]).max()), float(points[:, 2].max())
    if part.shape == "sphere":
        return math.hypot(x, y) + part.size[0], z + part.size[0]
    upright = not any(part.turn[:2])
    if part.shape in ("cylinder", "capsule"):
        radius, half = part.size
        half += radius if part.shape == "capsule" else 0.0
        if upright:
            return math.hypot(x, y) + radius, z + half
        extent = np.array([radius, radius, half])
    else:
        extent = np.array(part.size)
    extent = np.abs(rotation(part.turn)) @ extent
    return math.hypot(abs(x) + extent[0], abs(y) + extent[1]), z + float(extent[2])


def rotation(turn: Vector) -> npt.NDArray[np.float64]:
    """The matrix (3, 3) of turns about x, then y, then z, each about the turned axes, degrees: MuJoCo's euler xyz."""
    a, b, c = np.radians(turn)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turned: npt.NDArray[np.float64] = about_x @ about_y @ about_z
    return turned


Mesh = tuple[list[Vector], list[tuple[int, int, int]]]


def _cone(radius: float, height: float, sides: int = 16) -> Mesh:
    angles = [2 * math.pi * i / sides for i in range(sides)]
    return [*((radius * math.cos(a), radius * math.sin(a), 0.0) for a in angles), (0.0, 0.0, height)], []


def _star(outer: float, inner: float, half: float, lift: float) -> Mesh:
    """A five-pointed star that stands on two points: it lies in the x-z plane and is 2 * half thick."""
    outline = []
    for i in range(10):
        r, a = (inner if i % 2 else outer), math.pi / 2 + i * math.pi / 5
        outline.append((r * math.cos(a), r * math.sin(a) + lift))
    points: list[Vector] = [(x, y, z) for y in (-half, half) for x, z in outline]
    points += [(0.0, -half, lift), (0.0, half, lift)]
    faces = []
    for i in range(10):
        j = (i + 1) % 10
        faces += [(i, j, 20), (j + 10, i + 10, 21), (i, i + 10, j), (j, i + 10, j + 10)]
    return points, faces


# Vertices, and faces where the shape is not the convex hull of its vertices.
MESHES: dict[str, Mesh] = {
    "cone": _cone(0.42, 0.95),
    "leaves": _cone(0.38, 0.5),
    "nose": _cone(0.2, 0.3),
    "pyramid": ([(x, y, 0.0) for x in (-0.45, 0.45) for y in (-0.45, 0.45)] + [(0.0, 0.0, 0.8)], []),
    "star": _star(0.55, 0.23, 0.14, 0.445),
    "roof": ([(x, y, 0.0) for x in (-0.46, 0.46) for y in (-0.4, 0.4)] + [(-0.46, 0.0, 0.36), (0.46, 0.0, 0.36)], []),
    "sail": ([(x, y, 0.0) for x in (-0.3, 0.04) for y in (-0.02, 0.02)] + [(0.04, -0.02, 0.6), (0.04, 0.02, 0.6)], []),
}


def _box(size: Vector, at: Vector, tint: str = "main", **more: bool) -> Part:
    return Part("box", size, at, tint, **more)  # type: ignore[arg-type]


def _tube(radius: float, half: float, z: float, tint: str = "main", x: float = 0.0, y: float = 0.0) -> Part:
    return Part("cylinder", (radius, half), (x, y, z), tint)


def _round(radius: float, at: Vector, tint: str = "main", solid: bool = True) -> Part:
    return Part("sphere", (radius,), at, tint, solid=solid)


def _mesh(name: str, z: float = 0.0, tint: str = "main") -> Part:
    return Part("mesh", (), (0.0, 0.0, z), tint, solid=False, mesh=name)


def _hidden(part: Part) -> Part:
    """What a mesh touches with: simple shapes rest on each other better than hulls do."""
    return Part(part.shape, part.size, part.at, turn=part.turn, shown=False)


def _aim(part: Part) -> Part:
    return Part(part.shape, part.size, part.at, shown=False, solid=False)


def _ring() -> tuple[Part, ...]:
    count, radius, thick = 10, 0.38, 0.11
    half = radius * math.sin(math.pi / count)
    spots = [2 * math.pi * i / count for i in range(count)]
    hole = _aim(_tube(radius, 0.03, thick))
    return hole, *(
        Part(
            "capsule",
            (thick, half),
            (radius * math.cos(a), radius * math.sin(a), thick),
            turn=(90.0, math.degrees(a), 0.0),
        )
        for a in spots
    )


def _legs(x: float, y: float, half: float, thick: float, tint: str = "main") -> tuple[Part, ...]:
    return tuple(_box((thick, thick, half), (sx * x, sy * y, half), tint) for sx in (-1, 1) for sy in (-1, 1))


def _wheels(x: float, y: float, radius: float) -> tuple[Part, ...]:
    return tuple(
        Part("cylinder", (radius, 0.06), (sx * x, sy * y, radius), "dark", turn=(90.0, 0.0, 0.0))
        for sx in (-1, 1)
        for sy in (-1, 1)
    )


KINDS: dict[str, Kind] = {
    name: Kind(name, parts)
    for name, parts in {
        "cube": (_box((0.4, 0.4, 0.4), (0, 0, 0.4)),),
        "ball": (_round(0.45, (0, 0, 0.45)),),
        "cylinder": (_tube(0.32, 0.45, 0.45),),
        "plate": (_tube(0.3, 0.03, 0.03), _tube(0.5, 0.03, 0.09), _tube(0.34, 0.01, 0.125, "light")),
        "cup": (
            _tube(0.32, 0.38, 0.38),
            _tube(0.26, 0.01, 0.76, "dark"),
            Part("capsule", (0.05, 0.16), (0.5, 0, 0.4), solid=False),
            Part("capsule", (0.05, 0.09), (0.4, 0, 0.56), turn=(0.0, 90.0, 0.0), solid=False),
            Part("capsule", (0.05, 0.09), (0.4, 0, 0.24), turn=(0.0, 90.0, 0.0), solid=False),
        ),
        "bottle": (
            _tube(0.2, 0.29, 0.29),
            Part("ellipsoid", (0.2, 0.2, 0.14), (0, 0, 0.58), solid=False),
            _tube(0.08, 0.15, 0.73),
            _tube(0.1, 0.05, 0.93, "light"),
        ),
        "book": (
            _box((0.36, 0.48, 0.025), (0, 0, 0.025)),
            _box((0.33, 0.45, 0.06), (0.01, 0, 0.11), "light"),
            _box((0.36, 0.48, 0.025), (0, 0, 0.195)),
            _box((0.025, 0.48, 0.11), (-0.36, 0, 0.11), solid=False),
        ),
        "ring": _ring(),
        "cone": (
            _mesh("cone"),
            _hidden(_tube(0.38, 0.1, 0.1)),
            _hidden(_tube(0.24, 0.15, 0.35)),
            _hidden(_tube(0.08, 0.15, 0.65)),
        ),
        "pyramid": (
            _mesh("pyramid"),
            _hidden(_box((0.4, 0.4, 0.1), (0, 0, 0.1))),
            _hidden(_box((0.22, 0.22, 0.12), (0, 0, 0.32))),
        ),
        "star": (
            _mesh("star"),
            _hidden(_box((0.3, 0.14, 0.16), (0, 0, 0.16))),
            _hidden(_box((0.46, 0.14, 0.09), (0, 0, 0.56))),
            _hidden(_box((0.1, 0.14, 0.14), (0, 0, 0.8))),
        ),
        "lamp": (
            _tube(0.28, 0.05, 0.05),
            _tube(0.05, 0.27, 0.37, "dark"),
            _tube(0.34, 0.16, 0.8),
            _aim(_tube(0.2, 0.27, 0.37)),
        ),
        "duck": (
            Part("ellipsoid", (0.4, 0.28, 0.27), (0, 0, 0.28)),
            _hidden(_box((0.25, 0.18, 0.06), (0, 0, 0.06))),
            _round(0.2, (0.24, 0, 0.62)),
            Part("ellipsoid", (0.13, 0.11, 0.045), (0.47, 0, 0.58), "orange", solid=False),
            _round(0.04, (0.37, 0.13, 0.69), "dark", solid=False),
            _round(0.04, (0.37, -0.13, 0.69), "dark", solid=False),
            Part("ellipsoid", (0.16, 0.12, 0.06), (-0.36, 0, 0.42), turn=(0.0, 35.0, 0.0), solid=False),
        ),
        "car": (
            _box((0.5, 0.24, 0.12), (0, 0, 0.24)),
            _box((0.25, 0.21, 0.11), (-0.05, 0, 0.45), "light"),
            _box((0.27, 0.22, 0.025), (-0.05, 0, 0.575), solid=False),
            *_wheels(0.3, 0.24, 0.14),
        ),
        "boat": (
            _box((0.4, 0.22, 0.11), (-0.06, 0, 0.11)),
            Part("cylinder", (0.22, 0.11), (0.34, 0, 0.11)),
            _tube(0.03, 0.36, 0.56, "wood"),
            _mesh("sail", 0.3, "light"),
            _aim(_box((0.25, 0.1, 0.3), (0, 0, 0.5))),
        ),
        "house": (
            _box((0.4, 0.34, 0.27), (0, 0, 0.27)),
            _mesh("roof", 0.54, "dark"),
            _hidden(_box((0.4, 0.12, 0.12), (0, 0, 0.66))),
            _box((0.1, 0.01, 0.16), (0, -0.345, 0.16), "light", solid=False),
            _box((0.1, 0.01, 0.16), (0, 0.345, 0.16), "light", solid=False),
        ),
        "tree": (
            _tube(0.11, 0.14, 0.14, "wood"),
            _mesh("leaves", 0.24),
            _mesh("leaves", 0.5),
            _hidden(_tube(0.24, 0.04, 0.04)),
            _hidden(_tube(0.3, 0.12, 0.38)),
            _hidden(_tube(0.18, 0.15, 0.7)),
        ),
        "mushroom": (
            _tube(0.17, 0.25, 0.25, "light"),
            Part("ellipsoid", (0.45, 0.45, 0.26), (0, 0, 0.58)),
            _round(0.09, (0.25, 0.15, 0.76), "light", solid=False),
            _round(0.09, (-0.2, 0.22, 0.76), "light", solid=False),
            _round(0.09, (-0.05, -0.3, 0.74), "light", solid=False),
        ),
        "snowman": (
            _round(0.3, (0, 0, 0.28)),
            _hidden(_tube(0.2, 0.04, 0.04)),
            _round(0.2, (0, 0, 0.66)),
            _tube(0.2, 0.015, 0.82, "dark"),
            _tube(0.13, 0.08, 0.91, "dark"),
            Part("capsule", (0.03, 0.06), (0.24, 0, 0.68), "orange", turn=(0.0, 90.0, 0.0), solid=False),
        ),
        "rocket": (
            _tube(0.2, 0.28, 0.4),
            _mesh("nose", 0.68, "light"),
            _hidden(_tube(0.11, 0.1, 0.78)),
            _box((0.32, 0.03, 0.14), (0, 0, 0.14), "dark"),
            _box((0.03, 0.32, 0.14), (0, 0, 0.14), "dark"),
        ),
        "dumbbell": (
            Part("cylinder", (0.07, 0.3), (0, 0, 0.24), "dark", turn=(0.0, 90.0, 0.0)),
            Part("cylinder", (0.24, 0.12), (0.36, 0, 0.24), turn=(0.0, 90.0, 0.0)),
            Part("cylinder", (0.24, 0.12), (-0.36, 0, 0.24), turn=(0.0, 90.0, 0.0)),
        ),
        "hat": (_tube(0.5, 0.03, 0.03), _tube(0.28, 0.22, 0.28), _tube(0.29, 0.06, 0.12, "dark")),
        "cross": (_box((0.14, 0.14, 0.5), (0, 0, 0.5)), _box((0.44, 0.139, 0.14), (0, 0, 0.62))),
        "chair": (
            *_legs(0.25, 0.25, 0.2, 0.05),
            _box((0.31, 0.31, 0.04), (0, 0, 0.44)),
            _box((0.05, 0.31, 0.26), (-0.26, 0, 0.74)),
        ),
        "robot": (
            _box((0.1, 0.12, 0.13), (0, 0.15, 0.13), "dark"),
            _box((0.1, 0.12, 0.13), (0, -0.15, 0.13), "dark"),
            _box((0.18, 0.3, 0.22), (0, 0, 0.48)),
            _box((0.14, 0.17, 0.12), (0, 0, 0.82)),
            _round(0.05, (0.14, 0.08, 0.84), "dark", solid=False),
            _round(0.05, (0.14, -0.08, 0.84), "dark", solid=False),
            _box((0.06, 0.06, 0.17), (0, 0.36, 0.5), "dark", solid=False),
            _box((0.06, 0.06, 0.17), (0, -0.36, 0.5), "dark", solid=False),
        ),
        "cactus": (
            _tube(0.25, 0.1, 0.1, "wood"),
            Part("capsule", (0.13, 0.3), (0, 0, 0.55)),
            Part("capsule", (0.08, 0.1), (0, 0.2, 0.5), turn=(90.0, 0.0, 0.0)),
            Part("capsule", (0.08, 0.1), (0, 0.34, 0.6)),
            Part("capsule", (0.08, 0.1), (0, -0.2, 0.62), turn=(90.0, 0.0, 0.0)),
            Part("capsule", (0.08, 0.1), (0, -0.34, 0.72)),
        ),
        "arch": (
            _box((0.12, 0.16, 0.3), (0.34, 0, 0.3)),
            _box((0.12, 0.16, 0.3), (-0.34, 0, 0.3)),
            _box((0.46, 0.16, 0.12), (0, 0, 0.72)),
            _aim(_box((0.25, 0.05, 0.3), (0, 0, 0.3))),
        ),
        "stairs": (
            _box((0.15, 0.3, 0.12), (0.3, 0, 0.12)),
            _box((0.15, 0.3, 0.24), (0, 0, 0.24)),
            _box((0.15, 0.3, 0.36), (-0.3, 0, 0.36)),
        ),
    }.items()
}

FURNITURE_KINDS = ("table", "shelf", "bin", "bench", "bed", "rug")
# Segmentation classes: 0 is walls, floor and ceiling; furniture and things follow.
CLASSES: dict[tuple[str, str | None], int] = {
    key: 1 + i
    for i, key in enumerate(
        [*((kind, None) for kind in FURNITURE_KINDS), *((kind, colour) for kind in KINDS for colour in COLOURS)]
    )
}

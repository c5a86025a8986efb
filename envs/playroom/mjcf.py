"""A `Room` as a MuJoCo model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.playroom.drawing import mujoco
from envs.playroom.room import Furniture, Room, Surface, Thing
from envs.playroom.rooms import BODY_RADIUS
from envs.playroom.textures import png
from envs.playroom.things import CLASSES, MESHES, SIZES, Part

FOV = 60.0  # degrees, from top to bottom
SUBSTEPS = 4
TICK_HZ = 30.0
EYE = 1.1  # metres above the floor
WALL = 0.03  # thickness of what furniture is made of

# Collision bits: the avatar touches furniture, walls and things, but not the floor, on which it does not stand.
_TOUCHES_ALL, _TOUCHES_THINGS, _AVATAR = 3, 1, 2
# Groups: what is drawn and can be aimed at, what can only be aimed at, and what is neither.
SHOWN, AIM, _HIDDEN = 0, 1, 3

NOTHING, FLOOR = -2, -1


@dataclass(frozen=True)
class Scene:
    """A compiled room.

    `owner`: for every geom, the index of its thing, or len(things) + the index of its furniture, or FLOOR, or NOTHING.
    `classes`: for every geom, its segmentation class, uint8. `bodies`, `dofs`, `geoms`: of each thing, its body, its
    first degree of freedom and its solid geoms. `qpos`, `qvel`: where the things' coordinates begin.
    """

    model: Any
    owner: npt.NDArray[np.int64]
    classes: npt.NDArray[np.uint8]
    bodies: tuple[int, ...]
    dofs: tuple[int, ...]
    geoms: tuple[npt.NDArray[np.int64], ...]
    qpos: int
    qvel: int


def compile_room(room: Room, *, width: int, height: int, shadows: bool) -> Scene:
    """The MuJoCo model of a room, for frames of `width` x `height`. Raises ValueError where MuJoCo refuses it."""
    assets: dict[str, bytes] = {}
    text = _xml(room, assets, width, height, shadows)
    try:
        model = mujoco.MjModel.from_xml_string(text, assets)
    except ValueError as error:
        raise ValueError(f"playroom: the room can't be built: {error}") from error
    owner = np.full(model.ngeom, NOTHING)
    classes = np.zeros(model.ngeom, np.uint8)
    for geom in range(model.ngeom):
        kind, _, index = (model.geom(geom).name or "").partition("/")
        if kind == "floor":
            owner[geom] = FLOOR
        elif kind == "thing":
            thing = room.things[int(index.split("/")[0])]
            owner[geom] = int(index.split("/")[0])
            classes[geom] = CLASSES[thing.kind, thing.colour]
        elif kind == "furniture":
            number = int(index.split("/")[0])
            owner[geom] = len(room.things) + number
            classes[geom] = CLASSES[room.furniture[number].kind, None]
    bodies = tuple(model.body(f"thing{i}").id for i in range(len(room.things)))
    solid = model.geom_contype != 0
    return Scene(
        model, owner, classes, bodies,
        tuple(int(model.body_dofadr[body]) for body in bodies),
        tuple(np.flatnonzero((owner == i) & solid) for i in range(len(bodies))),
        int(model.joint("thing0").qposadr[0]) if bodies else model.nq,
        int(model.joint("thing0").dofadr[0]) if bodies else model.nv,
    )  # fmt: skip


def _v(*numbers: float) -> str:
    return " ".join(f"{number:.6g}" for number in numbers)


def _xml(room: Room, assets: dict[str, bytes], width: int, height: int, shadows: bool) -> str:
    theme, light = room.theme, room.light
    surfaces = {
        "wall": theme.wall,
        "floor": theme.floor,
        "furniture": theme.furniture,
        "cloth": theme.cloth,
    }
    half_x, half_y, top = room.width / 2, room.depth / 2, room.height
    x, y, _ = room.start
    return f"""
<mujoco model="playroom">
  <compiler angle="degree" eulerseq="xyz" boundmass="0.05" boundinertia="0.0004"/>
  <option timestep="{1 / (TICK_HZ * SUBSTEPS):.9f}" integrator="implicitfast" cone="elliptic" impratio="3"/>
  <size memory="8M"/>
  <statistic extent="5" center="0 0 1"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <quality shadowsize="{1024 if shadows else 0}" offsamples="0" numslices="16" numstacks="10"/>
    <headlight ambient="{_v(*[0.5 * light] * 3)}" diffuse="{_v(*[0.28 * light] * 3)}" specular="0 0 0"/>
    <map znear="0.015" zfar="8"/>
  </visual>
  <asset>
    {"".join(_texture(name, surface, assets) for name, surface in surfaces.items())}
    {_meshes(room)}
  </asset>
  <default>
    <geom condim="4" friction="0.8 0.01 0.001" solref="0.02 1" density="110"/>
    <default class="wall"><geom type="plane" material="wall" condim="1" group="{SHOWN}"
      contype="1" conaffinity="{_TOUCHES_ALL}"/></default>
  </default>
  <worldbody>
    <light directional="true" pos="1 -1 3" dir="0.35 0.5 -1" diffuse="{_v(*[0.42 * light] * 3)}" specular="0 0 0"
      castshadow="{str(shadows).lower()}"/>
    <light directional="true" pos="-1 1 3" dir="-0.6 -0.25 -0.5" diffuse="{_v(*[0.2 * light] * 3)}" specular="0 0 0"
      castshadow="false"/>
    <geom name="floor" type="plane" size="{_v(half_x, half_y, 1)}" material="floor" group="{SHOWN}"
      contype="1" conaffinity="{_TOUCHES_THINGS}"/>
    {_wall(-half_x, 0, half_y, top, "0 1 0 0 0 1")}
    {_wall(half_x, 0, half_y, top, "0 -1 0 0 0 1")}
    {_wall(0, -half_y, half_x, top, "-1 0 0 0 0 1")}
    {_wall(0, half_y, half_x, top, "1 0 0 0 0 1")}
    <geom type="plane" size="{_v(half_x, half_y, 1)}" pos="0 0 {top:.6g}" euler="180 0 0" group="{SHOWN}"
      rgba="{_v(*theme.ceiling, 1)}" contype="1" conaffinity="{_TOUCHES_THINGS}"/>
    {"".join(_furniture(index, piece) for index, piece in enumerate(room.furniture))}
    <body name="avatar" pos="{_v(x, y, 0)}">
      <joint name="east" type="slide" axis="1 0 0"/>
      <joint name="north" type="slide" axis="0 1 0"/>
      <geom type="capsule" size="{BODY_RADIUS} {EYE / 2:.6g}" pos="0 0 {EYE / 2 - 0.15:.6g}" mass="25" condim="1"
        group="{_HIDDEN}" contype="{_AVATAR}" conaffinity="0"/>
      <camera name="eyes" pos="0 0 {EYE}" fovy="{FOV}"/>
    </body>
    <body name="hand" mocap="true" pos="0 0 -5"/>
    {"".join(_thing(index, thing) for index, thing in enumerate(room.things))}
  </worldbody>
  <actuator>
    <velocity joint="east" kv="120" forcelimited="true" forcerange="-250 250"/>
    <velocity joint="north" kv="120" forcelimited="true" forcerange="-250 250"/>
  </actuator>
  <equality>
    {"".join(_grasp(index) for index in range(len(room.things)))}
  </equality>
</mujoco>"""


def _texture(name: str, surface: Surface, assets: dict[str, bytes]) -> str:
    assets[f"{name}.png"] = png(surface.pattern, surface.ground, surface.figure)
    repeat = _v(2 / surface.metres, 2 / surface.metres)  # MuJoCo repeats it every two metres
    return (
        f'<texture name="{name}" type="2d" file="{name}.png"/>'
        f'<material name="{name}" texture="{name}" texuniform="true" texrepeat="{repeat}" specular="0"/>'
    )


def _meshes(room: Room) -> str:
    needed = {(part.mesh, thing.size) for thing in room.things for part in thing.shape.parts if part.mesh}
    out = []
    for name, size in sorted(needed):
        points, faces = MESHES[name]
        scale = SIZES[size]
        vertices = _v(*(scale * number for point in points for number in point))
        face = f' face="{" ".join(str(i) for triple in faces for i in triple)}"' if faces else ""
        out.append(f'<mesh name="{name}/{size}" vertex="{vertices}"{face}/>')
    return "".join(out)


def _wall(x: float, y: float, half: float, top: float, axes: str) -> str:
    size = _v(half, top / 2, 1)
    return f'<geom class="wall" size="{size}" pos="{_v(x, y, top / 2)}" xyaxes="{axes}"/>'


Box = tuple[tuple[float, float, float], tuple[float, float, float], str]  # centre, half sides, material


def furniture_boxes(piece: Furniture) -> Iterator[Box]:
    """The boxes that a piece of furniture is made of, before it is turned, about the middle of its foot."""
    w, d, h, t = piece.width / 2, piece.depth / 2, piece.height, WALL
    if piece.kind in ("table", "bench"):
        yield (0, 0, h - t), (w, d, t), "furniture"
        for x in (-w + 2 * t, w - 2 * t):
            for y in (-d + 2 * t, d - 2 * t):
                yield (x, y, h / 2 - t), (t, t, h / 2 - t), "furniture"
    elif piece.kind == "shelf":
        for x in (-w + t / 2, w - t / 2):
            yield (x, 0, h / 2 - t / 2), (t / 2, d, h / 2 - t / 2), "furniture"
        yield (0, d - t / 2, h / 2 - t / 2), (w - t, t / 2, h / 2 - t / 2), "furniture"
        yield (0, 0, h - t / 2), (w, d, t / 2), "furniture"
        yield (0, -t / 2, h * 0.48), (w - t, d - t / 2, t / 2), "furniture"
        yield (0, -t / 2, t), (w - t, d - t / 2, t / 2), "furniture"
    elif piece.kind == "bin":
        yield (0, 0, t / 2), (w, d, t / 2), "furniture"
        for side in (-1, 1):
            yield (side * (w - t / 2), 0, h / 2), (t / 2, d, h / 2), "furniture"
            yield (0, side * (d - t / 2), h / 2), (w - t, t / 2, h / 2), "furniture"
    elif piece.kind == "bed":
        yield (0, 0, h / 4), (w, d, h / 4), "furniture"
        yield (0, 0, h * 0.75), (w - 0.02, d - 0.02, h / 4), "cloth"
        yield (-w + t, 0, h * 0.9), (t, d, h * 0.9), "furniture"
    else:
        yield (0, 0, 0.004), (w, d, 0.004), "cloth"


def _furniture(index: int, piece: Furniture) -> str:
    angle = math.radians(90 * piece.turn)
    soft = piece.kind == "rug"  # it is seen and does not stand in the way
    touch = 'contype="0" conaffinity="0"' if soft else f'contype="1" conaffinity="{_TOUCHES_ALL}"'
    out = []
    for number, ((x, y, z), half, material) in enumerate(furniture_boxes(piece)):
        at = (
            piece.x + math.cos(angle) * x - math.sin(angle) * y,
            piece.y + math.sin(angle) * x + math.cos(angle) * y,
            z,
        )
        out.append(
            f'<geom name="furniture/{index}/{number}" type="box" size="{_v(*half)}" pos="{_v(*at)}" '
            f'euler="0 0 {90 * piece.turn}" material="{material}" group="{SHOWN}" {touch}/>'
        )
    return "".join(out)


def _thing(index: int, thing: Thing) -> str:
    centre = thing.height / 2
    parts = "".join(_part(f"thing/{index}/{i}", thing, part) for i, part in enumerate(thing.shape.parts))
    return (
        f'<body name="thing{index}" pos="{_v(thing.x, thing.y, thing.z + centre + 0.002)}" euler="0 0 {thing.yaw:.6g}">'
        f'<joint name="thing{index}" type="free" damping="0.01"/>{parts}</body>'
    )


def _part(name: str, thing: Thing, part: Part) -> str:
    scale = thing.scale
    x, y, z = (scale * number for number in part.at)
    if part.shape == "mesh":
        form = f'type="mesh" mesh="{part.mesh}/{thing.size}"'
    else:
        form = f'type="{part.shape}" size="{_v(*(scale * number for number in part.size))}"'
    touch = f'contype="1" conaffinity="{_TOUCHES_ALL}"' if part.solid else 'contype="0" conaffinity="0" mass="0"'
    group = SHOWN if part.shown else _HIDDEN if part.solid else AIM
    return (
        f'<geom name="{name}" {form} pos="{_v(x, y, z - thing.height / 2)}" euler="{_v(*part.turn)}" '
        f'rgba="{_v(*part.rgb(thing.colour), 1)}" group="{group}" {touch}/>'
    )


def _grasp(index: int) -> str:
    return (
        f'<weld name="grasp{index}" body1="hand" body2="thing{index}" active="false" '
        'solref="0.04 1" solimp="0.8 0.9 0.05"/>'
    )


def let_avatar_touch(scene: Scene, thing: int, touch: bool) -> None:
    """Whether a thing and the avatar are in each other's way: what is held is not."""
    scene.model.geom_conaffinity[scene.geoms[thing]] = _TOUCHES_ALL if touch else _TOUCHES_THINGS

"""`MinetestState`: ground truth of an episode, for verifiers and scripted experts alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from envs.angles import wrapped
from envs.minetest.level import Level

BLOCKED = -1000


@dataclass(frozen=True)
class Placed:
    """A block that the player placed: its middle, and the number of the thing right under it, if there is one."""

    x: float
    y: float
    z: float
    on: int | None


@dataclass(frozen=True)
class MinetestState:
    """What is true at a tick. Lengths in nodes, angles in degrees; things are numbered as in `level.things`.

    `x` (east), `y` (up), `z` (north): the player's feet, from the level's middle; on an arena's floor y is 0. `eye`: y
    of the eyes. `yaw`: 0 north, 90 west. `pitch`: up positive. `aimed`: the thing that the crosshair is on, at
    whatever distance; `aimed_distance`: from the eyes to what the crosshair is on, inf for the sky; `aimed_top`:
    whether it is on the upper side. `bag`: items by name, such as "ludens:block_red". `dug`: things that were dug, in
    order. `placed`: blocks that were placed. `opened`: things whose door or lid is open. `base`: the ground's y under
    each thing. `ground`: int16 (2 half + 3, 2 half + 3), y of what one can stand on by [x + half + 1, z + half + 1]
    when the episode began, the tops of things among it; BLOCKED elsewhere. `hp`: health.
    """

    level: Level
    tick: int
    x: float
    y: float
    z: float
    eye: float
    yaw: float
    pitch: float
    aimed: int | None
    aimed_distance: float
    aimed_top: bool
    bag: Mapping[str, int]
    dug: tuple[int, ...]
    placed: tuple[Placed, ...]
    opened: frozenset[int]
    base: tuple[int, ...]
    ground: npt.NDArray[np.int16]
    hp: int

    def bearing_to(self, x: float, y: float, z: float) -> tuple[float, float]:
        """Degrees from the crosshair to a point: right in [-180, 180), and up."""
        east, north = x - self.x, z - self.z
        azimuth = math.degrees(math.atan2(-east, north))
        up = math.degrees(math.atan2(y - self.eye, math.hypot(east, north)))
        return wrapped(self.yaw - azimuth), up - self.pitch

    def centre(self, thing: int) -> tuple[float, float, float]:
        item = self.level.things[thing]
        return item.x, self.base[thing] + item.height / 2, item.z

    def bearing(self, thing: int) -> tuple[float, float]:
        """Degrees from the crosshair to a thing's middle: right, up."""
        return self.bearing_to(*self.centre(thing))

    def distance(self, thing: int) -> float:
        """Nodes along the ground from the player to a thing's middle."""
        x, _, z = self.centre(thing)
        return math.hypot(x - self.x, z - self.z)

    def gap(self, thing: int) -> float:
        """Nodes along the ground from the player's middle to a thing's side; 0 inside of it."""
        item = self.level.things[thing]
        wide, deep = item.half
        return math.hypot(max(0.0, abs(self.x - item.x) - wide), max(0.0, abs(self.z - item.z) - deep))

    def inside(self, thing: int) -> bool:
        """Whether the player stands in a house."""
        item = self.level.things[thing]
        low = abs(self.y - self.base[thing]) < 2.0
        return item.kind == "house" and low and max(abs(self.x - item.x), abs(self.z - item.z)) <= 1.5

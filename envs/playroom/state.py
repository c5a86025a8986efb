"""`PlayroomState`: ground truth of a playroom, for verifiers and scripted experts alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from envs.angles import wrapped
from envs.playroom.room import Room


@dataclass(frozen=True)
class PlayroomState:
    """What is true now. Things are meant by their index in `room.things`, furniture by its kind.

    `tick`: ticks since the episode began. `x`, `y`, `eye`: the eyes, metres. `yaw`: degrees, 0 is along x,
    counter-clockwise. `pitch`: degrees, up positive. `held`: the thing in the hand. `aimed`: the thing within reach
    that the crosshair is on. `positions` (N, 3): the things' centres, metres. `rotations` (N, 4): quaternions w, x, y,
    z. `velocities` (N, 6): metres a second, then radians a second. `on`: (thing, support) pairs, the support a thing,
    the kind of a piece of furniture, or "floor"; a thing that touches several is on each of them. `labels`: classes
    (H, W) uint8 of envs.playroom.things.CLASSES, or None unless the world was made with labels.
    """

    room: Room
    tick: int
    x: float
    y: float
    eye: float
    yaw: float
    pitch: float
    held: int | None
    aimed: int | None
    positions: npt.NDArray[np.float64] = field(compare=False)  # arrays have no plain equality
    rotations: npt.NDArray[np.float64] = field(compare=False)
    velocities: npt.NDArray[np.float64] = field(compare=False)
    on: frozenset[tuple[int, int | str]] = frozenset()
    labels: npt.NDArray[np.uint8] | None = field(default=None, compare=False)

    def lies_on(self, thing: int, support: int | str) -> bool:
        """Whether a thing rests on a thing, a piece of furniture or the floor; on the rug, whether it is over it."""
        if support == "rug":
            return self.lies_on(thing, "floor") and self._over("rug", thing)
        return (thing, support) in self.on

    def is_in(self, thing: int, piece: str = "bin") -> bool:
        """Whether a thing's centre is between the sides of the bin and below its rim, and it is let go of."""
        furniture = self.room.piece(piece)
        if furniture is None or thing == self.held or not self._over(piece, thing):
            return False
        return float(self.positions[thing][2]) < furniture.height + 0.1

    def distance(self, thing: int) -> float:
        """From the avatar to a thing's centre along the floor, metres."""
        return math.hypot(self.positions[thing][0] - self.x, self.positions[thing][1] - self.y)

    def bearing(self, thing: int) -> tuple[float, float]:
        """How far the mouse has to turn, right and up, degrees, until the crosshair is on the thing's centre."""
        dx, dy, dz = self.positions[thing] - (self.x, self.y, self.eye)
        right = wrapped(self.yaw - math.degrees(math.atan2(dy, dx)))
        return right, math.degrees(math.atan2(dz, math.hypot(dx, dy))) - self.pitch

    def _over(self, piece: str, thing: int) -> bool:
        furniture = self.room.piece(piece)
        return furniture is not None and furniture.covers(*self.positions[thing][:2].tolist())

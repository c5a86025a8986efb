"""`Odometer`: where the player is, by dead reckoning from its own hands and from whether the picture moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agent.episode import Frame, Step

_INERTIA = 0.29  # seconds in which the speed comes within 1/e of what the keys ask for
_STILL = 1.0  # mean difference of two frames, of 255, up to which nothing has moved
_TURN = 0.5  # degrees between two frames from which on they differ in any case
_SLOW = 0.25  # of the walking speed: slower than that one may not see whether one moves
_WAYS = {"forward": (1.0, 0.0), "back": (-1.0, 0.0), "left": (0.0, -1.0), "right": (0.0, 1.0)}


@dataclass(frozen=True)
class Pose:
    """A place and a heading since the episode began. `ahead`, `right`: seconds of walking in the directions that were
    ahead and right at the start. `heading`: degrees right of the first view, in [0, 360)."""

    ahead: float = 0.0
    right: float = 0.0
    heading: float = 0.0

    def towards(self, off: float, far: float) -> Pose:
        """The place `far` seconds of walking away, `off` degrees right of where one looks, looking there."""
        angle = math.radians(self.heading + off)
        ahead, right = self.ahead + far * math.cos(angle), self.right + far * math.sin(angle)
        return Pose(ahead, right, (self.heading + off) % 360.0)

    def bearing(self, other: Pose) -> tuple[float, float]:
        """How far another place is, in seconds of walking, and how many degrees right of where one looks, in
        [-180, 180)."""
        d, r = other.ahead - self.ahead, other.right - self.right
        off = math.degrees(math.atan2(r, d)) - self.heading
        return math.hypot(d, r), (off + 180.0) % 360.0 - 180.0


class Odometer:
    """Adds up turns and steps. It knows no ground truth: a wall is noticed by a picture that stands still.

    Where the player slides along a wall, or walks while it turns against one, the reckoning drifts; nothing corrects
    that. `controls`: what the world's keys do; `tick_hz`: ticks a second.
    """

    def __init__(self, controls: Mapping[str, str], tick_hz: float) -> None:
        self.pose = Pose()
        self.walked = 0.0  # seconds of walking in all
        self._keys = {key: _WAYS[word] for key, word in controls.items() if word in _WAYS}
        self._run = {key for key, word in controls.items() if word == "run"}
        self._tick = 1.0 / (tick_hz or 1.0)
        self._keep = math.exp(-self._tick / _INERTIA)
        self._speed = (0.0, 0.0)  # ahead and right, in the direction of the view
        self._frame: Frame | None = None  # the newest that was drawn
        self._then = self.pose  # where it was seen
        self._turned = 0.0  # degrees since then
        self._moved = 0.0  # seconds of walking since then

    def on_step(self, step: Step) -> None:
        """A tick was played."""
        if step.frame is not None:
            self._look(step.frame)
        pose, yaw = self.pose, step.action.look[0]
        fast = 2.0 if step.action.keys & self._run else 1.0
        ways = [self._keys[key] for key in step.action.keys if key in self._keys]
        wanted = [fast * sum(way[axis] for way in ways) for axis in (0, 1)]
        v = [self._keep * now + (1.0 - self._keep) * aim for now, aim in zip(self._speed, wanted, strict=True)]
        # what one is moving at keeps its direction while the view turns
        angle = math.radians(yaw)
        self._speed = v[0] * math.cos(angle) + v[1] * math.sin(angle), v[1] * math.cos(angle) - v[0] * math.sin(angle)
        heading = math.radians(pose.heading)
        d, r = v[0] * self._tick, v[1] * self._tick
        self.pose = Pose(
            pose.ahead + d * math.cos(heading) - r * math.sin(heading),
            pose.right + d * math.sin(heading) + r * math.cos(heading),
            (pose.heading + yaw) % 360.0,
        )
        self._turned += abs(yaw)
        self._moved += math.hypot(d, r)

    def jump(self, pose: Pose) -> None:
        """The player is somewhere else at once, and stands."""
        self.pose = self._then = pose
        self._speed, self._frame, self._turned, self._moved = (0.0, 0.0), None, 0.0, 0.0

    def _look(self, frame: Frame) -> None:
        """Take back what was walked since the last frame if the picture stood still."""
        before = self._frame
        if before is not None and self._turned < _TURN and self._moved and _same(before, frame):
            self.pose, self._moved = Pose(self._then.ahead, self._then.right, self.pose.heading), 0.0
            if math.hypot(*self._speed) > _SLOW:  # one who only sets off is slow, and no wall stops it
                self._speed = 0.0, 0.0
        self.walked += self._moved
        self._frame, self._then, self._turned, self._moved = frame, self.pose, 0.0, 0.0


def _same(before: Frame, now: Frame) -> bool:
    return float(np.abs(before[::2, ::2].astype(np.int16) - now[::2, ::2]).mean()) < _STILL

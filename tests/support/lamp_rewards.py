"""Rewards for tests.support.lamp_world, from pixels: `package.module:Name` finds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rewards.reward import Footage, Frames
from rewards.score import Failure, Score
from tasks.task import Task


def places(frame: Frames) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Where the square and the lamp are in a frame; the lamp where the square is, if it is hidden."""
    me = np.argwhere(frame[:, :, 2] == 255).mean(0)
    lamp = np.argwhere((frame[:, :, 0] == 255) & (frame[:, :, 2] == 0))
    return me, lamp.mean(0) if len(lamp) else me


class Near:
    """A FrameReward: the nearer the square is to the lamp, the likelier it is there."""

    name = "near"
    sees_truth = False
    threshold = 0.8

    def __init__(self) -> None:
        self.passes: list[int] = []  # frames in each

    def goal(self, world: str, instruction: str, picture: str = "") -> Any:
        return instruction if world == "lamp" else None

    def chances(self, goals: Sequence[Any], frames: Frames) -> npt.NDArray[np.float32]:
        self.passes.append(len(frames))
        apart = [np.abs(np.subtract(*places(frame))).max() for frame in frames]
        return np.clip(1.0 - np.array(apart, np.float32) / 50.0, 0.0, 1.0)

    def score(self, task: Task, episodes: Sequence[Footage]) -> list[Score | Failure]:
        best = [float(self.chances([""], episode.decision_frames()).max()) for episode in episodes]
        return [Score(100.0 * value, value >= self.threshold, "by the distance", self.name) for value in best]


class Up:
    """Scores a whole episode: by how much the square went up. An episode that began at the very top has no score."""

    name = "up"
    sees_truth = False

    def score(self, task: Task, episodes: Sequence[Footage]) -> list[Score | Failure]:
        return [self._score(episode.decision_frames()) for episode in episodes]

    def _score(self, frames: Frames) -> Score | Failure:
        first, last = places(frames[0])[0][0], places(frames[-1])[0][0]
        if first < 20:
            return Failure("it can't go up")
        value = float(np.clip(50.0 + 50.0 * (first - last) / 16.0, 0.0, 100.0))
        return Score(value, last < first, "by the way up", self.name)


class Always(Up):
    """Calls every episode a success."""

    name = "always"

    def _score(self, frames: Frames) -> Score | Failure:
        return Score(100.0, True, "why not", self.name)

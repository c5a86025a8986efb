"""A reward of your own for a Gymnasium environment: how near the red box of MiniWorld is, by where its top edge is.

    agent self-improve --config examples/gymnasium/improve.yaml --out runs/red-box

A player that never saw this environment learns in it from this rule alone. Ground truth, the environment's own reward,
measures it and teaches nothing: examples/gymnasium/tasks.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewards.reward import VerifiedFootage
from rewards.score import Failure, Score
from tasks.task import Task

FAR, NEAR = 0.5, 0.86  # of the picture's height: where the top edge of a far box is, and of one that is reached


class RedBox:
    """How low the top edge of the box is in the last frame: the player looks down on a box in front of its feet."""

    name = "red box"
    sees_truth = False

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        return [self._score(episode) for episode in episodes]

    def _score(self, episode: VerifiedFootage) -> Score | Failure:
        red, green, blue = np.moveaxis(episode.decision_frames()[-1].astype(np.int16), -1, 0)
        box = (red > 2 * green) & (red > 2 * blue) & (red > 60)
        if not box.any():
            return Score(0.0, False, "no box is in view", self.name)
        top = float(box.any(axis=1).argmax()) / len(box)
        near = min(1.0, max(0.0, (top - FAR) / (NEAR - FAR)))
        # Squared, so that to stop just before it is worth clearly less than to reach it.
        why = f"the box's top edge is at {100 * top:.0f} % of the height"
        return Score(100.0 * near**2, near > 0.95, why, self.name)

"""A reward of your own: how much of the picture changed during the episode, a crude measure of exploration.

    agent record --suite doom-basic --policy random --episodes 4 --out runs/episodes
    agent rewards score --reward examples.write_a_reward:Change --episodes runs/episodes
    python examples/write_a_reward.py runs/episodes

A reward sees the instruction and the pixels of an episode; the verifier's verdict is hidden from it unless it says
`sees_truth = True`. An episode that it can't score gets a Failure, never a value of 0.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from rewards.reward import VerifiedFootage, score_pairs
from rewards.score import Failure, Score
from tasks.task import Task
from training.data.episodes import find_episodes, read_episode
from training.data.footage import RecordedFootage, task_of


class Change:
    """The mean difference between the first frame and the others, 0 to 100."""

    name = "change"
    sees_truth = False

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        return [self._score(episode) for episode in episodes]

    def _score(self, episode: VerifiedFootage) -> Score | Failure:
        frames = episode.decision_frames().astype(np.int16)
        if len(frames) < 2:
            return Failure("the episode has one frame")
        share = float(np.abs(frames[1:] - frames[0]).mean()) / 255.0
        return Score(100.0 * share, share > 0.2, f"{100 * share:.0f} % of the picture changed", self.name)


def main(folder: str) -> None:
    episodes = [read_episode(path) for path in find_episodes(folder)]
    pairs = [(task_of(episode), RecordedFootage(episode)) for episode in episodes]
    for (task, _), result in zip(pairs, score_pairs(Change(), pairs), strict=True):
        print(f"{task.instruction}: {result}")


if __name__ == "__main__":
    main(sys.argv[1])

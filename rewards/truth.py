"""`truth`: the verdict of the task's verifier. It is the one reward that sees ground truth."""

from __future__ import annotations

from collections.abc import Sequence

from rewards.reward import VerifiedFootage
from rewards.score import Failure, Score
from tasks.task import Task


class Truth:
    """Scores an episode with the verdict that was recorded: 100 for success and 0 otherwise.

    For evaluation and as an upper bound. An agent that learns from it learns from game state.
    """

    name = "truth"
    sees_truth = True

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        """One score for each episode; a Failure where nobody gave a verdict, such as of a task without a verifier."""
        return [self._score(task, episode) for episode in episodes]

    def _score(self, task: Task, episode: VerifiedFootage) -> Score | Failure:
        if episode.success is None:
            interrupted = "the verifier gave no verdict: the episode was interrupted"
            return Failure("the task has no verifier" if task.verifier is None else interrupted)
        return Score(100.0 if episode.success else 0.0, episode.success, episode.why, self.name)

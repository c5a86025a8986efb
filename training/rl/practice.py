"""`Practice`: tasks that a policy plays again and again, those that it sometimes manages more often than the others.

An episode teaches by its difference from others of the same start, so a task that always goes the same way teaches
nothing. Tasks are drawn by their learnability, four times the variance of their rewards: 4p(1-p) for a share p of
successes (arXiv 2408.15099). What is known of a verb is believed of its tasks that were not played yet. Apart from that
verbs count alike, however many tasks they have, so that a verb that was rarely proposed is practised as much as others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.task import Task
from training.rl.rollouts import Rollout

_PRIOR = 0.5  # episodes with a reward of 1, and with one of 0, that every verb begins with

Moments = tuple[float, float]


@dataclass
class Practice:
    """`tasks`: what is practised, with ids of their own. `outcomes`: by id, the sum of the rewards of all episodes, the
    sum of their squares, and how many they are."""

    tasks: Sequence[Task]
    outcomes: dict[str, list[float]] = field(default_factory=dict)

    def draw(self, n: int, seed: Sequence[int]) -> list[Task]:
        """`n` different tasks, or all where there are fewer; the same ones for the same outcomes and seed."""
        many, believed = Counter(task.verb for task in self.tasks), self._believed()
        weights = np.array([self._learnability(task, believed[task.verb]) / many[task.verb] for task in self.tasks])
        # The n smallest of exponential times divided by the weights are such a draw (Efraimidis and Spirakis, 2006).
        times = np.random.default_rng(seed).exponential(size=len(weights)) / weights
        return [self.tasks[at] for at in np.argsort(times)[:n]]

    def learnability(self, task: Task) -> float:
        """1 for a task of which nothing is known or that is managed half of the time, near 0 for one that always goes
        the same way."""
        return self._learnability(task, self._believed()[task.verb])

    def _learnability(self, task: Task, believed: Moments) -> float:
        """`believed`: of its verb; it counts as much as one episode of the task."""
        total, squares, played = self.outcomes.get(task.id, (0.0, 0.0, 0.0))
        mean, square = (total + believed[0]) / (played + 1.0), (squares + believed[1]) / (played + 1.0)
        return 4.0 * (square - mean**2)

    def _believed(self) -> dict[str, Moments]:
        """The mean of the rewards and of their squares, by verb."""
        sums = {task.verb: [_PRIOR, _PRIOR, 2.0 * _PRIOR] for task in self.tasks}
        for task in self.tasks:
            for at, value in enumerate(self.outcomes.get(task.id, ())):
                sums[task.verb][at] += value
        return {verb: (total / played, squares / played) for verb, (total, squares, played) in sums.items()}

    def note(self, rollouts: Iterable[Rollout]) -> None:
        """Count what was played."""
        for one in rollouts:
            sums = self.outcomes.setdefault(one.start.task.id, [0.0, 0.0, 0.0])
            for at, value in enumerate((one.total, one.total**2, 1.0)):
                sums[at] += value

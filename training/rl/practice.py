"""`Practice`: tasks that a policy plays again and again, those that it sometimes manages more often than the others.

An episode teaches by its difference from others of the same start, so a task that always goes the same way teaches
nothing. Tasks are drawn by their learnability, four times the variance of their rewards: 4p(1-p) for a share p of
successes (arXiv 2408.15099). Verbs count alike, however many tasks they have, so that a verb that was rarely proposed
is practised as much as the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tasks.task import Task
from training.rl.rollouts import Rollout

_PRIOR = 0.5  # episodes with a reward of 1, and with one of 0, that every task begins with


@dataclass
class Practice:
    """`tasks`: what is practised, with ids of their own. `outcomes`: by id, the sum of the rewards of all episodes, the
    sum of their squares, and how many they are."""

    tasks: Sequence[Task]
    outcomes: dict[str, list[float]] = field(default_factory=dict)

    def draw(self, n: int, seed: Sequence[int]) -> list[Task]:
        """`n` different tasks, or all where there are fewer; the same ones for the same outcomes and seed."""
        many = Counter(task.verb for task in self.tasks)
        weights = np.array([self.learnability(task.id) / many[task.verb] for task in self.tasks])
        # The n smallest of exponential times divided by the weights are such a draw (Efraimidis and Spirakis, 2006).
        times = np.random.default_rng(seed).exponential(size=len(weights)) / weights
        return [self.tasks[at] for at in np.argsort(times)[:n]]

    def learnability(self, task: str) -> float:
        """1 for a task that was never played or is managed half of the time, near 0 for one that always goes the same
        way."""
        total, squares, played = self.outcomes.get(task, (0.0, 0.0, 0.0))
        count = played + 2.0 * _PRIOR
        return 4.0 * ((squares + _PRIOR) / count - ((total + _PRIOR) / count) ** 2)

    def note(self, rollouts: Iterable[Rollout]) -> None:
        """Count what was played."""
        for one in rollouts:
            sums = self.outcomes.setdefault(one.start.task.id, [0.0, 0.0, 0.0])
            for at, value in enumerate((one.total, one.total**2, 1.0)):
                sums[at] += value

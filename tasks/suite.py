"""`Suite`: what the suites of all worlds have in common, a family of tasks that a seed and an index number.

Levels for training and for evaluation come from disjoint halves of the seed space.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tasks.task import Phrasing, Task

EVALUATION_SEEDS = 2**30  # level seeds from here on are for evaluation only
_TRIES = 400  # levels looked at before a task is given up


@dataclass(frozen=True)
class Suite(ABC):
    """A family of tasks.

    `verbs` come in turn. `pairs`: "training" (never names a held-out pair), "held_out" (only those are asked for),
    "all". `held_out`: evaluation only. `time_limit`: ticks. A world says what its tasks are in `make`.
    """

    world: ClassVar[str]  # the world that its tasks are played in
    name: str
    about: str
    verbs: tuple[str, ...]
    themes: tuple[str, ...]
    time_limit: int
    pairs: str = "training"
    phrasing: Phrasing = "training"
    held_out: bool = False

    def task(self, seed: int, index: int, *, evaluation: bool = True) -> Task:
        """Task number `index` of the suite under `seed`, always the same one."""
        if self.held_out and not evaluation:
            raise ValueError(f"suite {self.name!r} is held out from training")
        return self._made(seed, index, evaluation=evaluation)

    def _made(self, seed: int, index: int, *, evaluation: bool) -> Task:
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), seed, index, int(evaluation)])
        verb = self.verbs[index % len(self.verbs)]
        for _ in range(_TRIES):
            try:
                return self.make(rng, f"{self.name}/{seed}/{index}", verb, evaluation)
            except ValueError:
                continue  # the level was too small for what it has to hold; the next one is another
        raise ValueError(f"suite {self.name!r}: no level for task {index} of seed {seed}")

    def practice(self, seed: int, index: int) -> Task:
        """Task number `index` with a level of training's half of the seeds, also of a suite that is held out: for
        self-improvement, which sets its own goals in such levels. It never meets a level of evaluation."""
        return self._made(seed, index, evaluation=False)

    def tasks(self, seed: int, n: int, *, evaluation: bool = True) -> Iterator[Task]:
        return (self.task(seed, index, evaluation=evaluation) for index in range(n))

    @abstractmethod
    def make(self, rng: np.random.Generator, task_id: str, verb: str, evaluation: bool) -> Task:
        """A random task for a verb. Raises ValueError where what was drawn makes none."""


def level_seed(rng: np.random.Generator, evaluation: bool) -> int:
    """A seed of a level, of the half that it is for."""
    return int(rng.integers(EVALUATION_SEEDS)) + (EVALUATION_SEEDS if evaluation else 0)

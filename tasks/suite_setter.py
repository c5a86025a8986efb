"""`suite`: a fixed set of tasks of a suite, as in SIMA 2's first experiment of self-improvement."""

from __future__ import annotations

from collections import Counter

import numpy as np

from envs.errors import UserError
from tasks import world_tasks
from tasks.setter import Proposal, SetterView

SIZE = 64  # tasks of the set
_SEED = 0  # of the set: it is the same for every view


class SuiteSetter:
    """Proposes the first tasks of a suite, those tried least often first, and at random among them.

    `suite`: its name, or NAME:NUMBER for so many tasks in place of SIZE.

    A proposal brings its level along: one of training's half of the seeds, also where the suite is held out, so that
    no level of evaluation is ever practised. Raises UserError for an unknown suite and where none is named.
    """

    def __init__(self, suite: str = "") -> None:
        name, _, size = suite.partition(":")
        if not name:
            raise UserError("task setter suite: name the suite, such as suite:doom-vault (agent list suites)")
        if size and not (size.isdecimal() and int(size)):
            raise UserError(f"task setter suite:{suite}: expected a number of tasks, such as suite:{name}:{SIZE}")
        self._suite = world_tasks.suite(name)
        self._size = int(size) if size else SIZE

    def propose(self, view: SetterView, n: int) -> list[Proposal]:
        """The next `n` tasks. Raises UserError for a view of another world."""
        suite = self._suite
        if suite.world != view.world.partition(":")[0]:
            raise UserError(f"suite {suite.name!r} is played in world {suite.world!r}, not in {view.world!r}")
        tries = Counter(tried.task for tried in view.tried)
        drawn = np.random.default_rng(view.seed).permutation(self._size).tolist()
        drawn.sort(key=lambda index: tries[f"{suite.name}/{_SEED}/{index}"])
        return [self._proposal(index) for index in drawn[:n]]

    def _proposal(self, index: int) -> Proposal:
        task = self._suite.practice(_SEED, index)
        why = f"task {index} of {self._suite.name}"
        return Proposal(task.instruction, task.time_limit, why, task.id, task.seed, task.options)

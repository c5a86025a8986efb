"""`suite`: a fixed set of tasks of a suite, as in SIMA 2's first experiment of self-improvement."""

from __future__ import annotations

from collections import Counter

from envs.errors import UserError
from tasks import world_tasks
from tasks.setter import Proposal, SetterView

SIZE = 64  # tasks of the set


class SuiteSetter:
    """Proposes the first `size` tasks of a suite under the view's seed, those tried least often first.

    A proposal brings its level along: one of training's half of the seeds, also where the suite is held out, so that
    no level of evaluation is ever practised. Raises UserError for an unknown suite and where none is named.
    """

    def __init__(self, suite: str = "", size: int = SIZE) -> None:
        if not suite:
            raise UserError("task setter suite: name the suite, such as suite:doom-vault (agent list suites)")
        self._suite = world_tasks.suite(suite)
        self._size = size

    def propose(self, view: SetterView, n: int) -> list[Proposal]:
        """The next `n` tasks. Raises UserError for a view of another world."""
        suite = self._suite
        if suite.world != view.world.partition(":")[0]:
            raise UserError(f"suite {suite.name!r} is played in world {suite.world!r}, not in {view.world!r}")
        tries = Counter(tried.task for tried in view.tried)
        ids = [f"{suite.name}/{view.seed}/{index}" for index in range(self._size)]
        order = sorted(range(self._size), key=lambda index: (tries[ids[index]], index))
        return [self._proposal(view.seed, index) for index in order[:n]]

    def _proposal(self, seed: int, index: int) -> Proposal:
        task = self._suite.practice(seed, index)
        why = f"task {index} of {self._suite.name}"
        return Proposal(task.instruction, task.time_limit, why, task.id, task.seed, task.options)

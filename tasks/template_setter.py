"""`template`: random tasks from the world's own grammar, whatever is in view. What other setters are compared with."""

from __future__ import annotations

import numpy as np

from envs.errors import UserError
from tasks import world_tasks
from tasks.policy_setter import SECONDS
from tasks.read_proposal import read_proposal
from tasks.setter import Proposal, Rejected, SetterView
from tasks.suite import Suite

_INDICES = 1 << 20  # of a suite's tasks
_ROUNDS = 4  # of drawing, for a task that is no instruction alone or was drawn before


class TemplateSetter:
    """Proposes what the practice tasks of some suites ask for, in their phrasings, for the level that is in view.

    `suites`: names joined by "+"; all suites of the view's world that training may use by default. Tasks with a picture
    or an answer are left out: they are more than an instruction. `seconds`: the time limit of each step. Raises
    UserError for an unknown suite.
    """

    def __init__(self, suites: str = "", *, seconds: float = SECONDS) -> None:
        self._suites = [world_tasks.suite(name) for name in suites.split("+")] if suites else []
        self._seconds = seconds

    def propose(self, view: SetterView, n: int) -> list[Proposal | Rejected]:
        """`n` proposals, all different. Raises UserError for a world without such suites."""
        suites = self._of(view.world)
        rng = np.random.default_rng([view.seed, 7])
        found: dict[str, Proposal] = {}
        for _ in range(_ROUNDS * n):
            suite = suites[int(rng.integers(len(suites)))]
            task = suite.practice(view.seed, int(rng.integers(_INDICES)))
            one = read_proposal(view, task.instruction, self._seconds, f"drawn from {suite.name}")
            if isinstance(one, Proposal) and not task.answer and not task.picture:
                found.setdefault(one.instruction, one)
            if len(found) == n:
                break
        return list(found.values())

    def _of(self, world: str) -> list[Suite]:
        name = world.partition(":")[0]
        suites = self._suites or [one for one in world_tasks.of(world).suites.values() if not one.held_out]
        if any(one.world != name for one in suites):
            raise UserError(f"task setter template: its suites are played in {suites[0].world!r}, not in {world!r}")
        if not suites:
            raise UserError(f"task setter template: world {world!r} brings no suites; take small or llm:MODEL")
        return suites

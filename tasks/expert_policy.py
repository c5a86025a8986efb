"""`ExpertPolicy`: the scripted expert of any world that brings one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agent import doom_codec as codec
from agent.policy import Context, Decision, PolicySpec
from tasks import world_tasks
from tasks.task import Task


class ExpertPolicy:
    """The expert as a player: `start(task)` gives the function that decides from ground truth."""

    spec = PolicySpec(chunk=codec.CHUNK, codec=codec.VERSION)

    def start(self, task: Task) -> Callable[[Any], Decision]:
        """Raises ValueError for a task without a verifier: the expert needs to know what is meant."""
        if task.verifier is None:
            raise ValueError(f"the expert cannot play {task.instruction!r}: nothing verifies it")
        return world_tasks.of(task.world).expert(task.verifier)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        raise TypeError("the expert plays from ground truth; drive it through start(task)")

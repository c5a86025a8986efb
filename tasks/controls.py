"""Controls: the same task with other words. A player that still succeeds did not listen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks import world_tasks
from tasks.task import Task


def without_language(task: Task) -> Task:
    """The task with an empty instruction."""
    return replace(task, instruction="")


def other_name(task: Task) -> Task | None:
    """The language control: the instruction names another thing of the level (or the other direction), while the
    verifier still wants the first. None if the verb has nothing to exchange."""
    if task.verifier is None:
        return None
    text = world_tasks.of(task.world).other_words(np.random.default_rng([task.seed, 4]), task)
    return None if text is None else replace(task, instruction=text)

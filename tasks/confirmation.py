"""What the player says before it follows an instruction, to show how it understood it: "ok go to red torch"."""

from __future__ import annotations

from collections.abc import Iterable

from tasks import world_tasks
from tasks.task import Task
from tasks.world_tasks import OK


def confirmation(text: str, world: str = "doom") -> str:
    """The confirmation of an instruction in plain words; empty for what the world's grammar does not read as one."""
    return world_tasks.of(world).confirmation(text)


def beyond(lines: Iterable[str]) -> list[str]:
    """What was said beside confirmations."""
    return [line for line in lines if not line.startswith(OK)]


def confirmed(task: Task, lines: Iterable[str]) -> bool | None:
    """Whether a task's instruction was confirmed rightly, by the first line; None if there is nothing to confirm."""
    expected = confirmation(task.instruction, task.world)
    return next(iter(lines), "") == expected if expected else None

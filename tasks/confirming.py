"""What is said before an instruction is followed, so that one hears how it was understood: "ok go to red torch"."""

from __future__ import annotations

from collections.abc import Iterable

from tasks import worlds
from tasks.task import Task

OK = "ok "


def confirmation(text: str, world: str = "doom") -> str:
    """The confirmation of an instruction in plain words; empty for what the world's grammar does not read as one."""
    language = worlds.part(world, "language")
    meaning = language.read(text) if language is not None else None
    return "" if meaning is None else OK + language.plain(meaning)


def beyond(lines: Iterable[str]) -> list[str]:
    """What was said beside confirmations."""
    return [line for line in lines if not line.startswith(OK)]


def confirmed(task: Task, lines: Iterable[str]) -> bool | None:
    """Whether a task's instruction was confirmed rightly, by the first line; None where there is nothing to confirm."""
    expected = confirmation(task.instruction, task.world)
    return next(iter(lines), "") == expected if expected else None

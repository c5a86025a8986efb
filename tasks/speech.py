"""Judging what was said in an episode."""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.episode import Outcome
from tasks.confirmation import beyond
from tasks.task import Task

NOT_THERE = "i see no"
NOT_UNDERSTOOD = "i do not understand"
LINGER = 35  # ticks after a success within which the player should say that it is done: a second


def judge_speech(task: Task, outcome: Outcome) -> bool | None:
    """Whether the right thing was said: the first line that confirms nothing, whatever its order of words. None where
    nothing has to be said."""
    return bool(answered(task, [line for _, line in outcome.said])) if task.answer else None


def answered(task: Task, lines: Iterable[str]) -> bool | None:
    """Whether what was said first is the task's answer; None while nothing but confirmations was said."""
    said = beyond(lines)
    return _bag(said[0]) == _bag(task.answer) if said else None


def false_claim(task: Task, outcome: Outcome) -> bool:
    """Whether it was said that something is not there, unclear or not understood, although the task can be done."""
    if task.answer:
        return False
    return any(line.startswith((NOT_THERE, NOT_UNDERSTOOD, "which ")) for _, line in outcome.said)


def _bag(line: str) -> list[str]:
    return sorted(re.findall(r"[a-z0-9]+", line.lower()))

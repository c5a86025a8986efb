"""Composition: steps that succeeded one after the other become one episode of the whole goal.

A level is played without a reset, so the end of a try is the beginning of the next. "Pick up the blue key" and then
"unlock the blue door" are together an episode of "unlock the blue door" that begins without the key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tasks.goal_text import Goal, goal_of
from training.improve.collect import Try

MOST_STEPS = 3


@dataclass(frozen=True)
class Composition:
    """Tries that are one episode of `instruction`, oldest first. `worth`: that all of them succeeded, 0 to 1."""

    instruction: str
    steps: tuple[Try, ...]
    worth: float

    @property
    def name(self) -> str:
        """The name of its episode."""
        return f"{self.steps[0].id}-to-{self.steps[-1].id.rpartition('-')[2]}"


def compose(env: str, tries: Sequence[Try], worth: Mapping[str, float]) -> list[Composition]:
    """What follows from the tries of all levels, in the order of play. `worth`: of each try as a success, by its id.

    The whole goal is that of a plan whose steps all succeeded. Without a plan it is the last step's, where each step
    before it does something else with what the goal names: "face the red key", then "pick up the red key".
    """
    found: list[Composition] = []
    for _, group in groupby(tries, key=lambda one: one.level):
        level = list(group)
        for end in range(1, len(level)):
            steps, goal = _steps(env, level[: end + 1], worth)
            if len(steps) > 1:
                found.append(Composition(goal, steps, math.prod(worth[one.id] for one in steps)))
    return found


def shares(compositions: Sequence[Composition]) -> dict[str, float]:
    """What part of its worth a try has in each of the episodes that it is told in, by its id: it counts once in all."""
    counts: dict[str, int] = {}
    for one in compositions:
        for step in one.steps:
            counts[step.id] = counts.get(step.id, 1) + 1
    return {id_: 1.0 / count for id_, count in counts.items()}


def _steps(env: str, level: Sequence[Try], worth: Mapping[str, float]) -> tuple[tuple[Try, ...], str]:
    """The longest composition that ends with the last of these tries, and its goal."""
    last = level[-1]
    run = list(_successes(level, worth))
    if not run:
        return (), ""
    if last.whole:
        plan = run[-last.steps :]
        complete = [(one.whole, one.step) for one in plan] == [(last.whole, i + 1) for i in range(last.steps)]
        return (tuple(plan), last.whole) if complete else ((), "")
    goal = goal_of(env, last.instruction)
    steps = [last]
    for one in reversed(run[:-1]):
        if one.whole or len(steps) == MOST_STEPS or not _leads_to(goal_of(env, one.instruction), goal):
            break
        steps.insert(0, one)
    return tuple(steps), last.instruction


def _successes(level: Sequence[Try], worth: Mapping[str, float]) -> Iterator[Try]:
    """The tries at the end of a level that succeeded one after the other."""
    start = len(level)
    while start and worth.get(level[start - 1].id) and level[start - 1].ticks:
        start -= 1
    yield from level[start:]


def _leads_to(step: Goal, goal: Goal) -> bool:
    """Whether a step does something else with what a goal names."""
    return step.verb != goal.verb and bool(_named(step) & _named(goal))


def _named(goal: Goal) -> set[str]:
    return {*goal.text.split()} - {*goal.verb.replace("+", "_").split("_"), "to", "up", "then"}

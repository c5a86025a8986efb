"""`play_task`: the loop, told what a task says."""

from __future__ import annotations

from typing import Any

from agent.inference import Player
from agent.runtime import Goal, Outcome, play
from envs.world import World
from tasks import pictures, verify
from tasks.task import Task


def play_task(world: World, player: Player, task: Task, *, goal: Goal | None = None, **how: Any) -> Outcome:
    """Play a task once, judged by a fresh verifier where it has one; `how` goes to `agent.runtime.play`.

    `goal`: what the player is told instead of the task's instruction, by somebody who may change it.
    """
    verifier = verify.make(task.verifier)
    return play(
        world,
        player,
        goal or task.instruction,
        seed=task.seed,
        options=task.options,
        time_limit=task.time_limit,
        judge=verifier.update if verifier else None,
        picture=pictures.load(task.picture),
        **how,
    )

"""`play_task`: the loop, told what a task says."""

from __future__ import annotations

from typing import Any

from agent.episode import Outcome
from agent.loop.instruction import LiveInstruction
from agent.loop.players import Player
from agent.loop.runtime import play
from envs.world import World
from tasks import pictures, world_tasks
from tasks.task import Task


def play_task(
    world: World, player: Player, task: Task, *, instruction: LiveInstruction | None = None, **how: Any
) -> Outcome:
    """Play a task once, judged by a fresh verifier if the task has one; `how` goes to `agent.loop.runtime.play`.

    `instruction`: what the player is told instead of the task's own instruction; it may change during the episode.
    """
    verifier = world_tasks.verifier_of(task)
    return play(
        world,
        player,
        instruction or task.instruction,
        seed=task.seed,
        options=task.options,
        time_limit=task.time_limit,
        judge=verifier.update if verifier else None,
        picture=pictures.load(task.picture, task.world),
        **how,
    )

"""`play_task`: the loop, told what a task says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from agent.episode import Outcome, Verdict
from agent.loop.instruction import LiveInstruction
from agent.loop.players import Player
from agent.loop.runtime import play
from envs.errors import UserError
from envs.world import World
from tasks import pictures, world_tasks
from tasks.task import Task
from tasks.verifier import Verifier


class VerifierError(UserError):
    """A verifier does not find what it needs in the world's ground truth. `__cause__` is what it raised."""


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
        judge=None if verifier is None else partial(_judge, task, verifier),
        picture=pictures.load(task.picture, task.world),
        compass=world_tasks.of(task.world).compass(task) if task.compass else None,
        **how,
    )


def _judge(task: Task, verifier: Verifier, state: Any) -> Verdict | None:
    """What the verifier says. Raises VerifierError if it can't judge this world."""
    name = task.verifier.name if task.verifier is not None else type(verifier).__name__
    try:
        verdict = verifier.update(state)
    except UserError:
        raise
    except Exception as error:
        has = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise VerifierError(
            f"{task.id}: verifier {name!r} can't judge world {task.world!r}: {type(error).__name__}: {error}; "
            f"the world's ground truth is {has if state is not None else 'None: it tells nothing'}"
        ) from error
    if verdict is not None and not (hasattr(verdict, "success") and hasattr(verdict, "why")):
        raise VerifierError(
            f"{task.id}: verifier {name!r} gave {verdict!r:.80}; expected a tasks.verifier.Verdict or None"
        )
    return verdict

"""`agent record --human`: a person plays the tasks, on the live page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

from rich.console import Console

from agent.cli.compose import serve
from agent.cli.recording import Plan, Recorded
from agent.loop.players import InStep
from agent.policy import Context, Decision, PolicySpec
from agent.talk.conversation import Conversation
from envs.action import NEUTRAL
from tasks import pictures
from tasks.play import play_task
from training.data.episodes import Recorder


class _Nobody:
    """The policy of a run in which only a person plays. The loop never asks it for a decision."""

    spec = PolicySpec()

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return [Decision((NEUTRAL,)) for _ in contexts]


def record_by_hand(plan: Plan, todo: Sequence[int], port: int, screen: Console) -> Iterator[tuple[int, Recorded]]:
    """Let a person play the episodes with the numbers `todo` of a plan; yields the number and the result of each.

    The world waits until a person takes the controls. An episode ends with the verifier's verdict or with Stop. Raises
    KeyboardInterrupt on Ctrl+C.
    """
    world = plan.open()
    talk = Conversation(listens=False, by_hand=True)
    page = None
    try:
        page = serve(talk, plan.out, port, plan.world, world)
        screen.print(f"Page: {page.address}", markup=False)
        screen.print("Take over with Tab, then do what the goal says; Stop gives up.", markup=False)
        for index in todo:
            task = plan.task_in(world, index)
            screen.print(f"{index}: {task.instruction}", markup=False)
            talk.attach(world)
            talk.begin(task.instruction, pictures.load(task.picture, task.world))
            recorder = Recorder(plan.path(index), task=task, policy=plan.policy, quality=plan.quality)
            watchers = (talk, recorder, page.hub)
            outcome = play_task(
                world, InStep(_Nobody()), task, instruction=talk.instruction, control=talk, subscribers=watchers
            )
            if recorder.episode is not None and outcome.ticks == 0:
                shutil.rmtree(recorder.episode)  # nobody has played
            else:
                ticks, late = outcome.ticks, outcome.late
                yield index, Recorded(outcome.success, ticks, ticks, late=late, warnings=outcome.warnings)
            if outcome.interrupted:
                raise KeyboardInterrupt
            if talk.over:
                return
    finally:
        if page is not None:
            page.close()
        world.close()

"""A chat model on the loopback interface that knows ground truth and answers in the text form of actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.cli.compose import Clock, load_policy, make_player
from agent.episode import Outcome, Subscriber
from agent.loop.runtime import play
from envs.world import World
from tasks.task import Task
from tasks.verifier import Verdict
from tests.support.model_server import FakeServer, says, serving


def play_by_truth(
    world: World,
    decide: Callable[[Any], str],
    success: Callable[[Any], bool],
    *,
    clock: Clock = "lockstep",
    time_limit: int = 600,
    subscribers: tuple[Subscriber, ...] = (),
    options: dict[str, Any] | None = None,
    view: str | None = None,
) -> tuple[Outcome, FakeServer]:
    """Play `world` with a model that says `decide(state)`, until `success(state)`; the outcome, and what was asked.
    `view`: what the model sees, see agent.view.read_view."""
    seen: list[Any] = []

    def judge(state: Any) -> Verdict | None:
        seen[:] = [state]
        return Verdict(True, "it is so") if success(state) else None

    with serving(lambda handler: says(f"act: {decide(seen[0]) if seen else 'wait'}")(handler)) as server:
        policy = load_policy(f"openai:truth@{server.url}", view=view)
        player = make_player(policy, Task("t", "win", "test"), world, clock)
        try:
            outcome = play(
                world, player, "win", seed=0, judge=judge, time_limit=time_limit, subscribers=subscribers,
                observe="decision" if clock == "lockstep" else "tick", options=options,
            )  # fmt: skip
        finally:
            player.close()
    return outcome, server

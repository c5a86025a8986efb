"""What tests of conversations share: a policy that walks, and a person who speaks at certain ticks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from agent.episode import Outcome, Step, Subscriber
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from agent.talk.conversation import Conversation
from agent.view import View
from envs.action import Action
from tests.support.worlds import SquareWorld

FORWARD = Action(keys=frozenset({"KeyW"}))


class Walk:
    """Walks, and does at decision number N what `acts[N]` says."""

    spec = PolicySpec(View.stretched((24, 32), 3), history=3, chunk=4, tick_hz=50.0)

    def __init__(self, **acts: Decision) -> None:
        self.acts = acts
        self.contexts: list[Context] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        self.contexts += contexts
        number = len(self.contexts)
        return [self.acts.get(f"n{number}", Decision((FORWARD,) * 4, thought=f"thought {number}")) for _ in contexts]

    def answer(self, frames: Sequence[Any], questions: Sequence[str], memories: Sequence[str] = ("",)) -> list[str]:
        return [f"{frame.shape[0]} {memory or 'seen'}" for frame, memory in zip(frames, memories, strict=True)]

    def caption(self, frames: Sequence[Any]) -> list[str]:
        return ["red torch left and blue torch right and green torch right"]


class At(Subscriber):
    """Does something after a tick; keeps the steps."""

    def __init__(self, acts: dict[int, Callable[[], object]]) -> None:
        self.acts = acts
        self.steps: list[Step] = []

    def on_step(self, step: Step) -> None:
        self.steps.append(step)
        if step.tick in self.acts:
            self.acts[step.tick]()


def played(
    talk: Conversation,
    policy: Any,
    acts: dict[int, Callable[[], object]],
    *,
    world: Any = None,
    instruction: str = "go",
    picture: Any = None,
    **how: Any,
) -> tuple[Outcome, At]:
    """An episode under a conversation, in which `acts` are done after their ticks."""
    world = world or SquareWorld()
    at = At(acts)
    talk.attach(world)
    talk.begin(instruction, picture)
    player = how.pop("player", None) or InStep(policy)
    outcome = play(
        world, player, talk.instruction, subscribers=[talk, at], control=talk, end_on_done=True, seed=1, **how
    )  # fmt: skip
    assert not outcome.problems
    return outcome, at


def said(talk: Conversation, who: str) -> list[str]:
    return [line.text for line in talk.lines if line.who == who]


def wait_for(what: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)

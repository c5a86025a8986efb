"""`Voice`: answers questions for the agent while it plays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from agent.capabilities import KnowsNouns, SpeakingPolicy
from agent.episode import Frame
from agent.talk import intents


@dataclass(frozen=True)
class Asked:
    """A question to the agent, and what it may be answered from.

    `frames`: what the agent saw last, oldest first, uint8 RGB (H, W, 3); the last one is now. `deeds`: what was done,
    as sentences such as "i picked up the key", separated by " . ". `memory`: the memory of the episode, see
    agent/memory.py. `goals`: what the agent is to do, in order. `dialogue`: (who, what) lines. `who`: "user", or
    "player NAME" for somebody in the game. `controls`: what the keys of the world do.
    """

    question: str
    frames: tuple[Frame, ...]
    deeds: str = ""
    memory: str = ""
    goals: tuple[str, ...] = ()
    dialogue: tuple[tuple[str, str], ...] = ()
    who: str = "user"
    controls: str = ""


class Voice(Protocol):
    """Answers for the agent, from what it sees and what it did; never from ground truth. One that shrinks what it is
    shown says so by a `view`."""

    def answer(self, asked: Asked) -> Iterable[str]:
        """The pieces of an answer, as they are produced."""

    def describe(self, frame: Frame) -> str:
        """What is in a frame, uint8 RGB (H, W, 3), from left to right; "" if the voice can't tell."""

    def known(self, noun: str) -> str | None:
        """The plain name of the thing that a noun names, as `describe` says it; None for an unknown noun."""


class PolicyVoice:
    """A policy that answers questions and describes frames, such as `small`, as a Voice."""

    def __init__(self, policy: SpeakingPolicy) -> None:
        self._policy = policy
        self.view = replace(policy.spec.view, frames=1)  # a question is about one picture

    def answer(self, asked: Asked) -> Iterable[str]:
        question = asked.question
        if intents.is_of_view(question):
            return [self.describe(asked.frames[-1])]
        if not intents.is_past(question):
            return self._policy.answer([self.view.newest(asked.frames[-1])], [question])
        if not asked.deeds:  # a question that begins with a verb wants a yes or a no
            return ["no" if re.match(r"(did|have|has|was|were)\b", question) else "nothing yet"]
        return self._policy.answer([np.zeros_like(self.view.newest(asked.frames[-1]))], [question], [asked.deeds])

    def describe(self, frame: Frame) -> str:
        return self._policy.caption([self.view.newest(frame)])[0]

    def known(self, noun: str) -> str | None:
        return self._policy.known(noun) if isinstance(self._policy, KnowsNouns) else noun

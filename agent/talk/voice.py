"""`Voice`: answers questions for the agent while it plays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from agent.capabilities import KnowsNouns, SpeakingPolicy
from agent.episode import Frame
from agent.talk import intents


class Voice(Protocol):
    """Answers for the agent, from what it sees and what it did; never from ground truth. One that shrinks what it is
    shown says so by a `view`."""

    def answer(self, frame: Frame, question: str, deeds: str) -> Iterable[str]:
        """The pieces of an answer, as they are produced. `frame`: uint8 RGB (H, W, 3). `deeds`: what was done, as
        sentences such as "i picked up the key", separated by " . "."""

    def describe(self, frame: Frame) -> str:
        """What is in a frame, from left to right; "" if the voice can't tell."""

    def known(self, noun: str) -> str | None:
        """The plain name of the thing that a noun names, as `describe` says it; None for an unknown noun."""


class PolicyVoice:
    """A policy that answers questions and describes frames, such as `small`, as a Voice."""

    def __init__(self, policy: SpeakingPolicy) -> None:
        self._policy = policy
        self.view = policy.spec.view

    def answer(self, frame: Frame, question: str, deeds: str) -> Iterable[str]:
        if intents.is_of_view(question):
            return [self.describe(frame)]
        if not intents.is_past(question):
            return self._policy.answer([self.view.newest(frame)], [question])
        if not deeds:  # a question that begins with a verb wants a yes or a no
            return ["no" if re.match(r"(did|have|has|was|were)\b", question) else "nothing yet"]
        return self._policy.answer([np.zeros_like(self.view.newest(frame))], [question], [deeds])

    def describe(self, frame: Frame) -> str:
        return self._policy.caption([self.view.newest(frame)])[0]

    def known(self, noun: str) -> str | None:
        return self._policy.known(noun) if isinstance(self._policy, KnowsNouns) else noun


def voice_of(policy: object) -> PolicyVoice | None:
    """The voice of a policy that answers questions and describes frames; None for any other policy."""
    return PolicyVoice(policy) if isinstance(policy, SpeakingPolicy) else None

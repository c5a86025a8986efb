"""Who answers for the agent when it is asked something while it plays."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from agent import messages
from agent.runtime import Frame, fit


class Voice(Protocol):
    """Who answers for the agent, from what it sees and remembers; never from ground truth."""

    def answer(self, frame: Frame, question: str, memory: str) -> Iterable[str]:
        """The pieces of an answer, as they are produced."""

    def describe(self, frame: Frame) -> str:
        """What is in a frame, from left to right; "" where it can't tell."""

    def known(self, noun: str) -> str | None:
        """The plain name of what a noun names, as `describe` says it; None where it does not know the word."""


class PolicyVoice:
    """A policy that answers questions about a frame, such as `small`, as a Voice."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self._size: tuple[int, int] = policy.spec.frame_size

    def answer(self, frame: Frame, question: str, memory: str) -> Iterable[str]:
        if messages.is_of_view(question):
            return [self.describe(frame)]
        if not messages.is_past(question):
            return self._policy.answer([fit(frame, self._size)], [question])
        if not memory:  # yes or no where a verb comes first
            return ["no" if re.match(r"(did|have|has|was|were)\b", question) else "nothing yet"]
        return self._policy.answer([np.zeros((*self._size, 3), np.uint8)], [question], [memory])

    def describe(self, frame: Frame) -> str:
        return self._policy.caption([fit(frame, self._size)])[0]

    def known(self, noun: str) -> str | None:
        return self._policy.known(noun) if hasattr(self._policy, "known") else noun

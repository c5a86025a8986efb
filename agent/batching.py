"""`Batched`: many players, one batch. Threads that play at the same time share the model's passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from agent.policy import Context, Decision, Policy


@dataclass
class _Asked:
    contexts: Sequence[Context]
    decisions: list[Decision] | None = None
    error: BaseException | None = None


class Batched:
    """A policy for players in several threads: it decides for all of them in one pass.

    A player sits down with `seat()` for an episode. `act` waits until every seated player has asked; the last to ask
    computes for all. Small models cost nearly the same for one frame as for eight.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.spec = policy.spec
        self._turn = threading.Condition()
        self._seated = 0
        self._waiting: list[_Asked] = []

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Be one of those who are waited for."""
        with self._turn:
            self._seated += 1
        try:
            yield
        finally:
            with self._turn:
                self._seated -= 1
                self._answer_if_all_asked()  # the others may have been waiting for this player alone

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """What the policy decides; raises what it raises. Call it from a seated thread."""
        asked = _Asked(contexts)
        with self._turn:
            self._waiting.append(asked)
            self._answer_if_all_asked()
            self._turn.wait_for(lambda: asked.decisions is not None or asked.error is not None)
        if asked.error is not None:
            raise asked.error
        assert asked.decisions is not None
        return asked.decisions

    def _answer_if_all_asked(self) -> None:
        """Answer everybody, under the lock: while all wait there is nobody to hold up."""
        if not self._waiting or len(self._waiting) < self._seated:
            return
        waiting, self._waiting = self._waiting, []
        try:
            decisions = iter(self._policy.act([context for asked in waiting for context in asked.contexts]))
            for asked in waiting:
                asked.decisions = [next(decisions) for _ in asked.contexts]
        except BaseException as error:
            for asked in waiting:
                asked.error = error
        self._turn.notify_all()

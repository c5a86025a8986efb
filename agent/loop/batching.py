"""`Batched`: many players, one batch. Threads that play at the same time share the policy's forward passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent.policy import Context, Decision, Policy


@dataclass
class _Pending:
    """One player's request, and what came of it."""

    contexts: Sequence[Context]
    decisions: list[Decision] | None = None
    error: BaseException | None = None


@runtime_checkable
class BatchInvariant(Protocol):
    """A policy that can decide for many contexts so that they have no influence on each other."""

    def act_invariant(self, contexts: Sequence[Context]) -> list[Decision]:
        """Like `Policy.act`, but a decision is the same, bit for bit, whatever other contexts are in the batch and
        however many they are."""


class Batched:
    """A policy for players in several threads: it decides for all of them in one pass.

    A player takes a `seat()` for the length of an episode. `act` blocks until every seated player has asked; the last
    one computes the decisions of all. Small models take nearly the same time for one frame as for eight.

    The requests in a batch depend on how fast the episodes play. The decisions of a BatchInvariant policy don't depend
    on the batch. The decisions of another policy may, by rounding.
    """

    def __init__(self, policy: Policy) -> None:
        self._decide = policy.act_invariant if isinstance(policy, BatchInvariant) else policy.act
        self.spec = policy.spec
        self._all_asked = threading.Condition()
        self._seated = 0
        self._waiting: list[_Pending] = []

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Be one of the players that the others wait for."""
        with self._all_asked:
            self._seated += 1
        try:
            yield
        finally:
            with self._all_asked:
                self._seated -= 1
                self._decide_if_all_asked()  # the others may have waited for this player alone

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """What the policy decides; raises what the policy raises. Only seated threads may call it."""
        pending = _Pending(contexts)
        with self._all_asked:
            self._waiting.append(pending)
            self._decide_if_all_asked()
            self._all_asked.wait_for(lambda: pending.decisions is not None or pending.error is not None)
        if pending.error is not None:
            raise pending.error
        assert pending.decisions is not None
        return pending.decisions

    def _decide_if_all_asked(self) -> None:
        """Decide for all that wait. It keeps the lock meanwhile. All of them wait anyway, so this delays none."""
        if not self._waiting or len(self._waiting) < self._seated:
            return
        waiting, self._waiting = self._waiting, []
        try:
            decisions = iter(self._decide([context for pending in waiting for context in pending.contexts]))
            for pending in waiting:
                pending.decisions = [next(decisions) for _ in pending.contexts]
        except BaseException as error:
            for pending in waiting:
                pending.error = error
        self._all_asked.notify_all()

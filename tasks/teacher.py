"""Teachers: they say, for training, what to do in a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from agent import doom_codec as codec
from agent.sight import NOWHERE, bins
from tasks.task import Pair, Phrasing, Query, Task, VerifierSpec
from tasks.verifier import Verifier

DONE = codec.tokens_of(hand="done")


@dataclass(frozen=True)
class Advice:
    """What to do in one decision. `place`: (column, foot row) bins of what is wanted, NOWHERE if it is not in view.
    `done`: there is nothing left to do."""

    tokens: codec.Tokens
    place: tuple[int, int]
    thought: str = ""
    speech: str = ""
    done: bool = False


class Teacher(Protocol):
    """Advises in one episode of a task, whichever player plays it."""

    def advise(self, state: Any, thought: str | None = None) -> Advice:
        """What to do in a state; asked once in every decision. `thought`: the player's last thought, if the
        teacher itself does not play."""


class Goals(Protocol):
    """What can be asked for in a state of a world, and where things are in its picture.

    `VERBS`: what a Query's verb counts. `CLASSES`: the number of each (kind, colour).
    """

    @property
    def VERBS(self) -> Sequence[str]: ...  # noqa: N802
    @property
    def CLASSES(self) -> Mapping[Any, int]: ...  # noqa: N802

    def possible(self, state: Any) -> list[Query]:
        """All that can be asked for here, never a held-out pair."""

    def verbs_for(self, number: int) -> list[int]:
        """Verbs by which a class can be asked for in training; none for what is never named there."""

    def spec_of(self, state: Any, query: Query) -> VerifierSpec:
        """The verifier of a query in a level that holds its thing."""

    def words(self, rng: np.random.Generator, query: Query, phrasing: Phrasing = "training") -> str:
        """An instruction that means a query."""

    def sights(self, state: Any) -> dict[int, tuple[float, float]]:
        """Classes in view, with the column of the middle and the row of the foot, both in [0, 1]."""

    def wanted(self, state: Any, spec: VerifierSpec) -> int:
        """The class of what one has to look for now."""

    def choose(self, state: Any, spec: VerifierSpec) -> codec.Tokens:
        """What the expert does."""


class Coach:
    """The expert of one episode as a teacher: it says where the wanted thing is, and once the task is fulfilled it says
    so. It does not think aloud.

    `confirmation`: what is said first. Raises ValueError for a task without a verifier.
    """

    def __init__(self, task: Task, goals: Goals, verifier: Verifier | None, confirmation: str = "") -> None:
        if task.verifier is None or verifier is None:
            raise ValueError(f"task {task.id} has no verifier")
        self._spec, self._verifier, self._goals = task.verifier, verifier, goals
        self._done = False
        self._confirmation = confirmation

    def advise(self, state: Any, thought: str | None = None) -> Advice:
        """What to do in a state; to be asked once in every decision. What is thought makes no difference to it."""
        if not self._done:
            verdict = self._verifier.update(state)
            self._done = verdict is not None and verdict.success
        place = place_of(self._goals, state, self._spec, self._goals.sights(state))
        if self._done:
            return Advice(DONE, place, speech="done", done=True)
        speech, self._confirmation = self._confirmation, ""
        return Advice(self._goals.choose(state, self._spec), place, speech=speech)


def place_of(
    goals: Goals, state: Any, spec: VerifierSpec, sights: Mapping[int, tuple[float, float]]
) -> tuple[int, int]:
    """The bins of what has to be looked for now, NOWHERE if it is not in view."""
    at = sights.get(goals.wanted(state, spec))
    return NOWHERE if at is None else bins(at)


__all__ = ["DONE", "Advice", "Coach", "Goals", "Pair", "Teacher", "place_of"]

"""Competence: the chance that a player succeeds in a goal, told from its tries of goals that mean something alike.

Every try counts for every goal, by how near the two are in meaning: in what is to be done, and with what. So a goal
that was never tried has an estimate too: "fetch the blue jar" is told from "get the blue bottle".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from agent.small import word_meaning
from tasks.goal_text import Goal

# How fast a try counts less for another goal, by the distance of what is done and of what it is done with (1 - cosine).
_FAR = np.array([3.0, 2.0], np.float32)
_HALVED = 300.0  # tries after which a try counts half: players change
_PRIOR = 2.0  # tries that the mean of all tries weighs in an estimate, and one half in that mean

Vectors = npt.NDArray[np.float32]


class Competence:
    """`outcomes`: tries of a player, oldest first: the goal, and whether it was done."""

    def __init__(self, outcomes: Sequence[tuple[Goal, bool]]) -> None:
        self._goals = [goal for goal, _ in outcomes]
        self._done = np.array([done for _, done in outcomes], np.float32)
        self._mean = (float(self._done.sum()) + 0.5 * _PRIOR) / (len(outcomes) + _PRIOR)
        self._recent = 0.5 ** (np.arange(len(outcomes))[::-1] / _HALVED)
        self._meant = (
            np.stack([_meaning(goal) for goal in self._goals]) if outcomes else np.zeros((0, 2, 1), np.float32)
        )

    def of(self, goal: Goal) -> float:
        """The chance of success in a goal, 0 to 1; one half where nothing was tried."""
        if not self._goals:
            return self._mean
        cosines = (self._meant * _meaning(goal)).sum(axis=2)  # (N, 2)
        cosines[[one.verb == goal.verb for one in self._goals], 0] = 1.0
        cosines[[one.text == goal.text for one in self._goals]] = 1.0
        weights = self._recent * np.exp(-(1.0 - cosines) @ _FAR)
        return float((weights @ self._done + _PRIOR * self._mean) / (weights.sum() + _PRIOR))


@lru_cache(maxsize=4096)
def _meaning(goal: Goal) -> Vectors:
    """What is done and with what, (2, SIZE), each of length 1, or 0 where no word of it is known."""
    verb = re.split(r"[_+]", goal.verb)
    rest = [word for word in goal.text.split() if word not in verb]
    return np.stack([_unit(_unit(word_meaning.vectors(words)).sum(axis=0)) for words in (verb, rest)])


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)

"""Ranks from preferences: several episodes of a task, from which of two went better, by the Bradley-Terry model.

The chance that i beats j is 1 / (1 + exp(s_j - s_i)) for strengths s (Bradley and Terry 1952).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from rewards.reward import Footage
from rewards.score import Failure
from tasks.task import Task

Array = npt.NDArray[np.float64]
_PRIOR = 0.001  # of a normal distribution around 0: an episode that wins always has a finite strength


class Prefers(Protocol):
    """A judge that compares two episodes of a task, such as `rewards.model_judge.ModelJudge`."""

    def prefer(self, task: Task, a: Footage, b: Footage) -> float | Failure:
        """The chance that `a` went better than `b`."""
        ...


def rank(judge: Prefers, task: Task, episodes: Sequence[Footage]) -> list[float | Failure]:
    """The strength of each episode, higher is better, their mean is 0. All N (N - 1) / 2 pairs are compared.

    A comparison that fails is left out. An episode that no chain of comparisons connects to the others gets a Failure.
    """
    chances = np.full((len(episodes), len(episodes)), np.nan)
    failed: dict[int, Failure] = {}
    for i, j in combinations(range(len(episodes)), 2):
        chance = judge.prefer(task, episodes[i], episodes[j])
        if isinstance(chance, Failure):
            failed[i] = failed[j] = chance
        else:
            chances[i, j], chances[j, i] = chance, 1.0 - chance
    _, group = connected_components(~np.isnan(chances), directed=False)
    connected = np.flatnonzero(group == np.bincount(group).argmax()) if len(group) else group
    if len(connected) == 1 < len(episodes):  # no comparison came about
        connected = connected[:0]
    strengths = bradley_terry(chances[np.ix_(connected, connected)])
    known = dict(zip(connected.tolist(), strengths.tolist(), strict=True))
    return [known[i] if i in known else failed[i] for i in range(len(episodes))]


def bradley_terry(chances: npt.ArrayLike) -> Array:
    """The strengths (N,) that fit chances (N, N) best, with mean 0. `chances[i, j]`: that i beats j; NaN where that is
    not known. Raises ValueError for other shapes and values."""
    won = np.asarray(chances, np.float64)
    known = ~np.isnan(won)
    if won.ndim != 2 or won.shape[0] != won.shape[1] or np.any((won[known] < 0.0) | (won[known] > 1.0)):
        raise ValueError(f"expected chances from 0 to 1 in a square, got {won.shape}")
    known &= ~np.eye(len(won), dtype=bool)
    won = np.where(known, won, 0.0)

    def loss(s: Array) -> tuple[float, Array]:
        ahead = s[:, None] - s[None, :]
        cross = np.where(known, np.logaddexp(0.0, ahead) - won * ahead, 0.0).sum()
        slope = np.where(known, expit(ahead) - won, 0.0)
        return cross + _PRIOR * float(s @ s), slope.sum(1) - slope.sum(0) + 2.0 * _PRIOR * s

    if not len(won):
        return np.zeros(0)
    found: Array = minimize(loss, np.zeros(len(won)), jac=True, method="L-BFGS-B").x
    centred: Array = found - found.mean()
    return centred

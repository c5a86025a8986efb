"""Advantages: how much better decisions went than expected. Pure functions on arrays.

`gae` compares with a value function, "High-Dimensional Continuous Control Using Generalized Advantage Estimation"
(arXiv 1506.02438). `group_relative` compares with other episodes from the same start, GRPO (arXiv 2402.03300).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
ALIKE = 1e-6  # returns that are closer than this are the same


def gae(
    rewards: npt.ArrayLike, values: npt.ArrayLike, after: float, *, gamma: float, trace: float
) -> tuple[Floats, Floats]:
    """Advantages (T,) and the returns (T,) that the values should have been, of one episode.

    `rewards` (T,): of each decision. `values` (T,): expected before each decision. `after`: the value of what is seen
    after the last one, for an episode that was cut short by a time limit; 0 for one that ended. `gamma`: the discount.
    `trace`: lambda, 0 for the next value alone, 1 for the whole rest of the episode. Raises ValueError.
    """
    paid, expected = np.asarray(rewards, np.float64), np.asarray(values, np.float64)
    if paid.shape != expected.shape or paid.ndim != 1:
        raise ValueError(f"expected as many values as rewards, got {expected.shape} and {paid.shape}")
    errors = paid + gamma * np.append(expected[1:], after) - expected
    advantages = np.zeros_like(errors)
    total = 0.0
    for at in range(len(errors) - 1, -1, -1):
        total = errors[at] + gamma * trace * total
        advantages[at] = total
    return advantages, advantages + expected


def group_relative(returns: npt.ArrayLike, groups: Sequence[int], *, scaled: bool = True) -> Floats:
    """The advantage (N,) of each of N episodes over the mean of its group; NaN where a group's returns are all alike,
    as those of a single episode are: such a group teaches nothing.

    `groups`: the number of each episode's group. `scaled`: divide by the group's standard deviation.
    """
    paid, numbers = np.asarray(returns, np.float64), np.asarray(groups)
    advantages = np.full(len(paid), np.nan)
    for number in np.unique(numbers):
        members = numbers == number
        spread = paid[members].std()
        if spread > ALIKE:
            advantages[members] = (paid[members] - paid[members].mean()) / (spread if scaled else 1.0)
    return advantages


def normalised(advantages: Floats) -> Floats:
    """Advantages with mean 0 and standard deviation 1; of no spread, with mean 0."""
    centred: Floats = advantages - advantages.mean()
    spread = centred.std()
    return centred / spread if spread > ALIKE else centred


def within_groups(returns: npt.ArrayLike, groups: Sequence[int]) -> tuple[float, int, int]:
    """The mean variance of returns within groups, how many groups have some, and how many groups there are."""
    paid, numbers = np.asarray(returns, np.float64), np.asarray(groups)
    spreads = [float(paid[numbers == number].var()) for number in np.unique(numbers)]
    if not spreads:
        return 0.0, 0, 0
    return float(np.mean(spreads)), sum(spread > ALIKE**2 for spread in spreads), len(spreads)

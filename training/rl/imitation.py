"""Imitation of the policy's own decisions, weighted by how well they went: the alternative to a policy gradient.

`exponential`: advantage-weighted regression (arXiv 1910.00177), exp(A / beta), clipped. `top_share`: the best episodes
count, and the others don't (filtered behaviour cloning).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from torch import Tensor

from training.rl.advantages import ALIKE, Floats


def exponential(advantages: npt.ArrayLike, beta: float, largest: float) -> Floats:
    """The weight min(exp(A / `beta`), `largest`) of each advantage, of the same shape."""
    scaled = np.asarray(advantages, np.float64) / beta
    return np.exp(np.minimum(scaled, math.log(largest)))


def top_share(returns: npt.ArrayLike, share: float) -> npt.NDArray[np.bool_]:
    """Which of N episodes are the best: at most the `share` of them, rounded up, of the highest returns; of those that
    are equally good, the first ones. None that is as bad as the worst is among them, so that what always goes the same
    way teaches nothing."""
    paid = np.asarray(returns, np.float64)
    chosen = np.zeros(len(paid), bool)
    if len(paid):
        chosen[np.argsort(-paid, kind="stable")[: math.ceil(share * len(paid))]] = True
        chosen &= paid > paid.min() + ALIKE
    return chosen


def imitation_loss(found: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Minus the weighted mean log-probability of a token. `found` (B, L): log-probabilities. `weights` (B,): of the
    decisions; 0 in all, where none has a weight."""
    return -(found * mask * weights[:, None]).sum() / (mask * weights[:, None]).sum().clamp(min=1e-6)

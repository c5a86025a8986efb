"""Doubt: how far the successes that a reward sees are true, by verb, told without ground truth.

A reward calls the share q of the tries of a verb a success. Its share of false positives is fp, of false negatives fn,
and pi is the true success:

    q = pi (1 - fn) + (1 - pi) fp        precision = pi (1 - fn) / q

fp is measured on controls: episodes that are held against an instruction which they almost surely don't fulfil, such as
the same episode played backwards. fn is not measured; it has a wide prior. A person's answers tell of the precision
itself. All this evidence goes into one posterior over (pi, fp, fn), computed on a grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_FALSE_POSITIVE = (1.0, 4.0)  # Beta priors: a reward errs, and more often on what it was never trained on
_FALSE_NEGATIVE = (2.0, 4.0)
TRIED = (1.0, 2.0)  # of pi: what a player sets itself fails more often than not
UNTRIED = (1.0, 9.0)  # of pi, for what nobody tried
_CAUTION = 0.25  # the quantile of the precision's posterior that is trusted
_END = 0.025  # what a 95 % interval leaves out at either end


@dataclass(frozen=True)
class Evidence:
    """Counts of one verb: `tried` episodes, of which the reward `claimed` some as successes; `controls`, of which it
    claimed `false_claims`; and how many of the claims a person called true (`yes`) and false (`no`)."""

    tried: int = 0
    claimed: int = 0
    controls: int = 0
    false_claims: int = 0
    yes: int = 0
    no: int = 0

    def __add__(self, other: Evidence) -> Evidence:
        return Evidence(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))

    def to_json(self) -> dict[str, int]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, int]) -> Evidence:
        return cls(**data)


@dataclass(frozen=True)
class Belief:
    """What the evidence of a verb comes to.

    `success`: the expected share of true successes. `precision`: the expected share of claims that are true, with the
    95 % interval `low` to `high`. `trust`: what a claim is worth as an example to learn from, the lower quartile of the
    precision. `false_positive` and `false_negative`: the reward's expected shares of errors.
    """

    success: float
    precision: float
    low: float
    high: float
    trust: float
    false_positive: float
    false_negative: float

    def to_json(self) -> dict[str, Any]:
        return {name: round(value, 4) for name, value in asdict(self).items()}


def believe(evidence: Evidence, prior: tuple[float, float] = TRIED) -> Belief:
    """The posterior of a verb's evidence. `prior`: of pi, of a Beta distribution. Rewards that call failures a success
    more often than successes are left out: nothing could be told of them."""
    pi = np.linspace(0.005, 0.995, 100)[:, None, None]
    fp = np.linspace(0.005, 0.995, 100)[None, :, None]
    fn = np.linspace(0.025, 0.975, 20)[None, None, :]
    claims = pi * (1.0 - fn) + (1.0 - pi) * fp
    precision = pi * (1.0 - fn) / claims
    log = (
        _beta(fp, evidence.false_claims, evidence.controls - evidence.false_claims, _FALSE_POSITIVE)
        + _beta(fn, 0, 0, _FALSE_NEGATIVE)
        + _beta(pi, 0, 0, prior)
        + _beta(claims, evidence.claimed, evidence.tried - evidence.claimed)
        + _beta(precision, evidence.yes, evidence.no)
    )
    log = np.where(fp < 1.0 - fn, log, -np.inf)
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    low, trust, high = _quantiles(precision, weights, (_END, _CAUTION, 1.0 - _END))
    return Belief(
        success=float((weights * pi).sum()),
        precision=float((weights * precision).sum()),
        low=low,
        high=high,
        trust=trust,
        false_positive=float((weights * fp).sum()),
        false_negative=float((weights * fn).sum()),
    )


Grid = npt.NDArray[np.float64]


def _beta(chance: Grid, hits: int, misses: int, prior: tuple[float, float] = (1.0, 1.0)) -> Grid:
    """The logarithm of a Beta density, up to a constant, after some hits and misses."""
    chance = np.clip(chance, 1e-6, 1.0 - 1e-6)
    result: Grid = (hits + prior[0] - 1.0) * np.log(chance) + (misses + prior[1] - 1.0) * np.log1p(-chance)
    return result


def _quantiles(values: Grid, weights: Grid, shares: tuple[float, ...]) -> list[float]:
    order = np.argsort(values, axis=None)
    sums = np.cumsum(weights.ravel()[order])
    sorted_values = values.ravel()[order]
    return [float(sorted_values[min(len(order) - 1, int(np.searchsorted(sums, share)))]) for share in shares]

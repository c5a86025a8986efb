"""Statistics of evaluations: proportions with Wilson intervals, AUROC, reliability; and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 10  # of `reliability`
_RESAMPLES = 1000


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a proportion; (0, 1) where there is nothing."""
    if n == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest  # it takes a second to import, and processes that only play don't need it

    interval = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def proportion(count: int, n: int, *, name: str = "rate", of: str = "episodes") -> dict[str, Any]:
    """A proportion as JSON: `name`, None where n is 0; its 95 % Wilson interval "ci"; and n, called `of`."""
    return {name: count / n if n else None, "ci": list(wilson(count, n)), of: n}


def percent(
    share: float | None, ci: Sequence[float] | None = None, *, digits: int = 1, ci_digits: int = 0, unit: str = ""
) -> str:
    """A share with its interval, in percent: "62.0 (51–72)"; "-" where it is not known. `unit` follows the number."""
    if share is None:
        return "-"
    interval = f" ({100 * ci[0]:.{ci_digits}f}–{100 * ci[1]:.{ci_digits}f})" if ci else ""
    return f"{100 * share:.{digits}f}{unit}{interval}"


def auroc(values: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """The chance that a success is valued above a failure, ties half (Mann and Whitney); NaN without one of both."""
    values, truth = np.asarray(values, np.float64), np.asarray(truth, bool)
    good, bad = int(truth.sum()), int((~truth).sum())
    if not good or not bad:
        return float("nan")
    from scipy.stats import rankdata

    return float((rankdata(values)[truth].sum() - good * (good + 1) / 2) / (good * bad))


def auroc_interval(values: npt.ArrayLike, truth: npt.ArrayLike, seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of `auroc` by bootstrap, successes and failures drawn apart."""
    values, truth = np.asarray(values, np.float64), np.asarray(truth, bool)
    good, bad = values[truth], values[~truth]
    if not len(good) or not len(bad):
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    labels = np.arange(len(values)) < len(good)
    drawn = [
        auroc(np.concatenate([rng.choice(good, len(good)), rng.choice(bad, len(bad))]), labels)
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def rank_correlation(told: npt.ArrayLike, truth: npt.ArrayLike) -> dict[str, Any]:
    """Spearman's rank correlation of two rows of numbers with its 95 % interval, by Fisher's transformation: 0 where
    one of them is always the same, and no interval where there are fewer than four."""
    from scipy.stats import pearsonr, rankdata

    told, truth = np.asarray(told, np.float64), np.asarray(truth, np.float64)
    if len(told) < 2 or np.ptp(told) == 0.0 or np.ptp(truth) == 0.0:
        return {"rank_correlation": 0.0, "ci": [-1.0, 1.0]}
    found = pearsonr(rankdata(told), rankdata(truth))
    low, high = found.confidence_interval() if len(told) > 3 else (-1.0, 1.0)
    return {"rank_correlation": float(found.statistic), "ci": [float(low), float(high)]}


def reliability(chances: npt.ArrayLike, truth: npt.ArrayLike) -> list[dict[str, float]]:
    """Episodes in BINS equal ranges of the chance they were given: mean `chance`, `share` of successes, its 95 %
    `low` and `high`, `episodes`. Empty ranges are left out."""
    chances, truth = np.asarray(chances, np.float64), np.asarray(truth, bool)
    which = np.minimum((chances * BINS).astype(int), BINS - 1)
    rows = []
    for number in np.unique(which):
        mine = which == number
        low, high = wilson(int(truth[mine].sum()), int(mine.sum()))
        rows.append(
            {
                "chance": float(chances[mine].mean()),
                "share": float(truth[mine].mean()),
                "low": low,
                "high": high,
                "episodes": int(mine.sum()),
            }
        )
    return rows


def calibration_error(chances: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Expected calibration error: the mean distance between chance and share of successes over `reliability`."""
    rows = reliability(chances, truth)
    total = sum(row["episodes"] for row in rows)
    return sum(row["episodes"] * abs(row["chance"] - row["share"]) for row in rows) / total

"""How far a reward and the truth, or two rewards, agree on the same episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rewards.score import Score
from training.evaluation.statistics import auroc, auroc_interval, proportion


def share(count: int, n: int) -> dict[str, Any]:
    """A proportion as JSON: `count` of `n`, its `rate` (None where n is 0) and its 95 % Wilson interval `ci`."""
    return {"count": count, **proportion(count, n, of="n")}


def agreement(scores: Sequence[Score], truth: Sequence[bool]) -> dict[str, Any]:
    """AUROC of the scores with its 95 % bootstrap interval (None without both successes and failures), the shares of
    false positives among failures and of false negatives among successes, and the share of successes, as JSON."""
    values = [score.value for score in scores]
    bad = [score for score, right in zip(scores, truth, strict=True) if not right]
    good = [score for score, right in zip(scores, truth, strict=True) if right]
    area = auroc(values, truth)
    return {
        "true_success": share(len(good), len(scores)),
        "auroc": area if math.isfinite(area) else None,
        "auroc_ci": list(auroc_interval(values, truth)) if math.isfinite(area) else None,
        "false_positive": share(sum(score.success for score in bad), len(bad)),
        "false_negative": share(sum(not score.success for score in good), len(good)),
    }


def agreement_of_two(a: Sequence[bool], b: Sequence[bool], truth: Sequence[bool]) -> dict[str, Any]:
    """How far two rewards agree on N episodes, as JSON: the share on which both say the same, Cohen's kappa (None where
    one of them always says the same), and of the failures those that both call a success, of the successes those that
    both miss."""
    same = share(sum(x == y for x, y in zip(a, b, strict=True)), len(a))
    chances = [sum(said) / max(1, len(said)) for said in (a, b)]
    by_chance = chances[0] * chances[1] + (1.0 - chances[0]) * (1.0 - chances[1])
    varied = len(a) and by_chance < 1.0
    both = [(x and y, not (x or y), true) for x, y, true in zip(a, b, truth, strict=True)]
    return {
        "same": same,
        "kappa": (same["rate"] - by_chance) / (1.0 - by_chance) if varied else None,
        "false_positive": share(sum(yes for yes, _, true in both if not true), sum(not true for *_, true in both)),
        "false_negative": share(sum(no for _, no, true in both if true), sum(true for *_, true in both)),
    }

"""How good a reward is: fitted on one half of the cases, measured on the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.errors import UserError
from rewards.calibrated import LIMIT, Measured
from rewards.calibration import Calibration, fit
from rewards.reward import Reward, score_pairs
from rewards.score import Failure, Score
from training.evaluation.agreement import agreement, agreement_of_two, share
from training.evaluation.reward_cases import KINDS, Case
from training.evaluation.statistics import auroc, auroc_interval, calibration_error, reliability

BATCH = 16  # cases that are scored together
_POINTS = 101  # of a curve, at most
_SAFETY = 0.6  # of the limit: the share of false positives that a threshold is fitted to

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scored:
    """A case and what the reward says of it."""

    case: Case
    result: Score | Failure


def score_cases(
    reward: Reward, cases: Sequence[Case], on_done: Callable[[int], None] = lambda done: None
) -> list[Scored]:
    """What a reward says of the cases; it sees pixels and instructions alone."""
    scored: list[Scored] = []
    for start in range(0, len(cases), BATCH):
        batch = cases[start : start + BATCH]
        results = score_pairs(reward, [(case.task, case) for case in batch])
        scored += [Scored(case, result) for case, result in zip(batch, results, strict=True)]
        on_done(len(scored))
    return scored


def calibrate(reward: str, scored: Sequence[Scored], limit: float = LIMIT) -> tuple[Measured, dict[str, Any]]:
    """Fit a threshold and a curve on one half of the cases, and measure them on the other half.

    The threshold is the least at which no more than 0.6 times `limit` of the failures pass, so that there is room on
    other episodes. Returns what a reward is stored with, and a report as JSON. Raises UserError where one of the halves
    lacks successes or failures.
    """
    fitted = [one for one in scored if not one.case.held_back]
    report = [one for one in scored if one.case.held_back]
    for name, half in (("calibration", fitted), ("report", report)):
        truth = {one.case.success for one in half if isinstance(one.result, Score)}
        if truth != {True, False}:
            raise UserError(
                f"the {name} half has no scored {'success' if True not in truth else 'failure'}: record more episodes, "
                "such as with agent record --policy expert"
            )
    values, truth_of = _values(fitted)
    calibration = fit(values, truth_of, _SAFETY * limit)
    figures = measure(calibration, report)
    worlds = tuple(sorted({one.case.task.world for one in scored}))
    measured = Measured(reward, calibration, figures["false_positive"], figures["false_negative"], limit, worlds)
    groups = {
        "by_verb": {verb: [one for one in report if one.case.task.verb == verb] for verb in _verbs(report)},
        "by_kind": {kind: [one for one in report if one.case.kind == kind] for kind in KINDS},
    }
    tables = {
        name: {group: _counts(calibration, mine) for group, mine in of.items() if mine} for name, of in groups.items()
    }
    return measured, {"reward": reward, "fitted": len(fitted), "limit": limit, **figures, **tables}


def beside(calibration: Calibration, scored: Sequence[Scored], other: Sequence[Scored]) -> dict[str, Any]:
    """How two rewards do on the same cases, those that both of them score, and how far they agree: see
    agreement_of_two.

    "this": the first one at a threshold; "as it is": the first one as it says itself; "other": the other one, as it
    says itself. Each as training.evaluation.agreement.agreement, and the first two with their agreement with the other.
    """
    pairs = [
        (one.result, two.result, one.case.success)
        for one, two in zip(scored, other, strict=True)
        if isinstance(one.result, Score) and isinstance(two.result, Score)
    ]
    truth = [true for *_, true in pairs]
    as_it_is, theirs = [one for one, *_ in pairs], [two for _, two, _ in pairs]
    fitted = [replace(one, success=one.value >= calibration.threshold) for one in as_it_is]
    mine = {
        name: {
            **agreement(scores, truth),
            "agreement": agreement_of_two([a.success for a in scores], [b.success for b in theirs], truth),
        }
        for name, scores in (("this", fitted), ("as it is", as_it_is))
    }
    return {**mine, "other": agreement(theirs, truth)}


def measure(calibration: Calibration, scored: Sequence[Scored]) -> dict[str, Any]:
    """AUROC and average precision with curves, errors at the threshold with 95 % Wilson intervals, reliability and
    expected calibration error."""
    values, truth = _values(scored)
    chances = calibration.chance(values)
    area = auroc(values, truth)
    precision, recall = precision_recall(values, truth)
    return {
        **_counts(calibration, scored),
        "threshold": calibration.threshold,
        "auroc": area if math.isfinite(area) else None,
        "auroc_ci": list(auroc_interval(values, truth)),
        "average_precision": average_precision(values, truth),
        "roc": _thinned(*roc(values, truth)),
        "precision_recall": _thinned(recall, precision),
        "reliability": reliability(chances, truth),
        "calibration_error": calibration_error(chances, truth),
        "calibration_error_raw": calibration_error(values / 100.0, truth),
    }


def roc(values: Floats, truth: Bools) -> tuple[Floats, Floats]:
    """Shares of failures and of successes that pass, for every threshold from the highest down; both begin at 0."""
    good, bad = _passed(values, truth)
    return np.r_[0.0, bad / max(1, bad[-1])], np.r_[0.0, good / max(1, good[-1])]


def precision_recall(values: Floats, truth: Bools) -> tuple[Floats, Floats]:
    """Precision and recall for every threshold from the highest down."""
    good, bad = _passed(values, truth)
    return good / (good + bad), good / max(1, good[-1])


def average_precision(values: Floats, truth: Bools) -> float:
    """The area under precision over recall, as a sum over its steps."""
    precision, recall = precision_recall(values, truth)
    return float((np.diff(np.r_[0.0, recall]) * precision).sum())


def _passed(values: Floats, truth: Bools) -> tuple[Floats, Floats]:
    """How many successes and failures have at least each value, from the highest value down."""
    points, which = np.unique(-values, return_inverse=True)
    good = np.bincount(which, weights=truth, minlength=len(points)).cumsum()
    bad = np.bincount(which, weights=~truth, minlength=len(points)).cumsum()
    return good, bad


def worst(calibration: Calibration, scored: Sequence[Scored], count: int) -> list[Scored]:
    """The mistakes that the reward is most sure of, false positives and false negatives in turn."""
    known = [one for one in scored if isinstance(one.result, Score)]
    wrong = [one for one in known if (_value(one) >= calibration.threshold) != one.case.success]
    positives = sorted((one for one in wrong if not one.case.success), key=lambda one: -_value(one))
    negatives = sorted((one for one in wrong if one.case.success), key=_value)
    mixed = [one for pair in zip(positives, negatives, strict=False) for one in pair]
    rest = positives[len(negatives) :] + negatives[len(positives) :]
    return [*mixed, *rest][:count]


def _value(one: Scored) -> float:
    assert isinstance(one.result, Score)
    return one.result.value


def _values(scored: Sequence[Scored]) -> tuple[Floats, Bools]:
    known = [one for one in scored if isinstance(one.result, Score)]
    return np.array([_value(one) for one in known], np.float64), np.array([one.case.success for one in known], bool)


def _counts(calibration: Calibration, scored: Sequence[Scored]) -> dict[str, Any]:
    """How many cases there are, how many got no score, and the errors at the threshold."""
    values, truth = _values(scored)
    passed = values >= calibration.threshold
    return {
        "cases": len(scored),
        "unscored": len(scored) - len(values),
        "false_positive": share(int(passed[~truth].sum()), int((~truth).sum())),
        "false_negative": share(int((~passed[truth]).sum()), int(truth.sum())),
    }


def _verbs(scored: Sequence[Scored]) -> list[str]:
    return sorted({one.case.task.verb for one in scored})


def _thinned(x: Floats, y: Floats) -> list[list[float]]:
    """A curve's points, some of them where there are many; the ends stay."""
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), _POINTS)).round().astype(int))
    return [[float(x[i]), float(y[i])] for i in chosen]

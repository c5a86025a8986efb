"""The audit: what a reward says of the tries, against ground truth. Nothing learns from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation.statistics import proportion
from training.improve.scoring import Judgement

_LEAST_ROUNDS = 4  # of a third of practice, so that its mean tells something


def audit(judgements: Mapping[str, Judgement], truth: Mapping[str, bool | None]) -> dict[str, Any]:
    """Claimed and true success of what was tried, where both are known; by verb with the reward's precision.

    `gap`: points by which the reward is above the truth. None if nothing is known.
    """
    rows = [
        (one.verb, one.claimed, bool(truth[id_]))
        for id_, one in judgements.items()
        if one.claimed is not None and truth.get(id_) is not None
    ]
    claimed = [one.claimed for one in judgements.values() if one.claimed is not None]
    by_verb = {verb: _agreement([row for row in rows if row[0] == verb]) for verb in sorted({row[0] for row in rows})}
    whole = _agreement(rows)
    return {
        "judged": _rate(claimed),
        "true": whole["true"],
        "gap": None if not rows else 100.0 * (whole["judged"]["rate"] - whole["true"]["rate"]),
        "precision": whole["precision"],
        "by_verb": by_verb,
    }


def audit_hindsight(
    told: Mapping[str, str], truth: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:  # fmt: skip
    """How many of the tries that are told as another instruction did what that instruction asks for. `told`: the
    instruction by the try's id. `truth`: rows of the audit."""
    known = {row["id"]: row.get("others", {}) for row in truth}
    return _rate([known[id_][text] for id_, text in told.items() if text in known.get(id_, {})])


def _agreement(rows: Sequence[tuple[str, bool, bool]]) -> dict[str, Any]:
    return {
        "judged": _rate([judged for _, judged, _ in rows]),
        "true": _rate([true for _, _, true in rows]),
        "precision": _rate([true for _, judged, true in rows if judged]),
    }


def _rate(outcomes: Sequence[bool]) -> dict[str, Any]:
    return proportion(sum(outcomes), len(outcomes), of="n")


def gap_growth(practice: Sequence[Mapping[str, float]]) -> float:
    """By how many points judged and true success part further in the last third of the rounds of practice than in the
    first third; 0 where there are too few to tell. `practice`: rounds with "judged", and "true" where it is known."""
    gaps = [100.0 * (one["judged"] - one["true"]) for one in practice if "judged" in one and "true" in one]
    third = len(gaps) // 3
    return sum(gaps[-third:]) / third - sum(gaps[:third]) / third if third >= _LEAST_ROUNDS else 0.0

"""How well a model corrects itself: success of first and second attempts, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from training.evaluation.statistics import proportion
from training.rl.self_correction import Ask, Attempt, Exercise, P, Pair, Q, attempt_twice

_Z = 1.96  # of a 95 % interval


@dataclass(frozen=True)
class Counts:
    """Pairs by the verdicts of their attempts: `wrong_right` are those that a second attempt corrected."""

    wrong_wrong: int = 0
    wrong_right: int = 0
    right_wrong: int = 0
    right_right: int = 0

    @property
    def n(self) -> int:
        return self.wrong_wrong + self.wrong_right + self.right_wrong + self.right_right

    @property
    def first(self) -> float:
        """The share of first attempts that are right; NaN of none."""
        return (self.right_wrong + self.right_right) / self.n if self.n else float("nan")

    @property
    def second(self) -> float:
        """The share of second attempts that are right; NaN of none."""
        return (self.wrong_right + self.right_right) / self.n if self.n else float("nan")

    @property
    def delta(self) -> float:
        """How much more often the second attempt is right."""
        return self.second - self.first

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(self.as_tuple(), other.as_tuple(), strict=True)))

    def as_tuple(self) -> tuple[int, int, int, int]:
        return self.wrong_wrong, self.wrong_right, self.right_wrong, self.right_right

    def to_json(self) -> dict[str, Any]:
        """Shares with 95 % intervals: t1, t2, delta, and of all pairs those that turned right or wrong."""
        return {
            "t1": proportion(self.right_wrong + self.right_right, self.n, of="pairs"),
            "t2": proportion(self.wrong_right + self.right_right, self.n, of="pairs"),
            "delta": {"rate": self.delta, "ci": list(delta_interval(self)), "pairs": self.n},
            "wrong to right": proportion(self.wrong_right, self.n, of="pairs"),
            "right to wrong": proportion(self.right_wrong, self.n, of="pairs"),
            "counts": list(self.as_tuple()),
        }


def delta_interval(counts: Counts) -> tuple[float, float]:
    """The 95 % interval of delta, a difference of paired proportions: Agresti and Min (2005), which is Wald's with half
    a pair added to each count."""
    n = counts.n + 2.0
    up, down = counts.wrong_right + 0.5, counts.right_wrong + 0.5
    middle = (up - down) / n
    half = _Z * sqrt(max(0.0, up + down - (up - down) ** 2 / n)) / n
    return middle - half, middle + half


def counts_of(pairs: Sequence[Pair[Any]]) -> Counts:
    """The counts of the pairs that ground truth has a verdict on."""
    told = [(pair.first.solved, pair.second.solved) for pair in pairs]
    wanted = ((False, False), (False, True), (True, False), (True, True))
    return Counts(*(sum(one == outcome for one in told) for outcome in wanted))


def measure(exercise: Exercise[Q, P], ask: Ask[P], problems: Sequence[Q]) -> Counts:
    """Two attempts at each problem."""
    return counts_of(attempt_twice(exercise, ask, problems, range(len(problems))))


def first_attempts(exercise: Exercise[Q, P], ask: Ask[P], problems: Sequence[Q]) -> list[tuple[Q, Attempt[P]]]:
    """The problems with their first attempts, for `measure_after`."""
    tried = exercise.attempt(ask, problems)
    return [(problem, one) for problem, one in zip(problems, tried, strict=True) if one is not None]


def measure_after(exercise: Exercise[Q, P], ask: Ask[P], firsts: Sequence[tuple[Q, Attempt[P]]]) -> Counts:
    """Second attempts after given first ones, such as those of the parent: models are compared at the same t1."""
    seconds = exercise.attempt(ask, [problem for problem, _ in firsts], [one for _, one in firsts])
    return counts_of([Pair(0, first, second) for (_, first), second in zip(firsts, seconds, strict=True) if second])


def measure_redrawn(
    exercise: Exercise[Q, P], ask: Ask[P], firsts: Sequence[tuple[Q, Attempt[P]]], *, best: bool
) -> Counts:
    """Plain retries, at the cost of a second attempt: another first attempt, which knows nothing of the one before.
    `best`: the better one of the two by the reward counts, the newer one where they are paid alike."""
    redrawn = exercise.attempt(ask, [problem for problem, _ in firsts])
    pairs = []
    for (_, first), second in zip(firsts, redrawn, strict=True):
        if second is not None:
            kept = first if best and first.reward > second.reward else second
            pairs.append(Pair(0, first, kept))
    return counts_of(pairs)

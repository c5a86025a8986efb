"""How far a reward and the truth agree."""

from __future__ import annotations

import pytest

from rewards.score import Score
from training.evaluation.agreement import agreement, agreement_of_two


def scores(*values: float) -> list[Score]:
    return [Score(value, value >= 50.0, "", "x") for value in values]


def test_errors_are_counted_on_their_own_side() -> None:
    found = agreement(scores(90.0, 80.0, 20.0, 70.0, 10.0), [True, True, True, False, False])
    assert (found["false_positive"]["count"], found["false_positive"]["n"]) == (1, 2)
    assert (found["false_negative"]["count"], found["false_negative"]["n"]) == (1, 3)
    assert found["true_success"]["rate"] == 0.6
    assert found["auroc"] == 5 / 6
    low, high = found["false_negative"]["ci"]
    assert low < 1 / 3 < high


def test_what_is_not_known_is_none() -> None:
    found = agreement(scores(90.0, 10.0), [True, True])
    assert found["auroc"] is None
    assert found["auroc_ci"] is None
    assert found["false_positive"]["rate"] is None
    assert found["false_negative"]["rate"] == 0.5


def test_two_rewards_agree_beyond_chance() -> None:
    truth = [True] * 4 + [False] * 4
    a = [True, True, True, False, True, False, False, False]
    b = [True, True, False, False, True, False, False, False]
    found = agreement_of_two(a, b, truth)
    assert (found["same"]["count"], found["same"]["n"]) == (7, 8)
    # They say yes 4 and 3 times of 8: by chance they agree on 0.5 * 0.375 + 0.5 * 0.625 = 0.5.
    assert found["kappa"] == pytest.approx((7 / 8 - 0.5) / 0.5)
    assert (found["false_positive"]["count"], found["false_positive"]["n"]) == (1, 4)
    assert (found["false_negative"]["count"], found["false_negative"]["n"]) == (1, 4)
    assert agreement_of_two([True] * 3, [True] * 3, [True] * 3)["kappa"] is None
    assert agreement_of_two([], [], [])["same"]["rate"] is None

"""Advantages: exact numbers, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.rl.advantages import gae, group_relative, normalised, within_groups
from training.rl.imitation import exponential, top_share


def test_gae_of_three_decisions() -> None:
    # errors: 0 + .5 * 2 - 1 = 0, 0 + .5 * 4 - 2 = 0, 1 + 0 - 4 = -3; traces of .5 * .5 behind them
    advantages, returns = gae([0, 0, 1], [1, 2, 4], 0.0, gamma=0.5, trace=0.5)
    assert advantages.tolist() == [0.25 * 0.25 * -3, 0.25 * -3, -3]
    assert returns.tolist() == [1 - 3 / 16, 2 - 0.75, 1]


def test_gae_with_the_whole_trace_is_the_discounted_return() -> None:
    _, returns = gae([1, 0, 2], [5, -3, 7], 0.0, gamma=0.5, trace=1.0)
    assert returns.tolist() == [1.5, 1, 2]


def test_gae_counts_what_comes_after_a_time_out_and_not_after_an_end() -> None:
    cut, _ = gae([0.0], [1.0], 6.0, gamma=0.5, trace=0.9)
    ended, _ = gae([0.0], [1.0], 0.0, gamma=0.5, trace=0.9)
    assert (cut.tolist(), ended.tolist()) == ([2.0], [-1.0])


def test_gae_refuses_values_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="as many values as rewards"):
        gae([0, 0], [1], 0.0, gamma=1.0, trace=1.0)


def test_groups_are_compared_within_themselves() -> None:
    found = group_relative([0, 1, 5, 5, 3, 10, 16], [7, 7, 2, 2, 4, 9, 9])
    assert found[[0, 1, 5, 6]].tolist() == [-1, 1, -1, 1]
    assert np.isnan(found[[2, 3, 4]]).all()  # all alike, and one alone
    assert group_relative([10, 16], [1, 1], scaled=False).tolist() == [-3, 3]


def test_variance_is_told_by_group() -> None:
    assert within_groups([0, 1, 5, 5], [0, 0, 1, 1]) == (0.125, 1, 2)
    assert within_groups([], []) == (0.0, 0, 0)


def test_normalised_advantages() -> None:
    assert normalised(np.array([1.0, 3.0])).tolist() == [-1, 1]
    assert normalised(np.array([2.0, 2.0])).tolist() == [0, 0]


def test_weights_of_imitation() -> None:
    assert exponential([0.0, 2.0, 90.0], 2.0, 20.0) == pytest.approx([1.0, np.e, 20.0])
    assert top_share([0, 3, 1, 2], 0.5).tolist() == [False, True, False, True]
    assert top_share([0, 0, 0, 1], 0.5).tolist() == [False, False, False, True]  # the worst are never imitated
    assert not top_share([1, 1], 1.0).any()
    assert not len(top_share([], 0.5))

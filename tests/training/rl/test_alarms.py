"""Alarms trip on what they are for, and on nothing else."""

from __future__ import annotations

import pytest

from training.rl.alarms import CollapseError, alarms, check, mastered
from training.rl.recipe import Limits

WELL = {"entropy": 1.0, "variance": 0.1, "kl": 0.01, "repeated": 0.2, "success": 0.5}
LIMITS = Limits(patience=2)


def test_all_is_well() -> None:
    assert alarms([], LIMITS) == []
    assert alarms([WELL] * 9, LIMITS) == []
    assert alarms([{}] * 9, LIMITS) == []  # rounds in which every episode was dropped


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ({"entropy": 0.01}, "entropy of a decision is 0.01 nats"),
        ({"kl": 2.0}, "2 nats a token away from its parent"),
    ],
)
def test_one_round_is_enough(figure: dict[str, float], said: str) -> None:
    (found,) = alarms([WELL, {**WELL, **figure}], LIMITS)
    assert said in found
    assert alarms([{**WELL, **figure}, WELL], LIMITS) == []


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        ({"success": 1.0}, "called 100 % of the episodes a success 2 times in a row"),
        ({"variance": 0.0}, "rewards within groups were all alike 2 times in a row"),
        ({"repeated": 0.95}, "95 % of the decisions are the same one, 2 times in a row"),
    ],
)
def test_several_rounds_in_a_row(figure: dict[str, float], said: str) -> None:
    assert alarms([WELL, {**WELL, **figure}], LIMITS) == []
    (found,) = alarms([WELL, {**WELL, **figure}, {**WELL, **figure}], LIMITS)
    assert said in found


@pytest.mark.parametrize("last", [{"success": 1.0}, {"success": 0.95, "variance": 0.0}])
def test_what_failed_at_first_and_succeeds_is_mastered(last: dict[str, float]) -> None:
    done = [{**WELL, **last}] * 2
    assert mastered([{**WELL, "success": 0.1}, *done], LIMITS)
    assert not mastered([{**WELL, "success": 0.1}, *done[1:]], LIMITS)
    assert not mastered([{**WELL, "success": 0.1}, *done, WELL], LIMITS)
    assert not mastered([{**WELL, "success": 0.97}, *done], LIMITS)  # a reward that always says yes
    assert not mastered([{**WELL, "variance": 0.0, "success": 0.3}] * 3, LIMITS)
    assert not mastered([], LIMITS)


def test_the_message_says_what_can_be_done() -> None:
    with pytest.raises(CollapseError, match=r"stopped after iteration 1: .* Look at the episodes and at the reward"):
        check([{**WELL, "kl": 2.0}], LIMITS)

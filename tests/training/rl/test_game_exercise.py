"""Two attempts in a world: the same start, the first attempt in the memory of the second one, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent.memory import earlier_attempt
from agent.policy import Context, PolicySpec
from agent.small.prompt import prompt_of
from agent.small.word_hashing import split
from agent.view import View
from envs.errors import UserError
from rewards.truth import Truth
from tests.support.lamp_rewards import Up
from tests.support.lamp_world import LampWorld
from training.rl.correct import SUMMARY, checked_recipe, opened, train_correction
from training.rl.correction_measures import measure
from training.rl.correction_recipe import CorrectionRecipe
from training.rl.game_exercise import GameExercise
from training.rl.self_correction import attempt_twice, sampled
from training.rl.train import MODEL

SPEC = PolicySpec(View.stretched((120, 160), 3), history=3, chunk=4)


def recipe(policy: Path | str = "small", **fields: Any) -> CorrectionRecipe:
    shared = {
        "policy": str(policy), "suite": "lamp-basic", "upper_bound": True, "rounds": 2, "stage_one": 1, "problems": 2,
        "group": 2, "worlds": 2, "time_limit": 12, "think": "off",
    }  # fmt: skip
    return CorrectionRecipe.of({**shared, **fields})


def test_the_second_attempt_begins_alike_and_knows_the_first(tiny: Path, tmp_path: Path) -> None:
    with opened(recipe(tiny), tmp_path) as (model, exercise):
        ask = sampled(model, 1.0, torch.Generator().manual_seed(0))
        pairs = attempt_twice(exercise, ask, exercise.problems(3, 0), range(3))
        again = exercise.again(pairs[0].first.prompts, pairs[0].first, exercise.problems(1, 0)[0])
    assert len(pairs) == 3
    for pair in pairs:
        first, second = pair.first.prompts[0], pair.second.prompts[0]
        assert np.array_equal(first.frames[-1], second.frames[-1]), "the world is back at its start"
        assert pair.first.told.startswith("did: ")
        assert [earlier_attempt(one.memory) for one in pair.first.prompts] == [""] * len(pair.first.prompts)
        assert {earlier_attempt(one.memory) for one in pair.second.prompts} == {pair.first.told}
        assert not prompt_of(first).memory
        assert list(prompt_of(second).memory) == split(pair.first.told, "memory")
    assert len({pair.first.prompts[0].frames[-1].tobytes() for pair in pairs}) == 3, "the tasks are different ones"
    assert earlier_attempt(again[0].memory) == pairs[0].first.told
    assert again[0].memory.endswith(pairs[0].first.told)


def test_small_learns_from_attempts_and_the_run_can_be_played(tiny: Path, tmp_path: Path) -> None:
    made = train_correction(recipe(tiny, rate=1e-2), tmp_path / "run")
    assert made == tmp_path / "run" / MODEL
    with opened(recipe(made), tmp_path) as (model, exercise):
        ask = sampled(model, 1.0, torch.Generator().manual_seed(0))
        counts = measure(exercise, ask, exercise.problems(4, 7, evaluation=True))
    assert counts.n == 4
    assert (tmp_path / "run" / SUMMARY).exists()


def test_tasks_of_evaluation_are_others(tiny: Path) -> None:
    exercise = GameExercise(recipe(tiny), SPEC, Truth())
    training, held_out = exercise.problems(4, 0), exercise.problems(4, 0, evaluation=True)
    assert not {task.seed for task in training} & {task.seed for task in held_out}
    assert {task.time_limit for task in (*training, *held_out)} == {12}
    exercise.close()


def test_the_reason_is_told_where_the_reward_sees_pixels_alone(tiny: Path) -> None:
    with pytest.raises(UserError, match="sees ground truth, which no player is told"):
        GameExercise(recipe(tiny, reasons=True), SPEC, Truth())
    told = []
    for reasons in (False, True):
        exercise = GameExercise(recipe(tiny, reasons=reasons, reward="tests.support.lamp_rewards:Up"), SPEC, Up())
        ask = _still
        (attempt,) = exercise.attempt(ask, exercise.problems(1, 0))
        exercise.close()
        assert attempt is not None
        told.append(attempt.told)
    assert told[1].startswith(f"{told[0]} judged: ")


def _still(contexts: Any) -> Any:
    from agent.policy import Decision
    from envs.action import NEUTRAL

    return [Decision((NEUTRAL,) * 4, tokens=(1,), log_probabilities=(-1.0,)) for _ in contexts]


def test_a_world_that_can_not_go_back_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LampWorld, "deterministic", False)
    with pytest.raises(UserError, match="can't go back to its very start"):
        GameExercise(recipe(tiny), SPEC, Truth())


def test_a_reward_that_nobody_measured_is_refused() -> None:
    fields = {"policy": "small", "suite": "lamp-basic", "reward": "tests.support.lamp_rewards:Up"}
    with pytest.raises(UserError, match="trust"):
        checked_recipe(fields, trust=False)
    assert checked_recipe(fields, trust=True).upper_bound is False


def test_small_acts_as_before_without_an_earlier_attempt() -> None:
    frame = np.zeros((120, 160, 3), np.uint8)
    assert not prompt_of(Context((frame,), "go", memory="did: go to the torch (3.2 s). seen: red torch left.")).memory

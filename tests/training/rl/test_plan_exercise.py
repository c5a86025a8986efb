"""Plans in two attempts: what the planning role of `small` is asked, and that it learns from what it drew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agent.small import load_small
from agent.small.checkpoint import SHIPPED
from agent.small.word_hashing import split
from envs.errors import UserError
from training.rl.correct import PLANS, checked_recipe, train_correction
from training.rl.correction_recipe import CorrectionRecipe
from training.rl.plan_exercise import PlanExercise
from training.rl.self_correction import attempt_twice, sampled
from training.rl.small_learnable import SmallPlanner


@pytest.fixture(scope="module")
def planner() -> SmallPlanner:
    return SmallPlanner(SHIPPED)


def test_the_second_attempt_is_asked_with_the_first_one_and_right_is_what_truth_says(planner: SmallPlanner) -> None:
    exercise = PlanExercise()
    problems = exercise.problems(12, 0)
    pairs = attempt_twice(exercise, sampled(planner, 1.0, torch.Generator().manual_seed(0)), problems, range(12))
    for problem, pair in zip(problems, pairs, strict=True):
        assert pair.first.solved == (pair.first.told.split(" then ") == list(problem.steps))
        first, second = pair.first.prompts[0], pair.second.prompts[0]
        assert first.request == second.request
        assert first.memory == split(problem.memory, "memory")
        assert pair.first.told in " ".join(second.memory)
        assert exercise.again(pair.first.prompts, pair.first, problem) == pair.second.prompts
    assert any(pair.first.solved for pair in pairs)


def test_what_is_evaluated_is_said_in_other_words() -> None:
    exercise = PlanExercise()
    training, held_out = exercise.problems(60, 0), exercise.problems(60, 0, evaluation=True)
    assert training == exercise.problems(60, 0)
    assert not {one.goal for one in training} & {one.goal for one in held_out}


def test_the_player_tells_what_the_trainer_computes_of_plans(planner: SmallPlanner) -> None:
    exercise = PlanExercise()
    attempts = exercise.attempt(sampled(planner, 0.7, torch.Generator().manual_seed(1)), exercise.problems(6, 1))
    drawn = [one.decisions[0] for one in attempts if one is not None]
    batch = planner.batch([one.prompts[0] for one in attempts if one is not None], [one.tokens for one in drawn])
    scores = planner.score(batch, 0.7)
    for row, one in enumerate(drawn):
        told = torch.tensor(one.log_probabilities)
        assert torch.allclose(scores.log_probabilities[row, : len(told)], told, atol=1e-4)
        assert int(scores.mask[row].sum()) == len(told)


def test_it_learns_and_the_checkpoint_plans(tmp_path: Path) -> None:
    recipe = CorrectionRecipe.of(
        {
            "policy": "small", "suite": PLANS, "upper_bound": True, "rounds": 2, "stage_one": 1, "problems": 6,
            "group": 3, "rate": 1e-3,
        }
    )  # fmt: skip
    checkpoint = train_correction(recipe, tmp_path / "run")
    changed = load_small(checkpoint).model.state_dict()
    assert any(not torch.equal(value, changed[name]) for name, value in load_small().model.state_dict().items())
    assert load_small(checkpoint).plan(["unlock the blue door"])[0]


def test_plans_are_checked_by_truth_and_made_by_small(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="by truth alone"):
        checked_recipe({"policy": "small", "suite": PLANS, "reward": "judge"}, trust=False)
    with pytest.raises(UserError, match=r"expected small, a checkpoint folder of small$"):
        checked_recipe({"policy": f"hf:{tmp_path}", "suite": PLANS}, trust=False)

"""`agent train correct`: a model attempts problems twice and learns to make the second attempt the better one.

After every round the run's state is written. All random numbers of a round follow from the recipe's seed and the number
of the round. So a run that was killed goes on from its last round and ends with the same weights as one that never
stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from agent.lineage import Data
from envs.errors import UserError
from envs.files import write_whole, written_whole
from tasks import world_tasks
from training.recipe import OnProgress, Progress, ignore_progress, same_recipe
from training.rl.causal_learnable import load_causal
from training.rl.collect import make_world
from training.rl.correction_measures import counts_of
from training.rl.correction_recipe import CorrectionRecipe
from training.rl.game_exercise import GameExercise, rl_recipe
from training.rl.learnable import Scorable
from training.rl.load import folder_of_small, load_learnable
from training.rl.plan_exercise import PlanExercise
from training.rl.self_correction import (
    Ask,
    Attempt,
    CorrectionLearner,
    Exercise,
    Lesson,
    Pair,
    attempt_twice,
    lessons_of,
    lessons_of_pair_sft,
    lessons_of_single,
    lessons_of_star,
    sampled,
)
from training.rl.small_learnable import SmallPlanner
from training.rl.sorting import Sorting, tiny_sorter
from training.rl.train import MODEL, STATE, SUMMARY, check_reward, checked_reward, summary_writer

SORTING = "sorting"  # the suite of rows in text
PLANS = "doom-plans"  # the suite of goals that are taken apart into steps
TEXTS = (SORTING, PLANS)  # suites without a world
TINY = "tiny"  # the policy that is made on the spot for them
LOGS = "tensorboard"
_ROUND_SEEDS = 100_000

Figures = dict[str, float]
AnyExercise = Exercise[Any, Any]


def train_correction(recipe: CorrectionRecipe, out: Path, on_progress: OnProgress = ignore_progress) -> Path:
    """Train a model to correct itself and write the checkpoint OUT/model; its path. A run that is there goes on.

    OUT/summary.json tells how it went, and OUT/tensorboard all figures. Raises UserError for a policy or reward that
    can't be had, ValueError for a suite that is held out and for a folder with another run, and AgreementError.
    """
    same_recipe(recipe, out)
    if (out / MODEL).is_dir():
        return out / MODEL
    with opened(recipe, out) as (model, exercise):
        run = _Run(recipe, out, model, exercise)
        with closing(summary_writer(out / LOGS, len(run.log))) as writer:
            while len(run.log) < recipe.rounds:
                figures = run.round()
                for name, value in figures.items():
                    writer.add_scalar(f"correct/{name}", value, len(run.log))
                on_progress(Progress(run.stage_name, len(run.log), recipe.rounds, _shown(figures)))
        return run.finish()


def checked_recipe(fields: Mapping[str, Any], reward_limit: float | None = None, *, trust: bool) -> CorrectionRecipe:
    """The recipe with these fields. A world's reward must be measured, unless `trust`; see train.check_reward. Raises
    UserError and ValueError."""
    recipe = CorrectionRecipe.of({**fields, "upper_bound": fields.get("reward", "truth") == "truth"})
    if recipe.suite == PLANS:
        if recipe.reward != "truth":
            raise UserError(f"--reward {recipe.reward}: plans are checked by truth alone")
        folder_of_small(recipe.policy, others="")
    elif recipe.suite != SORTING:
        world = world_tasks.training(recipe.suite).world
        check_reward(checked_reward(rl_recipe(recipe)), reward_limit, world=world, anyway=trust)
    elif recipe.policy != TINY and not recipe.policy.startswith("hf:"):
        raise UserError(
            f"--policy {recipe.policy}: rows are text; expected {TINY}, a model that is made on the spot, or "
            "hf:FOLDER, a causal language model of transformers"
        )
    return recipe


@contextmanager
def opened(recipe: CorrectionRecipe, out: Path) -> Iterator[tuple[Scorable[Any], AnyExercise]]:
    """The model of a recipe, as it is before it learns, and what it attempts. `out`: the run's folder, where a tiny
    model is made. Raises UserError and ValueError."""
    torch.manual_seed(recipe.seed)  # of the first weights of low-rank changes
    exercise: AnyExercise
    if recipe.suite == SORTING:
        exercise = rows = Sorting(recipe.digits, recipe.reward)
        name = recipe.policy.removeprefix("hf:")
        if recipe.policy == TINY:
            name = str(out / TINY)
            if not (out / TINY).is_dir():
                tiny_sorter(out / TINY, digits=recipe.digits)
            torch.manual_seed(recipe.seed)
        model: Scorable[Any] = load_causal(name, most=rows.length)
    elif recipe.suite == PLANS:
        model, exercise = SmallPlanner(folder_of_small(recipe.policy, others="")), PlanExercise()
    else:
        rl = rl_recipe(recipe)
        reward = checked_reward(rl)
        learnable = load_learnable(
            recipe.policy,
            think=recipe.think,
            frozen_vision=recipe.frozen_vision and not recipe.policy.startswith("hf:"),
            make_world=partial(make_world, rl),
        )
        model, exercise = learnable, GameExercise(recipe, learnable.spec, reward)
    with closing(exercise):
        yield model, exercise


class _Run:
    """A run in a folder, between two rounds. `log`: the figures of each round that is done."""

    def __init__(self, recipe: CorrectionRecipe, out: Path, model: Scorable[Any], exercise: AnyExercise) -> None:
        self._recipe, self._out, self._model, self._exercise = recipe, out, model, exercise
        self._learner = CorrectionLearner(model, recipe, exercise.length)
        self._parent = {name: value.clone() for name, value in model.state().items()}
        self.log: list[Figures] = []
        if (out / STATE).exists():
            self._resume(out / STATE)

    @property
    def stage_name(self) -> str:
        return {1: "stage I", 2: "stage II"}[self._stage] if self._recipe.method == "score" else self._recipe.method

    @property
    def _stage(self) -> int:
        """Of the last round that is done."""
        return 1 if len(self.log) <= self._recipe.stage_one else 2

    def round(self) -> Figures:
        """Attempt, learn and write the state; the figures."""
        recipe, number = self._recipe, len(self.log)
        seed = recipe.seed * _ROUND_SEEDS + number
        torch.manual_seed(seed)
        problems = [one for one in self._exercise.problems(recipe.problems, seed) for _ in range(recipe.group)]
        groups = [at // recipe.group for at in range(len(problems))]
        ask = sampled(self._model, recipe.temperature, torch.Generator().manual_seed(seed))
        attempted, lessons, figures = self._lessons(ask, problems, groups, 1 if number < recipe.stage_one else 2)
        figures |= self._learner.learn(lessons, attempted)
        self.log.append(figures)
        self._save()
        return figures

    def _lessons(
        self, ask: Ask[Any], problems: Sequence[Any], groups: Sequence[int], stage: int
    ) -> tuple[int, list[Lesson[Any]], Figures]:
        """How many attempts were made, what they teach by the recipe's method, and how they went."""
        recipe = self._recipe
        if recipe.method in ("score", "star"):
            pairs = attempt_twice(self._exercise, ask, problems, groups)
            star = recipe.method == "star"
            lessons = lessons_of_star(pairs, recipe) if star else lessons_of(pairs, recipe, stage)
            return 2 * len(pairs), lessons, figures_of(pairs)
        if recipe.method == "single":
            return self._single(ask, problems, groups)
        with self._playing_as_parent():
            attempts, groups, problems = self._firsts(ask, problems, groups)
        lessons = lessons_of_pair_sft(self._exercise, attempts, groups, problems)
        return len(attempts), lessons, _figures_of_firsts(attempts)

    def _single(
        self, ask: Ask[Any], problems: Sequence[Any], groups: Sequence[int]
    ) -> tuple[int, list[Lesson[Any]], Figures]:
        """Twice as many first attempts as there are pairs, so that as much is drawn as for two attempts."""
        attempts, numbers, _ = self._firsts(ask, [*problems, *problems], [*groups, *groups])
        return len(attempts), lessons_of_single(attempts, numbers, self._recipe), _figures_of_firsts(attempts)

    def _firsts(
        self, ask: Ask[Any], problems: Sequence[Any], groups: Sequence[int]
    ) -> tuple[list[Attempt[Any]], list[int], list[Any]]:
        """First attempts that the reward could score, and the group and the problem of each."""
        tried = self._exercise.attempt(ask, problems)
        kept = [(one, group, problem) for one, group, problem in zip(tried, groups, problems, strict=True) if one]
        return [one for one, *_ in kept], [group for _, group, _ in kept], [problem for *_, problem in kept]

    @contextmanager
    def _playing_as_parent(self) -> Iterator[None]:
        learned = {name: value.clone() for name, value in self._model.state().items()}
        self._model.load_state(self._parent)
        try:
            yield
        finally:
            self._model.load_state(learned)

    def finish(self) -> Path:
        """Write the summary and the checkpoint; its path."""
        recipe = self._recipe.model_dump(mode="json")
        write_whole(self._out / SUMMARY, json.dumps({"recipe": recipe, "rounds": self.log}, indent=2) + "\n")
        attempts = round(sum(one["attempts"] for one in self.log))
        self._model.save(
            self._out / MODEL,
            trained={"recipe": recipe, "attempts": attempts, "rounds": len(self.log)},
            data=[Data(self._recipe.suite, attempts, "attempts")],
            recipe={name: value for name, value in recipe.items() if name != "policy"},
        )
        (self._out / STATE).unlink(missing_ok=True)
        return self._out / MODEL

    def _save(self) -> None:
        state = {
            "weights": self._model.state(), "parent": self._parent,
            "optimizer": self._learner.optimizer.state_dict(), "log": json.dumps(self.log),
        }  # fmt: skip
        with written_whole(self._out / STATE) as part:
            torch.save(state, part)

    def _resume(self, file: Path) -> None:
        """Raises ValueError where the state is damaged, or that of another model."""
        try:
            state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
            self._model.load_state(state["weights"])
            self._parent = state["parent"]
            self._learner.optimizer.load_state_dict(state["optimizer"])
            self.log = json.loads(state["log"])
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, EOFError, UnpicklingError) as error:
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"{file}: the run can't go on from it ({said}); remove it to begin again") from error


def figures_of(pairs: Sequence[Pair[Any]]) -> Figures:
    """How the pairs of a round went: by the reward "r1" and "r2", by ground truth "t1", "t2" and "delta", and the share
    of second attempts that draw the same tokens as the first one."""
    if not pairs:
        return {"attempts": 0.0}
    counts = counts_of(pairs)
    same = [_tokens(pair.first) == _tokens(pair.second) for pair in pairs]
    figures = {
        "attempts": 2.0 * len(pairs),
        "r1": float(np.mean([pair.first.reward for pair in pairs])),
        "r2": float(np.mean([pair.second.reward for pair in pairs])),
        "repeated": float(np.mean(same)),
    }
    if counts.n:
        figures |= {"t1": counts.first, "t2": counts.second, "delta": counts.delta}
    return figures


def _figures_of_firsts(attempts: Sequence[Attempt[Any]]) -> Figures:
    figures = {"attempts": float(len(attempts))}
    if attempts:
        figures["r1"] = float(np.mean([one.reward for one in attempts]))
    return figures


def _tokens(attempt: Attempt[Any]) -> list[tuple[int, ...]]:
    return [decision.tokens for decision in attempt.decisions]


def _shown(figures: Figures) -> Figures:
    """What a progress bar has room for."""
    return {name: figures[name] for name in ("r1", "r2", "delta", "repeated", "kl", "entropy") if name in figures}

"""The self-improvement loop: propose, collect, score, build, learn, evaluate, promote; one folder a generation.

No stage but `evaluate` uses ground truth to decide anything, and `evaluate` uses it on levels that are never played
otherwise. The audit compares the reward with ground truth on what was collected; it can stop a run and is reported, and
nothing learns from it.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from agent.lineage import MANIFEST
from agent.small.checkpoint import SHIPPED
from envs import plugins
from envs.errors import UserError
from rewards.reward import load_reward, score_pairs
from rewards.score import Score
from tasks import json_lines, world_tasks
from tasks.curriculum import Curriculum
from tasks.goal_text import goal_of
from tasks.setter import Tried, load_setter
from tasks.task import Task
from training.data.episode_weights import write_weights
from training.data.episodes import read_episode
from training.data.footage import RecordedFootage
from training.evaluation.statistics import proportion
from training.improve import evaluate
from training.improve.collect import Collector, CollectSettings, LevelPlayed
from training.improve.generation import STAGES, Generation, Stage
from training.improve.recipe import ImproveRecipe
from training.improve.rehearse import rehearse
from training.learner import load_learner
from training.recipe import OnProgress, Progress, same_recipe
from training.workers.hire import hire
from training.workers.parallel_play import portions
from training.workers.workers import Failed

_BATCH = 16  # episodes that are scored together


class SelfImprovement:
    """A run in the folder `out`. `run` goes on where it was stopped.

    `on_progress` is called during a stage, `on_generation` at the end of every generation, with its summary.
    Raises UserError if `out` holds a run of another recipe.
    """

    def __init__(
        self,
        recipe: ImproveRecipe,
        out: Path,
        *,
        workers: str | int = 2,
        budget: float | None = None,
        on_progress: OnProgress = lambda progress: None,
        on_generation: Callable[[dict[str, Any]], None] = lambda summary: None,
    ) -> None:
        _check(recipe)
        out.mkdir(parents=True, exist_ok=True)
        try:
            same_recipe(recipe, out)
        except ValueError as error:
            raise UserError(str(error)) from error
        self.recipe, self.out, self._workers, self._budget = recipe, out, workers, budget
        self._on_progress, self._on_generation = on_progress, on_generation
        self._began = time.monotonic()

    def run(self) -> list[dict[str, Any]]:
        """Play all generations; their summaries. It ends early where the audit or the budget says so."""
        self._rehearse()
        summaries: list[dict[str, Any]] = []
        for number in range(1, self.recipe.generations + 1):
            generation = Generation(self.out, number)
            for stage in STAGES:
                if not generation.done(stage):
                    began = time.monotonic()
                    result = getattr(self, f"_{stage}")(generation)
                    generation.finish(stage, {**result, "seconds": round(time.monotonic() - began, 1)})
            summaries.append(self.summary(generation))
            self._on_generation(summaries[-1])
            if summaries[-1]["stop"] or self._over():
                break
        return summaries

    def player(self, number: int) -> Path:
        """The checkpoint that generation `number` starts from."""
        if number == 1:
            return SHIPPED if self.recipe.policy == "small" else Path(self.recipe.policy)
        before = Generation(self.out, number - 1)
        promoted = before.result("promote")["promoted"]
        return self.out / before.result("learn")["model"] if promoted else self.player(number - 1)

    def summary(self, generation: Generation) -> dict[str, Any]:
        """The figures of a finished generation, JSON values."""
        results = {stage: generation.result(stage) for stage in STAGES}
        score, promote = results["score"], results["promote"]
        grown = 0.0
        if score["gap"] is not None:
            first = Generation(self.out, 1).result("score")["gap"]
            grown = score["gap"] - (score["gap"] if first is None else first)
        stop = ""
        if grown > self.recipe.most_gap:
            stop = f"the reward's success and the true one part by {grown:.1f} points more than in the first generation"
        return {
            "generation": generation.number,
            "tasks": score["tasks"],
            "tried": score["tried"],
            "judged": score["judged"],
            "true": score["true"],
            "gap": score["gap"],
            "by_verb": score["by_verb"],
            "learned_from": results["build"]["episodes"],
            "held_out": results["evaluate"]["held_out"],
            "old": results["evaluate"]["old"],
            "promoted": promote["promoted"],
            "why": promote["why"],
            "minutes": sum(result["seconds"] for result in results.values()) / 60.0,
            "stop": stop,
        }

    def _over(self) -> bool:
        return self._budget is not None and time.monotonic() - self._began > self._budget

    def _tell(self, generation: Generation | None, stage: str, done: int, total: int, **figures: float) -> None:
        name = f"generation {generation.number}: {stage}" if generation else stage
        self._on_progress(Progress(name, done, total, figures))

    @property
    def _processes(self) -> int:
        """How many processes of this machine learn together, no matter how many collect."""
        text = str(self._workers)
        return int(text) if text.isdecimal() else min(2, os.cpu_count() or 1)

    def _rehearse(self) -> None:
        """What the first player plays once in the suites it knows, so that they are not forgotten."""
        recipe = self.recipe
        if recipe.rehearsal and recipe.rehearsal_episodes and recipe.rehearsal_suites:
            rehearse(
                self.out / "rehearsal", recipe.rehearsal_suites, recipe.rehearsal_episodes, str(self.player(1)),
                recipe.seed, self._workers, partial(self._tell, None, "rehearsal"),
            )  # fmt: skip

    def _propose(self, generation: Generation) -> dict[str, Any]:
        """The archive of tasks as this generation finds it. The setter proposes level by level, while it plays."""
        generation.folder.mkdir(parents=True, exist_ok=True)
        path = generation.file("curriculum.jsonl")
        if generation.number == 1:
            Curriculum(self.recipe.env).save(path)
        else:
            shutil.copyfile(Generation(self.out, generation.number - 1).file("archive.jsonl"), path)
        return {"tasks": len(Curriculum.load(path).tried)}

    def _collect(self, generation: Generation) -> dict[str, Any]:
        recipe, number = self.recipe, generation.number
        settings = CollectSettings(
            out=generation.folder, generation=number, env=recipe.env, policy=str(self.player(number)),
            setter=recipe.setter, curriculum=generation.file("curriculum.jsonl"), tries=recipe.tries,
            proposals=recipe.proposals, time_limit=recipe.time_limit, temperature=recipe.temperature,
            seed=recipe.seed * 1000 + number,
        )  # fmt: skip
        generation.file("levels").mkdir(exist_ok=True)
        suite = world_tasks.suite(recipe.suite)
        first = (number - 1) * recipe.levels  # every generation plays levels of its own
        levels = [suite.practice(recipe.seed, first + index) for index in range(recipe.levels)]
        played: dict[str, LevelPlayed] = {}
        with hire(partial(Collector, settings), self._workers) as crew:
            for _, results in crew.run(portions(levels, crew.count)):
                if isinstance(results, Failed):  # a world that broke is data: the others go on
                    self._tell(generation, f"collect: {results.error}", len(played), len(levels))
                    continue
                played |= {one.level: one for one in results}
                self._tell(generation, "collect", len(played), len(levels))
        if not played:
            raise UserError("no level could be played; see agent doctor")
        ordered = [played[level.id] for level in levels if level.id in played]
        json_lines.write(generation.file("audit.jsonl"), [asdict(one) for level in ordered for one in level.audited])
        return {
            "tries": [asdict(one) for level in ordered for one in level.tries],
            "broken": [level.id for level in levels if level.id not in played],
        }

    def _score(self, generation: Generation) -> dict[str, Any]:
        """Ask the reward about every try, add the outcomes to the archive, and compare with ground truth."""
        reward, env = load_reward(self.recipe.reward), self.recipe.env
        tries = generation.result("collect")["tries"]
        scores: dict[str, dict[str, Any]] = {}
        for start in range(0, len(tries), _BATCH):
            batch = tries[start : start + _BATCH]
            episodes = [read_episode(generation.file("episodes") / one["episode"]) for one in batch]
            tasks = [Task(one["id"], one["instruction"], env) for one in batch]
            pairs = [(task, RecordedFootage(episode)) for task, episode in zip(tasks, episodes, strict=True)]
            for task, result in zip(tasks, score_pairs(reward, pairs), strict=True):
                known = isinstance(result, Score)
                scores[task.id] = {
                    "success": result.success if isinstance(result, Score) else None,
                    "value": result.value if isinstance(result, Score) else None,
                    "why": result.why,
                    "verb": goal_of(env, task.instruction).verb if known else "",
                }
            self._tell(generation, "score", len(scores), len(tries))
        archive = Curriculum.load(generation.file("curriculum.jsonl"))
        archive.add(
            Tried(one["id"], one["instruction"], scores[one["id"]]["success"], scores[one["id"]]["value"],
                  generation=generation.number)
            for one in tries
        )  # fmt: skip
        archive.save(generation.file("archive.jsonl"))
        truth = {row["id"]: row["success"] for row in json_lines.read(generation.file("audit.jsonl"))}
        different = {goal_of(env, one["instruction"]) for one in tries}
        return {"scores": scores, "tasks": len(different), "tried": len(tries), **audit(scores, truth)}

    def _build(self, generation: Generation) -> dict[str, Any]:
        """What is learned from: the tries that the reward calls a success, weighted by how much is left to learn.

        A goal of competence p gets the weight 1 - p (its advantage over what is expected), of at least 0.1.
        """
        scores = generation.result("score")["scores"]
        archive = Curriculum.load(generation.file("archive.jsonl"))
        weights = {
            one["episode"]: round(max(0.1, 1.0 - archive.standing(one["instruction"]).competence), 3)
            for one in generation.result("collect")["tries"]
            if scores[one["id"]]["success"] and one["ticks"]
        }
        write_weights(generation.file("episodes"), weights)
        return {"episodes": len(weights)}

    def _learn(self, generation: Generation) -> dict[str, Any]:
        recipe, count = self.recipe, generation.result("build")["episodes"]
        if count < recipe.least:
            return {"model": None, "why": f"{count} judged successes are fewer than {recipe.least}"}
        rehearsed = (self.out / "rehearsal",) if (self.out / "rehearsal").exists() else ()
        options = {
            "rehearsal": rehearsed, "rehearsal_share": recipe.rehearsal, "epochs": recipe.passes, "rate": recipe.rate,
            "keep": recipe.keep, "workers": self._processes, "seed": recipe.seed,
        }  # fmt: skip
        learner = load_learner(recipe.learner, options)
        model = learner.update(
            generation.file("episodes"), self.player(generation.number), generation.file("learned"), self._on_progress
        )
        return {"model": str(model.relative_to(self.out)), "why": ""}

    def _evaluate(self, generation: Generation) -> dict[str, Any]:
        recipe = self.recipe
        suites = (*recipe.held_out, *recipe.old)
        tasks = evaluate.tasks_of(suites, recipe.episodes)
        parent = self._of_parent(generation, tasks)
        candidate = parent
        if (model := generation.result("learn")["model"]) is not None:
            candidate = evaluate.play_tasks(
                tasks, str(self.out / model), self._workers, partial(self._tell, generation, "evaluate")
            )
        compared = evaluate.compare(suites, parent, candidate)
        return {
            "held_out": {name: compared[name] for name in recipe.held_out},
            "old": {name: compared[name] for name in recipe.old},
            "parent": parent,
            "candidate": candidate,
        }

    def _of_parent(self, generation: Generation, tasks: list[Task]) -> dict[str, bool]:
        """How the parent does; known from the generation that made it, but for the first player."""
        if generation.number > 1:
            before = Generation(self.out, generation.number - 1)
            result: dict[str, bool] = before.result("evaluate")[
                "candidate" if before.result("promote")["promoted"] else "parent"
            ]
            return result
        return evaluate.play_tasks(
            tasks, str(self.player(1)), self._workers, partial(self._tell, generation, "evaluate the first player")
        )

    def _promote(self, generation: Generation) -> dict[str, Any]:
        learned = generation.result("learn")
        if learned["model"] is None:
            return {"promoted": False, "why": learned["why"]}
        result = generation.result("evaluate")
        promoted, why = evaluate.verdict(result["held_out"], result["old"], self.recipe.most_loss)
        return {"promoted": promoted, "why": why}


def _check(recipe: ImproveRecipe) -> None:
    """Refuse wrong names before anything is played. Raises UserError."""
    for name in (recipe.suite, *recipe.held_out, *recipe.old, *recipe.rehearsal_suites):
        world_tasks.suite(name)
    plugins.load("world", recipe.env)
    load_setter(recipe.setter)
    load_reward(recipe.reward)
    if recipe.policy != "small" and not (Path(recipe.policy) / MANIFEST).is_file():
        raise UserError(f"policy {recipe.policy}: expected small, or the folder of a checkpoint of small")


def audit(scores: dict[str, dict[str, Any]], truth: dict[str, bool | None]) -> dict[str, Any]:
    """Judged and true success of what was tried, where both are known; by verb with the reward's precision.

    `gap`: points by which the reward is above the truth. None if nothing is known.
    """
    rows = [
        (score["verb"], bool(score["success"]), bool(truth[id_]))
        for id_, score in scores.items()
        if score["success"] is not None and truth.get(id_) is not None
    ]
    judged_all = [bool(score["success"]) for score in scores.values() if score["success"] is not None]
    by_verb = {verb: _agreement([row for row in rows if row[0] == verb]) for verb in sorted({row[0] for row in rows})}
    whole = _agreement(rows)
    return {
        "judged": _rate(judged_all),
        "true": whole["true"],
        "gap": None if not rows else 100.0 * (whole["judged"]["rate"] - whole["true"]["rate"]),
        "precision": whole["precision"],
        "by_verb": by_verb,
    }


def _agreement(rows: list[tuple[str, bool, bool]]) -> dict[str, Any]:
    return {
        "judged": _rate([judged for _, judged, _ in rows]),
        "true": _rate([true for _, _, true in rows]),
        "precision": _rate([true for _, judged, true in rows if judged]),
    }


def _rate(outcomes: list[bool]) -> dict[str, Any]:
    return proportion(sum(outcomes), len(outcomes), of="n")


def stages_left(out: Path, generations: int) -> list[tuple[int, Stage]]:
    """The stages that a run still has to do."""
    return [
        (number, stage)
        for number in range(1, generations + 1)
        for stage in STAGES
        if not Generation(out, number).done(stage)
    ]

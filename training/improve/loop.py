"""The self-improvement loop: propose, collect, score, build, learn, evaluate, promote; one folder a generation.

No stage but `evaluate` uses ground truth to decide anything, and `evaluate` uses it on levels that are never played
otherwise. The audit compares the reward with ground truth on what was collected; it can stop a run and is reported, and
nothing learns from it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from agent.lineage import MANIFEST
from agent.small.checkpoint import SHIPPED
from envs import plugins
from envs.errors import UserError
from rewards.reward import load_reward
from tasks import json_lines, world_tasks
from tasks.curriculum import Curriculum
from tasks.goal_text import goal_of
from tasks.setter import load_setter
from tasks.task import Task
from training.improve import build, evaluate, hindsight, levels, practise
from training.improve.ask import Ask, answers_in, ask_person, choose
from training.improve.audit import audit, audit_hindsight, gap_growth
from training.improve.collect import Collector, CollectSettings, LevelPlayed, Try, load_player
from training.improve.compose import compose
from training.improve.doubt import Evidence
from training.improve.experience import write_experience
from training.improve.generation import STAGES, Generation, Stage
from training.improve.hindsight import Other, others
from training.improve.recipe import PRACTICE, ImproveRecipe
from training.improve.rehearse import rehearse
from training.improve.scoring import Judgement, Scorer, by_truth, controls, judge_with, scorings
from training.learner import load_learner
from training.ranks import Ranks
from training.recipe import OnProgress, Progress, same_recipe
from training.rl.alarms import CollapseError
from training.rl.train import SUMMARY, train_rl
from training.workers.hire import hire
from training.workers.parallel_play import portions
from training.workers.workers import Failed

# What a summary tells of a round of practice, by the names of training.rl.train.outcomes_of.
PRACTISED = {"judged": "success", "true": "true success", "episodes": "episodes", "kl": "kl"}


class SelfImprovement:
    """A run in the folder `out`. `run` goes on where it was stopped.

    `on_progress` is called during a stage, `on_generation` at the end of every generation, with its summary. `ask`: how
    a person is asked about tries, if the recipe wants that; None if nobody is there. `known`: whether the first player
    does tasks of evaluation, by their ids, where another run has found out. `ranks`: the processes that practise
    together; rank 0 alone does all the rest, and writes files, which all of them see.
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
        ask: Ask | None = None,
        known: Mapping[str, bool] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        _check(recipe)
        self._ranks = ranks or Ranks()
        if self._ranks.leads:
            same_recipe(recipe, out)
        self.recipe, self.out, self._workers, self._budget = recipe, out, workers, budget
        self._on_progress, self._on_generation, self._ask = on_progress, on_generation, ask
        self._known = known or {}
        self._began = time.monotonic()

    def run(self) -> list[dict[str, Any]]:
        """Play all generations; their summaries. It ends early where the audit or the budget says so."""
        if self._ranks.leads:
            self._rehearse()
        summaries: list[dict[str, Any]] = []
        for number in range(1, self.recipe.generations + 1):
            generation = Generation(self.out, number)
            for stage in STAGES:
                if not self._ranks.of_lead(generation.done(stage)):
                    self._finish_stage(stage, generation)
            summaries.append(self.summary(generation))
            self._on_generation(summaries[-1])
            if summaries[-1]["stop"] or self._ranks.of_lead(self._over()):
                break
        return summaries

    def _finish_stage(self, stage: Stage, generation: Generation) -> None:
        began = time.monotonic()
        together = stage == "learn" and not self._imitates
        if self._ranks.leads or together:
            result = getattr(self, f"_{stage}")(generation)
            if self._ranks.leads:
                generation.finish(stage, {**result, "seconds": round(time.monotonic() - began, 1)})
        self._ranks.wait()

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
        practice = [
            {name: one[key] for name, key in PRACTISED.items() if key in one}
            for one in results["learn"].get("rounds", ())
        ]
        gap_grown = gap_growth(practice)
        stop = ""
        if grown > self.recipe.most_gap:
            stop = f"the reward's success and the true one part by {grown:.1f} points more than in the first generation"
        elif gap_grown > self.recipe.most_gap:
            stop = (
                f"in practice the reward's success and the true one part by {gap_grown:.1f} points more at the end "
                "than at the beginning"
            )
        return {
            "generation": generation.number,
            "tasks": score["tasks"],
            "tried": score["tried"],
            "judged": score["judged"],
            "true": score["true"],
            "gap": score["gap"],
            "by_verb": score["by_verb"],
            "learned_from": results["learn"].get("tasks", results["build"]["episodes"]),
            "practice": practice,
            "practice_gap": gap_grown,
            "composed": len(results["build"]["composed"]),
            "hindsight": len(results["build"]["hindsight"]),
            "hindsight_true": audit_hindsight(results["build"]["hindsight"], _audited(generation)),
            "beliefs": results["build"]["beliefs"],
            "answers": results["build"]["answers"],
            "held_out": results["evaluate"]["held_out"],
            "held_out_by_verb": results["evaluate"].get("by_verb", {}),
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

    @property
    def _imitates(self) -> bool:
        """Whether the player imitates its tries, and doesn't practise."""
        return self.recipe.learner != PRACTICE

    def _rehearse(self) -> None:
        """What the first player plays once in the suites it knows, for learners that imitate it. Practice has a
        rehearsal of its own."""
        recipe = self.recipe
        if self._imitates and recipe.rehearsal_episodes and recipe.rehearsal_suites:
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
            seed=recipe.seed * 1000 + number, choose=recipe.choose, planner=recipe.planner, attempts=recipe.attempts,
            sticky=recipe.sticky, trust=self._trust(number), remembered=recipe.remembered, kinds=recipe.kinds,
        )  # fmt: skip
        generation.file("levels").mkdir(exist_ok=True)
        chosen = self._levels(number)
        played: dict[str, LevelPlayed] = {}
        with hire(partial(Collector, settings), self._workers) as crew:
            for _, results in crew.run(portions(chosen, crew.count)):
                if isinstance(results, Failed):  # a world that broke is data: the others go on
                    self._tell(generation, f"collect: {results.error}", len(played), len(chosen))
                    continue
                played |= {one.level: one for one in results}
                self._tell(generation, "collect", len(played), len(chosen), idle=crew.usage.idle)
            usage = crew.usage
        if not played:
            raise UserError("no level could be played; see agent doctor")
        ordered = [played[level.id] for level in chosen if level.id in played]
        json_lines.write(generation.file("audit.jsonl"), [asdict(one) for level in ordered for one in level.audited])
        return {
            "tries": [asdict(one) for level in ordered for one in level.tries],
            "broken": [level.id for level in chosen if level.id not in played],
            "idle": round(usage.idle, 3),
            "again": usage.again,
        }

    def _levels(self, number: int) -> list[Task]:
        """Where generation `number` plays: levels of its own."""
        recipe, first = self.recipe, (number - 1) * self.recipe.levels
        archive = Curriculum.load(Generation(self.out, number).file("curriculum.jsonl"))
        kinds = archive.levels((recipe.suite, *recipe.kinds), recipe.levels, recipe.seed * 1000 + number)
        return [levels.practice_level(recipe.env, kind, recipe.seed, first + index) for index, kind in enumerate(kinds)]

    def _trust(self, number: int) -> dict[str, float]:
        """How far the reward is trusted when generation `number` begins, by verb; only those that were controlled."""
        if number == 1 or not self.recipe.doubt:
            return {}
        before = Generation(self.out, number - 1).result("build")
        return {verb: one["weight"] for verb, one in before["beliefs"].items() if before["evidence"][verb]["controls"]}

    def _score(self, generation: Generation) -> dict[str, Any]:
        """Ask the reward about every try, about controls and in hindsight, and compare it with ground truth."""
        recipe, env, seed = self.recipe, self.recipe.env, self.recipe.seed * 1000 + generation.number
        tries = _tries(generation)
        episode = {one.id: one.episode for one in tries}
        truth = {row["id"]: row["success"] for row in _audited(generation)}
        by_reward = not load_reward(recipe.reward).sees_truth
        scorer = partial(Scorer, env, recipe.reward, recipe.second, recipe.doubt)

        def ask(what: str, asked: Sequence[tuple[str, str, bool]]) -> list[Judgement]:
            """Judgements of an instruction and an episode, played backwards or not."""
            pairs = [
                (Task(f"{what} {i}", text, env), generation.file("episodes") / name, backwards)
                for i, (text, name, backwards) in enumerate(asked)
            ]
            return judge_with(crew, pairs, partial(self._tell, generation, f"score {what}")) if crew else []

        with hire(scorer, self._workers, most=scorings(len(tries))) if by_reward else nullcontext() as crew:
            said = (
                ask("tries", [(one.instruction, one.episode, False) for one in tries])
                if by_reward
                else by_truth(env, tries, truth)
            )
            judgements = {one.id: judgement for one, judgement in zip(tries, said, strict=True)}
            verbs = {one.verb for one in said if one.claimed} if recipe.doubt else set()
            held = controls(env, tries, verbs, recipe.controls, seed)
            false = ask("controls", [(one.instruction, one.episode, one.backwards) for one in held])
            other = others(env, tries, judgements, recipe.hindsight if self._imitates else 0, seed)
            claims = ask("in hindsight", [(one.instruction, episode[one.id], False) for one in other])
        return {
            "scores": {id_: one.to_json() for id_, one in judgements.items()},
            "controls": [{**asdict(one), "claimed": claim.claimed} for one, claim in zip(held, false, strict=True)],
            "hindsight": [{**asdict(one), **claim.to_json()} for one, claim in zip(other, claims, strict=True)],
            "tasks": len({goal_of(env, one.instruction) for one in tries}),
            "tried": len(tries),
            **audit(judgements, truth),
        }

    def _build(self, generation: Generation) -> dict[str, Any]:
        """What is learned from, and what the archive of tasks notes of the tries. See training.improve.build."""
        recipe, tries = self.recipe, _tries(generation)
        scores = generation.result("score")
        judgements = {id_: Judgement.from_json(one) for id_, one in scores["scores"].items()}
        answers = self._answers(generation, tries, judgements)
        evidence = build.evidence_of(judgements, scores["controls"], answers)
        if generation.number > 1:
            before = Generation(self.out, generation.number - 1).result("build")["evidence"]
            evidence = build.added({verb: Evidence.from_json(one) for verb, one in before.items()}, evidence)
        beliefs = build.beliefs_of(evidence)
        trust = build.Trust(beliefs if recipe.doubt else None, recipe.least_trust)
        archive = Curriculum.load(generation.file("curriculum.jsonl"))
        archive.add(build.tried(tries, judgements, answers, generation.number))
        archive.save(generation.file("archive.jsonl"))
        worth = {one.id: build.worth(judgements[one.id], answers.get(one.id), trust) for one in tries}
        claims = [_claim(row) for row in scores["hindsight"]]
        relabelled = hindsight.relabelled(claims, evidence, trust, archive)
        compositions = compose(recipe.env, tries, worth) if recipe.composition and self._imitates else []
        weights = write_experience(
            generation.file("episodes"), recipe.env, tries, worth, archive, relabelled=relabelled,
            compositions=compositions, player=lambda: load_player(str(self.player(generation.number))),
        )  # fmt: skip
        return {
            "episodes": len(weights),
            "answers": len(answers),
            "composed": [one.name for one in compositions],
            "hindsight": {id_: text for id_, (text, _) in relabelled.items()},
            "evidence": {verb: one.to_json() for verb, one in evidence.items()},
            "beliefs": {verb: {**one.to_json(), "weight": trust.of(verb)} for verb, one in beliefs.items()},
        }

    def _answers(
        self, generation: Generation, tries: Sequence[Try], judgements: Mapping[str, Judgement]
    ) -> dict[str, bool]:
        """What a person says of some of the tries that were claimed a success."""
        if self.recipe.ask_me and self._ask is not None:
            claims: dict[str, list[str]] = {}
            for id_, one in judgements.items():
                if one.claimed:
                    claims.setdefault(one.verb, []).append(id_)
            chosen = choose(claims, self.recipe.ask_me, self.recipe.seed * 1000 + generation.number)
            episodes = {one.id: generation.file("episodes") / one.episode for one in tries}
            instructions = {one.id: one.instruction for one in tries}
            ask_person(generation.folder, chosen, instructions, episodes, self._ask)
        return {id_: done for id_, done in answers_in(generation.folder).items() if id_ in judgements}

    def _learn(self, generation: Generation) -> dict[str, Any]:
        return self._imitate(generation) if self._imitates else self._practise(generation)

    def _practise(self, generation: Generation) -> dict[str, Any]:
        """Reinforcement learning on the tasks that were proposed, see training.improve.practise."""
        recipe, number, out = self.recipe, generation.number, generation.file("learned")
        tasks = practise.tasks_of(
            generation.file("episodes"), _tries(generation), Curriculum.load(generation.file("archive.jsonl")),
            self._untold(generation), recipe.time_limit, recipe.remembered,
        )  # fmt: skip
        if len(tasks) < recipe.least:
            return {"model": None, "why": f"{len(tasks)} tasks to practise are fewer than {recipe.least}"}
        player = self.player(number)
        policy = "small" if player == SHIPPED else str(player)
        try:
            model = train_rl(
                practise.recipe_of(recipe, policy, number, self._workers), out,
                partial(self._tell_of_practice, generation), practice=tasks, ranks=self._ranks,
            )  # fmt: skip
        except CollapseError as error:
            return {"model": None, "why": str(error)}
        rounds = json.loads((out / SUMMARY).read_text())["rounds"]
        return {"model": str(model.relative_to(self.out)), "why": "", "tasks": len(tasks), "rounds": rounds}

    def _tell_of_practice(self, generation: Generation, news: Progress) -> None:
        stage = "practise" if news.stage == "rl" else news.stage
        self._tell(generation, stage, news.done, news.total, **news.figures)

    def _untold(self, generation: Generation) -> frozenset[str]:
        """Verbs whose successes the reward hardly tells from failures: 1 - FP - FN is too small (Youden's J)."""
        beliefs = generation.result("build")["beliefs"] if self.recipe.doubt else {}
        told = {verb: 1.0 - one["false_positive"] - one["false_negative"] for verb, one in beliefs.items()}
        return frozenset(verb for verb, share in told.items() if share < self.recipe.least_told)

    def _imitate(self, generation: Generation) -> dict[str, Any]:
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
        """Parent and candidate on the same tasks; where no verifier knows the world, on its own goals, which the reward
        judges."""
        recipe = self.recipe
        tasks = levels.evaluation_tasks(recipe.env, (*recipe.held_out, *recipe.old), recipe.episodes)
        parent = self._of_parent(generation, tasks)
        candidate = parent
        model = generation.result("learn")["model"]
        if model is not None:
            candidate = evaluate.play_tasks(
                tasks, str(self.out / model), self._workers, partial(self._tell, generation, "evaluate")
            )
        if not recipe.held_out:
            parent = parent | self._by_reward(generation, "parent", self.player(generation.number))
            own = self._by_reward(generation, "candidate", self.out / model) if model is not None else parent
            candidate = candidate | own
        held_out = recipe.held_out or (levels.OWN,)
        compared = evaluate.compare((*held_out, *recipe.old), parent, candidate)
        measured = [task for task in tasks if task.id.startswith(tuple(f"{name}/" for name in recipe.held_out))]
        verbs = evaluate.by_verb(measured, parent, candidate)
        if model is None:
            compared, verbs = evaluate.of_parent_alone(compared), evaluate.of_parent_alone(verbs)
        return {
            "by_verb": verbs,
            "held_out": {name: compared[name] for name in held_out},
            "old": {name: compared[name] for name in recipe.old},
            "parent": parent,
            "candidate": candidate,
        }

    def _by_reward(self, generation: Generation, side: str, player: Path) -> dict[str, bool]:
        """What the reward says of a player's own goals in levels of evaluation, by the task's id."""
        recipe, archive = self.recipe, Curriculum.load(generation.file("archive.jsonl"))
        tasks = levels.own_tasks(recipe.env, recipe.suite, archive, recipe.episodes, recipe.time_limit)
        return evaluate.judge_tasks(
            generation.file("evaluated") / side, tasks, str(player),
            partial(Scorer, recipe.env, recipe.reward, recipe.second, recipe.doubt), self._workers,
            partial(self._tell, generation, f"evaluate the {side}"),
        )  # fmt: skip

    def _of_parent(self, generation: Generation, tasks: list[Task]) -> dict[str, bool]:
        """How the parent does; known from the generation that made it, but for the first player."""
        if generation.number > 1:
            before = Generation(self.out, generation.number - 1)
            result: dict[str, bool] = before.result("evaluate")[
                "candidate" if before.result("promote")["promoted"] else "parent"
            ]
            return {task.id: result[task.id] for task in tasks}
        new = [task for task in tasks if task.id not in self._known]
        return {task.id: self._known[task.id] for task in tasks if task.id in self._known} | evaluate.play_tasks(
            new, str(self.player(1)), self._workers, partial(self._tell, generation, "evaluate the first player")
        )

    def _promote(self, generation: Generation) -> dict[str, Any]:
        learned = generation.result("learn")
        if learned["model"] is None:
            return {"promoted": False, "why": learned["why"]}
        result = generation.result("evaluate")
        promoted, why = evaluate.verdict(
            result["held_out"], result["old"], self.recipe.most_loss, self.recipe.confidence
        )
        if not self.recipe.held_out:
            why += "; only the reward says so, since no verifier knows this world"
        return {"promoted": promoted, "why": why}


def _check(recipe: ImproveRecipe) -> None:
    """Refuse wrong names before anything is played. Raises UserError."""
    plugins.load("world", recipe.env)
    for name in filter(None, (recipe.suite, *recipe.kinds)):
        if (world := world_tasks.suite(name).world) != recipe.env.partition(":")[0]:
            raise UserError(f"suite {name} is played in the world {world}, not in {recipe.env}")
    for name in recipe.rehearsal_suites:
        world_tasks.suite(name)
    for name in (*recipe.held_out, *recipe.old):
        levels.check_tasks(recipe.env, name)
    load_setter(recipe.setter)
    if load_reward(recipe.reward).sees_truth and (recipe.doubt or recipe.hindsight):
        raise UserError(
            f"reward {recipe.reward} sees ground truth: it is the upper bound that others are compared with, and there "
            "is nothing to doubt; give --config a recipe with doubt: false and hindsight: 0"
        )
    if recipe.second and load_reward(recipe.second).sees_truth:
        raise UserError(f"second {recipe.second}: the second view sees pixels alone; take another reward")
    if recipe.policy != "small" and not (Path(recipe.policy) / MANIFEST).is_file():
        raise UserError(f"policy {recipe.policy}: expected small, or the folder of a checkpoint of small")


def _tries(generation: Generation) -> list[Try]:
    return [Try.from_json(one) for one in generation.result("collect")["tries"]]


def _audited(generation: Generation) -> list[dict[str, Any]]:
    """Ground truth of the tries. Nothing that learns sees it."""
    return json_lines.read(generation.file("audit.jsonl"))


def _claim(row: Mapping[str, Any]) -> tuple[Other, Judgement]:
    said = {name: value for name, value in row.items() if name not in ("id", "instruction")}
    return Other(row["id"], row["instruction"]), Judgement.from_json(said)


def stages_left(out: Path, generations: int) -> list[tuple[int, Stage]]:
    """The stages that a run still has to do."""
    return [
        (number, stage)
        for number in range(1, generations + 1)
        for stage in STAGES
        if not Generation(out, number).done(stage)
    ]

"""What self-improvement brings, and which of its parts: runs with and without each of them, at several seeds.

    python benchmarks/self_improvement.py --out runs/arms
    python benchmarks/self_improvement.py --out runs/arms --arms full "no doubt" --seeds 1 --workers 2
    python benchmarks/self_improvement.py --out runs/arms --report

The arms are in benchmarks/self_improvement.yaml, or in the file that --config names. Every arm and seed is a run of
`agent self-improve` in a folder of its own, so that the same command goes on where it was stopped. The table pools the
seeds of an arm; all success is by ground truth, on levels that no arm plays otherwise. --report prints what is there.
"""

from __future__ import annotations

import argparse
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from envs.yaml_files import load_yaml
from rewards.reward import Reward, VerifiedFootage, load_reward, score_pairs
from rewards.score import Failure, Score
from tasks import json_lines
from tasks.goal_text import goal_of
from tasks.task import Task
from training.evaluation.statistics import auroc, percent, proportion
from training.improve.ask import Ask, Question
from training.improve.collect import Try
from training.improve.generation import Generation
from training.improve.loop import SelfImprovement, stages_left
from training.improve.recipe import ImproveRecipe
from training.improve.scoring import Judgement

CONFIG = Path(__file__).with_suffix(".yaml")
SKILL = 2  # true successes of a goal that make it a skill


class Mistaken:
    """A reward that also calls a share of the failures a success: for each episode and instruction always the same."""

    sees_truth = False

    def __init__(self, share: float, part: Reward) -> None:
        self.name = f"mistaken:{share:g}:{part.name}"
        self._share, self._part = share, part

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        results = score_pairs(self._part, [(task, episode) for episode in episodes])
        return [self._one(task, *pair) for pair in zip(episodes, results, strict=True)]

    def _one(self, task: Task, episode: VerifiedFootage, result: Score | Failure) -> Score | Failure:
        if isinstance(result, Failure) or result.success:
            return result
        drawn = zlib.crc32(episode.decision_frames()[-1].tobytes(), zlib.crc32(task.instruction.encode())) / 2**32
        return Score(100.0, True, "mistaken", self.name) if drawn < self._share else result


def Mistaken10() -> Mistaken:  # noqa: N802  (rewards are named like classes)
    """The judge with 10 % false positives more."""
    return Mistaken(0.1, load_reward("judge"))


def Mistaken20() -> Mistaken:  # noqa: N802
    """The judge with 20 % false positives more."""
    return Mistaken(0.2, load_reward("judge"))


def Mistaken30() -> Mistaken:  # noqa: N802
    """The judge with 30 % false positives more."""
    return Mistaken(0.3, load_reward("judge"))


class Config(pydantic.BaseModel):
    """The file of the arms: fields of the recipe for all of them, and for each."""

    model_config = pydantic.ConfigDict(extra="forbid")

    base: dict[str, Any]
    arms: dict[str, dict[str, Any]]

    def recipe(self, arm: str, seed: int) -> ImproveRecipe:
        return ImproveRecipe.model_validate({**self.base, **self.arms[arm], "seed": seed})


def folder(out: Path, arm: str, seed: int) -> Path:
    """The run of an arm and a seed."""
    return out / f"{re.sub('[^a-z0-9]+', '-', arm.lower()).strip('-')}-{seed}"


def right(run: Path) -> Ask:
    """A person who is always right."""

    def answer(question: Question, number: int, of: int) -> bool | None:
        truth: dict[str, bool | None] = {}
        for path in sorted(run.glob("generation-*/audit.jsonl")):
            truth |= {row["id"]: row["success"] for row in json_lines.read(path)}
        return truth[question.id]

    return answer


def known(out: Path, policy: str) -> dict[str, bool]:
    """What a first player does, by the task's id, from the runs that have evaluated it."""
    found: dict[str, bool] = {}
    for run in sorted(one.parent for one in out.glob("*/recipe.json")):
        first = Generation(run, 1)
        if first.done("evaluate") and json.loads((run / "recipe.json").read_text())["policy"] == policy:
            found |= first.result("evaluate")["parent"]
    return found


def generations(run: Path, recipe: ImproveRecipe) -> list[dict[str, Any]]:
    """The figures of the finished generations of a run."""
    left = {number for number, _ in stages_left(run, recipe.generations)}
    done = [number for number in range(1, recipe.generations + 1) if number not in left]
    loop = SelfImprovement(recipe, run)
    return [
        {
            **loop.summary(generation),
            **judged(run, recipe.env, generation.number),
            "changes": changes(generation, recipe),
        }
        for generation in (Generation(run, number) for number in done)
    ]


def changes(generation: Generation, recipe: ImproveRecipe) -> dict[str, int]:
    """By held-out task: 1 where the candidate does it and its parent does not, -1 the other way round, otherwise 0."""
    result = generation.result("evaluate")
    return {
        task: int(result["candidate"][task]) - int(done)
        for task, done in result["parent"].items()
        if task.startswith(tuple(f"{suite}/" for suite in recipe.held_out))
    }


def gain(runs: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """By how many points candidates do better than their parents: each of `runs`, the mean, and its 95 % interval. The
    runs are evaluated on the same tasks, so the interval is that of the tasks' mean changes."""
    means = np.mean([[one[task] for task in runs[0]] for one in runs], axis=0)
    margin = 1.96 * float(means.std(ddof=1)) / np.sqrt(len(means)) if len(means) > 1 else 1.0
    return {
        "points": 100.0 * float(means.mean()),
        "ci": [100.0 * float(means.mean() - margin), 100.0 * float(means.mean() + margin)],
        "runs": [100.0 * float(np.mean(list(one.values()))) for one in runs],
    }


def judged(run: Path, env: str, number: int) -> dict[str, Any]:
    """How good the reward was in a generation: its AUROC, its false positives, and the goals that were truly done."""
    generation = Generation(run, number)
    truth = {row["id"]: row["success"] for row in json_lines.read(generation.file("audit.jsonl"))}
    scores = {id_: Judgement.from_json(one) for id_, one in generation.result("score")["scores"].items()}
    known = [(one, bool(truth[id_])) for id_, one in scores.items() if one.value is not None and truth[id_] is not None]
    done: dict[str, int] = {}
    for one in map(Try.from_json, generation.result("collect")["tries"]):
        goal = goal_of(env, one.instruction).text
        done[goal] = done.get(goal, 0) + int(truth[one.id] is True)
    failures = [bool(one.claimed) for one, true in known if not true]
    return {
        "auroc": auroc([one.value or 0.0 for one, _ in known], [true for _, true in known]),
        "false_positives": proportion(sum(failures), len(failures), of="n"),
        "skills": sum(count >= SKILL for count in done.values()),
    }


def row(arm: str, runs: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """An arm over its seeds: the first player, and the player after the last generation."""

    def share(group: str, which: int) -> dict[str, Any]:
        n = hits = 0
        for run in runs:
            one = run[which]
            side = "parent" if which == 0 or not one["promoted"] else "candidate"
            for suite in one[group].values():
                n += suite["n"]
                hits += round(suite[side]["success"] * suite["n"])
        return proportion(hits, n, of="n")

    last = [run[-1] for run in runs]
    known = [one["gap"] for one in last if one["gap"] is not None]
    return {
        "arm": arm,
        "seeds": len(runs),
        "generations": min(len(run) for run in runs),
        "promoted": sum(one["promoted"] for run in runs for one in run),
        "held_out": [share("held_out", 0), share("held_out", -1)],
        "old": [share("old", 0), share("old", -1)],
        "gain": gain([run[0]["changes"] for run in runs]),
        "gap": sum(known) / len(known) if known else None,
        "false_positives": proportion(
            sum(round((one["false_positives"]["rate"] or 0.0) * one["false_positives"]["n"]) for one in last),
            sum(one["false_positives"]["n"] for one in last), of="n",
        ),
        "auroc": sum(one["auroc"] for one in last) / len(last),
        "skills": sum(one["skills"] for one in last) / len(last),
        "minutes": sum(one["minutes"] for run in runs for one in run) / len(runs),
    }  # fmt: skip


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """The arms as a Markdown table."""
    columns = (
        "arm", "seeds", "generations", "promoted", "held out at first, %", "in the end, %", "old at first, %",
        "in the end, %", "first candidate against its parent, points", "gap, points", "false positives, %", "AUROC",
        "skills", "minutes",
    )  # fmt: skip
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for one in rows:
        rates = (*one["held_out"], *one["old"])
        cells = [
            one["arm"], str(one["seeds"]), str(one["generations"]), str(one["promoted"]),
            *(percent(rate["rate"], rate["ci"]) for rate in rates),
            f"{one['gain']['points']:+.1f} ({one['gain']['ci'][0]:+.1f} to {one['gain']['ci'][1]:+.1f}): "
            + ", ".join(f"{points:+.1f}" for points in one["gain"]["runs"]),
            "-" if one["gap"] is None else f"{one['gap']:+.1f}",
            percent(one["false_positives"]["rate"], one["false_positives"]["ci"]),
            f"{one['auroc']:.2f}", f"{one['skills']:.1f}", f"{one['minutes']:.1f}",
        ]  # fmt: skip
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--arms", nargs="+", help="some of them; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", default="2")
    parser.add_argument("--report", action="store_true", help="play nothing")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    config = Config.model_validate(load_yaml(options.config))
    arms = options.arms or list(config.arms)
    if unknown := [arm for arm in arms if arm not in config.arms]:
        parser.error(f"--arms: there is no arm {unknown[0]!r}; {options.config} has {', '.join(config.arms)}")
    rows = []
    for arm in arms:
        runs = []
        for seed in range(options.seeds):
            recipe, run = config.recipe(arm, seed), folder(options.out, arm, seed)
            if not options.report:
                first = known(options.out, recipe.policy)
                SelfImprovement(recipe, run, workers=options.workers, ask=right(run), known=first).run()
            if run.exists() and (found := generations(run, recipe)):
                runs.append(found)
        if runs:
            rows.append(row(arm, runs))
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        print_table(rows)


if __name__ == "__main__":
    main()

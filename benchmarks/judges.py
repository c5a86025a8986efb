"""Judges of a player's own tries, in levels that nobody learned from: how well they tell successes from failures.

    python benchmarks/judges.py --suites doom-vault-steps doom-themes --tries 500 --rewards judge judge:small

A player tries the tasks of evaluation seeds, with decisions sampled at a temperature, so that some tries of each kind
fail. Each reward scores all of them, by pixels alone. AUROC is how often a success gets more than a failure. FPR and
TPR are the shares of failures and successes above the reward's threshold. The truth is the verifier's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from envs import plugins
from rewards.reward import Frames, Reward, load_reward, score_pairs
from rewards.score import Score
from tasks import world_tasks
from tasks.task import Task
from training.evaluation.statistics import auroc, auroc_interval, percent, proportion
from training.judge.plays import Watcher

PORTION = 96
ALL = "all"


@dataclass(frozen=True)
class Try:
    """What a reward sees of a try; its verdict is kept from it by score_pairs."""

    frames: Frames
    success: bool
    why: str = ""

    def decision_frames(self) -> Frames:
        return self.frames


def tasks_of(suite: str, count: int, seed: int) -> list[Task]:
    made = world_tasks.suite(suite)
    return [made.task(seed, index, evaluation=True) for index in range(count)]


def scored(args: argparse.Namespace, suite: str, rewards: Sequence[Reward]) -> Iterator[dict[str, Any]]:
    """A row for each try: its verb, the truth, and what each reward said."""
    tasks = tasks_of(suite, args.tries, args.seed)
    watcher = Watcher(args.policy, args.temperature, plugins.load("world", tasks[0].world))
    try:
        for at in range(0, len(tasks), PORTION):
            part = tasks[at : at + PORTION]
            pairs = [
                (task, Try(frames, bool(one.true_success)))
                for task, (one, frames) in zip(part, watcher.watch(part, args.seed + at), strict=True)
            ]
            said = [score_pairs(reward, pairs) for reward in rewards]
            for number, (task, one) in enumerate(pairs):
                scores = [results[number] for results in said]
                yield {
                    "suite": suite, "task": task.id, "verb": task.verb, "success": one.success,
                    "scores": [[s.value, s.success] if isinstance(s, Score) else None for s in scores],
                }  # fmt: skip
    finally:
        watcher.close()


def figures(rows: Sequence[dict[str, Any]], which: int) -> dict[str, Any]:
    """What the reward number `which` is worth on some rows; those that it gave no score for are left out."""
    kept = [row for row in rows if row["scores"][which] is not None]
    truth = np.array([row["success"] for row in kept], bool)
    values = np.array([row["scores"][which][0] for row in kept], float)
    passed = np.array([row["scores"][which][1] for row in kept], bool)
    both = truth.any() and not truth.all()
    return {
        "tries": len(kept), "successes": int(truth.sum()), "auroc": auroc(values, truth) if both else None,
        "auroc_ci": list(auroc_interval(values, truth)) if both else None,
        "fpr": proportion(int(passed[~truth].sum()), int((~truth).sum())),
        "tpr": proportion(int(passed[truth].sum()), int(truth.sum())),
    }  # fmt: skip


def table(results: dict[str, dict[str, dict[str, Any]]]) -> Table:
    made = Table("suite", "verb", "reward", "tries", "successes", "AUROC", "FPR, %", "TPR, %")
    for place, rewards in results.items():
        suite, verb = place.split("/")
        for name, one in rewards.items():
            area = "{:.2f} ({:.2f}-{:.2f})".format(one["auroc"], *one["auroc_ci"]) if one["auroc"] else "-"
            made.add_row(
                suite, verb, name, str(one["tries"]), str(one["successes"]), area,
                *(percent(one[share]["rate"], one[share]["ci"], digits=0) for share in ("fpr", "tpr")),
            )  # fmt: skip
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suites", nargs="+", default=["doom-vault-steps", "doom-themes"])
    parser.add_argument("--rewards", nargs="+", default=["judge", "judge:small"])
    parser.add_argument("--policy", default="small", help="who tries: small, or a checkpoint of it")
    parser.add_argument("--tries", type=int, default=500, help="of each suite")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    args = parser.parse_args()
    rewards = [load_reward(name) for name in args.rewards]
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for suite in args.suites:
        rows = list(scored(args, suite, rewards))
        for verb in (ALL, *sorted({row["verb"] for row in rows})):
            chosen = [row for row in rows if verb in (ALL, row["verb"])]
            results[f"{suite}/{verb}"] = {name: figures(chosen, at) for at, name in enumerate(args.rewards)}
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    Console(width=120).print(table(results))


if __name__ == "__main__":
    main()

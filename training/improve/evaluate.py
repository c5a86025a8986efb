"""Evaluation of a player on the held-out and the old tasks, and the comparison of a candidate with its parent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from tasks.task import Task
from training.evaluation.statistics import wilson
from training.evaluation.success import Evaluator, Job
from training.improve.collect import load_player, open_world
from training.improve.recording import episode_of, record_tasks
from training.improve.scoring import Scorer, judge_with, scorings
from training.workers.hire import hire
from training.workers.parallel_play import portions
from training.workers.workers import Failed

_Z = 1.96  # of a 95 % interval


def play_tasks(
    tasks: Sequence[Task],
    policy: str,
    workers: str | int,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, bool]:
    """Whether the greedy player does each task, by the task's id; judged by ground truth. Raises RuntimeError if an
    episode could not be played."""
    done: dict[str, bool] = {}
    for world in sorted({task.world for task in tasks}):
        jobs = [Job("policy", task) for task in tasks if task.world == world]
        with hire(partial(Evaluator, partial(load_player, policy), partial(open_world, world)), workers) as crew:
            for portion, results in crew.run(portions(jobs, crew.count)):
                if isinstance(results, Failed):
                    raise RuntimeError(f"{portion[0].task.id} to {portion[-1].task.id}: {results.error}")
                done |= {job.task.id: bool(result.success) for job, result in zip(portion, results, strict=True)}
                on_progress(len(done), len(tasks))
    return done


def judge_tasks(
    out: Path,
    tasks: Sequence[Task],
    policy: str,
    scorer: Callable[[], Scorer],
    workers: str | int,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, bool]:
    """Whether the greedy player does each task as a reward sees it, by the task's id, for worlds without verifiers;
    without those that the reward could not score. The episodes stay in `out`."""
    record_tasks(out, tasks, policy, workers, on_progress)
    with hire(scorer, workers, most=scorings(len(tasks))) as crew:
        said = judge_with(crew, [(task, episode_of(out, task), False) for task in tasks])
    return {task.id: one.claimed for task, one in zip(tasks, said, strict=True) if one.claimed is not None}


def compare(suites: Sequence[str], parent: Mapping[str, bool], candidate: Mapping[str, bool]) -> dict[str, Any]:
    """Success of both by suite and in all, with 95 % Wilson intervals, and the paired difference in points.

    `p`: of the exact sign test on the tasks that one does and the other does not. `low`, `high`: 95 % interval of the
    difference, from the variance of the paired differences.
    """
    return {
        name: _paired([one for one in parent if one.startswith(f"{name}/") and one in candidate], parent, candidate)
        for name in suites
    }


def by_verb(tasks: Sequence[Task], parent: Mapping[str, bool], candidate: Mapping[str, bool]) -> dict[str, Any]:
    """The rows of `compare`, one for each verb of the tasks."""
    verbs = sorted({task.verb for task in tasks})
    return {verb: _paired([task.id for task in tasks if task.verb == verb], parent, candidate) for verb in verbs}


def of_parent_alone(compared: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Rows of `compare` where there is no candidate: what there is to say of it is None."""
    nothing = dict.fromkeys(("candidate", "points", "low", "high", "p"))
    return {name: {**row, **nothing} for name, row in compared.items()}


def _paired(tasks: Sequence[str], parent: Mapping[str, bool], candidate: Mapping[str, bool]) -> dict[str, Any]:
    before, after = (np.array([of[task] for task in tasks], float) for of in (parent, candidate))
    n, change = len(tasks), after - before
    won, lost = int((change > 0).sum()), int((change < 0).sum())
    from scipy.stats import binomtest  # it takes a second to import, and processes that only play don't need it

    margin = _Z * float(change.std(ddof=1)) / np.sqrt(n) if n > 1 else 1.0
    mean = float(change.mean()) if n else 0.0
    return {
        "n": n,
        "parent": _share(int(before.sum()), n),
        "candidate": _share(int(after.sum()), n),
        "points": 100.0 * mean,
        "low": 100.0 * (mean - margin),
        "high": 100.0 * (mean + margin),
        "won": won,
        "lost": lost,
        "p": float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
    }


def _share(successes: int, n: int) -> dict[str, Any]:
    return {"success": successes / n if n else None, "ci": list(wilson(successes, n))}


def verdict(
    held_out: Mapping[str, Mapping[str, Any]],
    old: Mapping[str, Mapping[str, Any]],
    most_loss: float,
    confidence: float = 0.5,
) -> tuple[bool, str]:
    """Whether a candidate is promoted, and why: the held-out suites improve in all, and no old suite loses more than
    `most_loss` points.

    `confidence`: of both. A gain counts where the one-sided interval of this confidence lies above 0, and a loss where
    it lies below 0; at 0.5 the differences count as they are.
    """
    z = NormalDist().inv_cdf(confidence)
    for name, row in old.items():
        if row["points"] < -most_loss and row["points"] + z * _error(row) < 0.0:
            return False, f"{name} loses {-row['points']:.1f} points, more than {most_loss:g}"
    n = max(1, sum(row["n"] for row in held_out.values()))
    gain = sum(row["points"] * row["n"] for row in held_out.values()) / n
    least = gain - z * float(np.sqrt(sum((_error(row) * row["n"] / n) ** 2 for row in held_out.values())))
    if gain <= 0.0:
        return False, f"the held-out tasks don't improve ({gain:+.1f} points)"
    if least <= 0.0:
        return False, f"the held-out tasks improve by {gain:.1f} points, which may be chance ({least:+.1f} or more)"
    return True, f"the held-out tasks improve by {gain:.1f} points, and no old suite loses more than {most_loss:g}"


def _error(row: Mapping[str, Any]) -> float:
    """The standard error of a paired difference, in points."""
    return float(row["high"] - row["low"]) / (2.0 * _Z)

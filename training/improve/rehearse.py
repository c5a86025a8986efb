"""Rehearsal: episodes of the first player in the suites that it was trained in, for learning that forgets nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tasks import world_tasks
from training.improve.recording import record_tasks


def rehearse(
    out: Path,
    suites: Sequence[str],
    episodes: int,
    policy: str,
    seed: int,
    workers: str | int,
    on_progress: Callable[[int, int], None],
) -> None:
    """Record `episodes` of each training suite into `out`; those that are there are not played again. Raises ValueError
    for a suite that is held out."""
    tasks = [
        world_tasks.training(name).task(seed, index, evaluation=False) for name in suites for index in range(episodes)
    ]
    record_tasks(out, tasks, policy, workers, on_progress)

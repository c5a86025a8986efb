"""The same command gives the same result: however many workers there are, and whatever else the machine does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from agent.cli.recording import Plan, Recorded, Recording
from agent.small import load_small
from envs.doom.world import DoomWorld
from tasks import world_tasks
from tasks.task import Task
from tests.support.thread_workers import THREADS
from training.data.episodes import read_episode
from training.evaluation import success
from training.evaluation.success import evaluate
from training.workers.hire import hire
from training.workers.parallel_play import ParallelPlay

TASKS = 4
SAME = (
    "tick", "keys", "buttons", "yaw", "pitch", "instruction", "actor", "decision", "asked", "thought", "speech",
)  # fmt: skip


@contextmanager
def busy_core() -> Iterator[None]:
    """Something else takes the time of a core, in bursts, so that episodes get ahead of each other."""
    code = "import time\nwhile True:\n    e = time.time() + 0.05\n    while time.time() < e: pass\n    time.sleep(0.02)"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def tasks() -> list[Task]:
    """Tasks that end one after the other, so that fewer and fewer share a pass."""
    chosen = world_tasks.suite("doom-basic").tasks(12, TASKS)
    return [replace(task, time_limit=16 + 8 * i) for i, task in enumerate(chosen)]


def evaluated(workers: int) -> dict[str, str]:
    """The digest of every decision of every episode, by task."""
    return dict(evaluate(tasks(), load_small, DoomWorld, workers=workers)["policy"].played)


def played_here(episodes: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same in this process, so many episodes at once."""
    monkeypatch.setattr(success, "ParallelPlay", partial(ParallelPlay, episodes=episodes))
    evaluator = success.Evaluator(load_small, DoomWorld)
    try:
        results = evaluator.work([success.Job("policy", task) for task in tasks()])
    finally:
        evaluator.close()
    return {task.id: result.played for task, result in zip(tasks(), results, strict=True)}


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine makes it slow, and must not make it fail
def test_evaluation_is_the_same_with_any_workers_and_any_load(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = played_here(1, monkeypatch)
    assert len(set(alone.values())) == TASKS
    with busy_core():
        assert played_here(TASKS - 1, monkeypatch) == alone  # the last one begins when another ends
        assert evaluated(2) == alone


class ShortPlan(Plan):
    """A plan of short episodes."""

    def task(self, index: int) -> Task:
        return replace(super().task(index), time_limit=32)


def recorded(out: Path, workers: int | str) -> list[dict[str, list[object]]]:
    """Everything that was decided and done, episode by episode."""
    plan = ShortPlan("doom", "small", "doom-basic", 12, out, noise=0.1)
    with hire(partial(Recording, plan), workers) as crew:
        assert all(isinstance(result, Recorded) for _, result in crew.run(range(3)))
    return [read_episode(plan.path(index)).steps.select(list(SAME)).to_pydict() for index in range(3)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_recording_is_the_same_with_any_workers_and_any_load(tmp_path: Path) -> None:
    alone = recorded(tmp_path / "1", THREADS)
    assert all(len(set(episode["decision"])) >= 5 for episode in alone)
    with busy_core():
        assert recorded(tmp_path / "2", 2) == alone

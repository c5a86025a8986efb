"""Demonstrations with annotations: the expert's with noise, or a policy's that the expert corrects (DAgger)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agent.inference import Player, Scripted
from agent.policy import Policy
from envs.doom.world import DoomState, DoomWorld
from envs.world import World
from tasks import suites
from tasks.expert import ExpertPolicy
from tasks.play import play_task
from tasks.task import Task
from training.annotate import annotate, query_of
from training.crew import Crew, CrewError, Failed
from training.disturb import Disturbed
from training.episodes import Recorder
from training.table import Table, portions


class Demonstrator:
    """A crew's worker: plays and annotates tasks, and records them under `out`."""

    def __init__(self, out: Path, policy: str | None, queries: int) -> None:
        self._out, self._queries, self._policy = out, queries, policy or "expert"
        self._loaded: Policy | None = None
        if policy is not None:
            from agent.small import load_small

            self._loaded = load_small(policy)
        self._table = Table(partial(DoomWorld, labels=True))

    def work(self, job: Sequence[Task]) -> list[tuple[bool | None, int]]:
        """Play some tasks; success and number of decisions of each."""
        if self._loaded is not None:
            return self._table.play(self._loaded, job, self._play)
        world = self._table.world()
        return [self._play(world, Disturbed(Scripted(ExpertPolicy().start(task))), task) for task in job]

    def _play(self, world: World, player: Player, task: Task) -> tuple[bool | None, int]:
        spec = task.verifier
        if spec is None:
            raise ValueError(f"task {task.id} has no verifier")
        rng = np.random.default_rng([task.seed, 2])

        def notes(state: DoomState) -> dict[str, Any]:
            return annotate(rng, state, query_of(state.level, spec), self._queries)

        recorder = Recorder(_folder(self._out, task), task=task, policy=self._policy, durable=False)
        outcome = play_task(world, player, task, annotate=notes, subscribers=[recorder], observe="decision")
        player.close()
        if recorder.episode is None:
            raise CrewError(f"{recorder.path}: {'; '.join(outcome.problems)}")
        return outcome.success, outcome.decisions

    def close(self) -> None:
        self._table.close()


def _folder(out: Path, task: Task) -> Path:
    return out / task.id.replace("/", "-")


def demonstrate(
    out: Path,
    suite: str,
    seed: int,
    episodes: int,
    *,
    policy: str | None = None,
    workers: int = 2,
    queries: int = 6,
    time_limit: int = 280,
) -> Iterator[tuple[bool | None, int]]:
    """Record `episodes` annotated episodes of a training suite into `out`; yields (success, decisions) of each.

    `policy`: a checkpoint that plays while the expert annotates; None for the noisy expert. Episodes that are there
    already are not played again. Raises ValueError for a suite that is held out.
    """
    out.mkdir(parents=True, exist_ok=True)
    chosen = suites.training(suite)
    tasks = (chosen.task(seed, index, evaluation=False) for index in range(episodes))
    todo = [replace(task, time_limit=time_limit) for task in tasks if not _folder(out, task).exists()]
    with Crew(partial(Demonstrator, out, policy, queries), workers) as crew:
        for portion, results in crew.run(portions(todo, workers)):
            if isinstance(results, Failed):
                raise RuntimeError(f"{portion[0].id} to {portion[-1].id}: {results.error}")
            yield from results

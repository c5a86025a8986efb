"""Demonstrations with annotations: the expert's with noise, or a policy's that the expert corrects (DAgger)."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent import codec
from agent.inference import InStep, Player, Scripted
from agent.policy import Decision
from agent.runtime import play
from envs.doom.world import DoomState, DoomWorld
from tasks import expert, suites, verify
from tasks.task import Task
from training.annotate import annotate, query_of
from training.episodes import Recorder

NOISE = 0.12  # chance that a burst of random decisions begins
BURST = 4  # the most decisions of a burst


class NoisyExpert:
    """The expert with bursts of random decisions, so that demonstrations show how to recover."""

    def __init__(self, task: Task, noise: float = NOISE) -> None:
        self._decide = expert.ExpertPolicy().start(task)
        self._rng = np.random.default_rng([task.seed, 1])
        self._noise, self._left = noise, 0

    def __call__(self, state: DoomState) -> Decision:
        if self._left == 0 and self._rng.random() < self._noise:
            self._left = int(self._rng.integers(1, BURST + 1))
        if self._left == 0:
            return self._decide(state)
        self._left -= 1
        turn, look, move = (int(self._rng.integers(n)) for n in codec.SIZES[:3])
        return codec.decode((turn, look if self._rng.random() < 0.2 else codec.NOOP[1], move, 0))


def _worker(core: int, jobs: Any, done: Any, out: Path, policy: str | None, queries: int) -> None:
    os.sched_setaffinity(0, {core})  # the game inherits it: on one core they wake each other faster
    world = DoomWorld(labels=True)
    make = _player_maker(policy)
    try:
        while True:
            task: Task | None = jobs.get()
            if task is None:
                break
            rng = np.random.default_rng([task.seed, 2])
            spec = task.verifier
            verifier = verify.make(spec)
            assert spec is not None
            assert verifier is not None

            def notes(state: DoomState, rng: Any = rng, spec: Any = spec) -> dict[str, Any]:
                return annotate(rng, state, query_of(state.level, spec), queries)

            recorder = Recorder(out / task.id.replace("/", "-"), task=task, policy=policy or "expert", durable=False)
            outcome = play(
                world,
                make(task),
                task.instruction,
                seed=task.seed,
                options=task.options,
                time_limit=task.time_limit,
                judge=verifier.update,
                annotate=notes,
                subscribers=[recorder],
                observe="decision",
            )
            done.put((task.id, outcome.success, outcome.decisions))
    finally:
        world.close()
        done.put(None)


def _player_maker(policy: str | None) -> Callable[[Task], Player]:
    if policy is None:
        return lambda task: Scripted(NoisyExpert(task))
    import torch

    from agent.small import load_small

    torch.set_num_threads(1)
    loaded = load_small(policy)
    return lambda task: InStep(loaded)


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
) -> Iterator[tuple[str, bool | None, int]]:
    """Record `episodes` annotated episodes of a training suite into `out`; yields (task id, success, decisions).

    `policy`: a checkpoint that plays while the expert annotates; None for the noisy expert. Episodes that are there
    already are not played again. Raises ValueError for a suite that is held out.
    """
    out.mkdir(parents=True, exist_ok=True)
    chosen = suites.training(suite)
    context = multiprocessing.get_context("spawn")
    jobs: Any = context.Queue(maxsize=8 * workers)
    done: Any = context.Queue()
    cores = sorted(os.sched_getaffinity(0))
    crew = [
        context.Process(target=_worker, args=(cores[i % len(cores)], jobs, done, out, policy, queries), daemon=True)
        for i in range(workers)
    ]
    for process in crew:
        process.start()

    def feed() -> Iterator[Task]:
        for index in range(episodes):
            task = chosen.task(seed, index, evaluation=False)
            if not (out / task.id.replace("/", "-")).exists():
                yield Task(**{**task.__dict__, "time_limit": time_limit})

    try:
        tasks = feed()
        waiting, open_jobs, finished = True, 0, 0
        while finished < workers:
            while waiting and open_jobs < 8 * workers:
                task = next(tasks, None)
                if task is None:
                    waiting = False
                    for _ in crew:
                        jobs.put(None)
                    break
                jobs.put(task)
                open_jobs += 1
            result = done.get()
            if result is None:
                finished += 1
                continue
            open_jobs -= 1
            yield result
    finally:
        for process in crew:
            process.terminate()
        for process in crew:
            process.join()

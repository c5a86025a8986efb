"""Demonstrations with annotations: the guide's with noise, or a policy's that the guide corrects (DAgger).

Views are annotated too, of houses with locks, keys and switches. The expert walks through them, but what it does there
is not for the player to learn: only what there is to see.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from agent import doom_codec as codec
from agent.episode import Step, Subscriber
from agent.loop.players import Player, ScriptedPlayer
from agent.policy import Decision, Policy
from agent.sight import DIRECTIONS, NOWHERE
from agent.small.place import read_place, write_place
from envs import plugins
from envs.doom.world import DoomState
from envs.world import World
from tasks import world_tasks
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from tasks.task import Task
from tasks.teacher import Advice
from training.data.disturb import Disturbed
from training.data.episodes import Recorder
from training.small import lesson_world
from training.small.judge_goals import judged_suite
from training.workers.hire import hire
from training.workers.parallel_play import ParallelPlay, portions
from training.workers.workers import Failed, WorkersError

LINGER = 12  # ticks after success, in which one says so and stops


class _Watcher(Subscriber):
    """The guide of one episode, or the coach of another world's: it advises once on every state, whoever asks first,
    and hears what is thought."""

    def __init__(self, task: Task) -> None:
        self._teacher = world_tasks.of(task.world).teacher(task)
        self._last: tuple[int, Advice] | None = None
        self._thought: str | None = None

    def advise(self, state: Any) -> Advice:
        if self._last is None or self._last[0] != state.tick:
            self._last = (state.tick, self._teacher.advise(state, self._thought))
        return self._last[1]

    def on_step(self, step: Step) -> None:
        if step.actor == "agent" and step.decision is not None:
            self._thought = read_place(step.decision.thought)[0]

    def decide(self, state: Any) -> Decision:
        advice = self.advise(state)
        actions = codec.decode(advice.tokens).actions
        return Decision(actions, write_place(advice.thought, advice.place), advice.speech, advice.done)


class _Walker(Subscriber):
    """Walks as the expert does and has no advice."""

    def __init__(self, task: Task) -> None:
        self.decide = ExpertPolicy().start(task)

    def advise(self, state: DoomState) -> Advice:
        return Advice(codec.NOOP, NOWHERE)


class Demonstrator:
    """A Worker that plays and annotates tasks, and records them under `out`."""

    def __init__(self, out: Path, policy: str | None, queries: int, views: bool, world: str) -> None:
        self._out, self._queries, self._policy = out, queries, policy or ("expert" if views else "guide")
        self._views, self._world = views, world
        self._loaded: Policy | None = None
        if policy is not None:
            from agent.small import load_small

            self._loaded = load_small(policy)
        self._worlds = ParallelPlay(partial(open_world, world))

    def work(self, job: Sequence[Task]) -> list[tuple[bool | None, int]]:
        """Play some tasks; success and number of decisions of each."""
        if self._loaded is not None:
            return self._worlds.play(self._loaded, job, self._play)
        return self._worlds.play_scripts(job, lambda world, task: self._play(world, None, task))

    def _play(self, world: World, player: Player | None, task: Task) -> tuple[bool | None, int]:
        rng = np.random.default_rng([task.seed, 2])
        lessons = lesson_world.of(self._world)
        watcher = _Walker(task) if self._views else _Watcher(task)
        compass = world_tasks.of(task.world).compass(task) if task.compass else None

        def notes(state: Any) -> dict[str, Any]:
            advice = watcher.advise(state)
            told = compass(state) if compass is not None else ""
            way = 1 + DIRECTIONS.index(told) if told else 0
            return {**lessons.annotate(rng, state, advice, self._queries), "way": np.array([way], np.uint8)}

        player = player or Disturbed(ScriptedPlayer(watcher.decide))
        folder = _folder(self._out, task)
        if folder.exists():  # by a process that died before it told of it
            shutil.rmtree(folder)
        recorder = Recorder(folder, task=task, policy=self._policy, durable=False)
        outcome = play_task(
            world, player, task, annotate=notes, subscribers=[recorder, watcher], observe="decision", linger=LINGER,
            end_on_done=task.verifier is None,
        )  # fmt: skip
        player.close()
        if recorder.episode is None:
            raise WorkersError(f"{recorder.path}: {'; '.join(outcome.problems)}")
        return outcome.done if task.verifier is None else outcome.success, outcome.decisions

    def close(self) -> None:
        self._worlds.close()


def open_world(name: str) -> World:
    """A world with all the ground truth that it has: labels where it can give them."""
    make: Callable[..., World] = plugins.load("world", name, references=False)
    return make(labels=True) if "labels" in signature(make).parameters else make()


def _folder(out: Path, task: Task) -> Path:
    return out / task.id.replace("/", "-")


def demonstrate(
    out: Path,
    counts: Mapping[str, int],
    seed: int,
    *,
    policy: str | None = None,
    views: bool = False,
    workers: str | int = 2,
    queries: int = 5,
) -> Iterator[tuple[bool | None, int]]:
    """Record annotated episodes into `out`, `counts` of each training suite; yields (success, decisions) of each. All
    suites are of one world.

    `policy`: a checkpoint that plays while the guide annotates; None for the noisy guide. `views`: see above.
    Episodes that are there already are not played again. Raises ValueError for a suite that is held out.
    """
    out.mkdir(parents=True, exist_ok=True)
    todo = []
    for suite, episodes in counts.items():
        chosen = judged_suite(suite) if views else world_tasks.training(suite)
        tasks = (chosen.task(seed, index, evaluation=False) for index in range(episodes))
        # who does not succeed soon has shown what there is to learn
        todo += [
            replace(task, time_limit=task.time_limit * 2 // 3) for task in tasks if not _folder(out, task).exists()
        ]
    if not todo:
        return
    world = todo[0].world
    if any(task.world != world for task in todo):
        raise ValueError(f"{', '.join(counts)}: expected suites of one world")
    with hire(partial(Demonstrator, out, policy, queries, views, world), workers, most=len(todo)) as crew:
        for portion, results in crew.run(portions(todo, crew.count)):
            if isinstance(results, Failed):
                raise RuntimeError(f"{portion[0].id} to {portion[-1].id}: {results.error}")
            yield from results

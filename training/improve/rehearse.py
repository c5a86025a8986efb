"""Rehearsal: episodes of the first player in the suites that it was trained in, for learning that forgets nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.loop.players import InStep
from envs.world import World
from tasks import world_tasks
from tasks.play import play_task
from tasks.task import Task
from training.data.episodes import Recorder
from training.improve.collect import load_player, open_world
from training.workers.hire import hire
from training.workers.parallel_play import ParallelPlay, portions
from training.workers.workers import Failed

LINGER = 35  # ticks after a success within which the player says that it is done


@dataclass(frozen=True)
class _Settings:
    out: Path
    policy: str
    env: str


class _Rehearser:
    """A worker that plays tasks greedily and keeps the episodes that succeed."""

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        self._policy = load_player(settings.policy)
        self._worlds = ParallelPlay(partial(open_world, settings.env))

    def work(self, tasks: Sequence[Task]) -> list[bool]:
        return self._worlds.play(self._policy, tasks, self._play)

    def _play(self, world: World, player: InStep, task: Task) -> bool:
        recorder = Recorder(self._settings.out / _name(task), task=task, policy=self._settings.policy, durable=False)
        outcome = play_task(
            world, player, task, subscribers=(recorder,), observe="decision", end_on_done=True, linger=35
        )
        return bool(outcome.success)

    def close(self) -> None:
        self._worlds.close()


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
    todo = [task for task in tasks if not (out / _name(task)).exists()]
    done = len(tasks) - len(todo)
    for env in sorted({task.world for task in todo}):
        mine = [task for task in todo if task.world == env]
        with hire(partial(_Rehearser, _Settings(out, policy, env)), workers) as crew:
            for portion, results in crew.run(portions(mine, crew.count)):
                if isinstance(results, Failed):
                    raise RuntimeError(f"{portion[0].id} to {portion[-1].id}: {results.error}")
                done += len(portion)
                on_progress(done, len(tasks))


def _name(task: Task) -> str:
    return task.id.replace("/", "-")

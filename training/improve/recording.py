"""Recording: a player's greedy episodes of some tasks, kept on disk, by as many workers as there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.loop.players import InStep
from envs.world import World
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


class _Recording:
    """A worker that plays tasks greedily and keeps the episodes."""

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        self._policy = load_player(settings.policy)
        self._worlds = ParallelPlay(partial(open_world, settings.env))

    def work(self, tasks: Sequence[Task]) -> list[bool]:
        return self._worlds.play(self._policy, tasks, self._play)

    def _play(self, world: World, player: InStep, task: Task) -> bool:
        folder = episode_of(self._settings.out, task)
        recorder = Recorder(folder, task=task, policy=self._settings.policy, durable=False)
        outcome = play_task(
            world, player, task, subscribers=(recorder,), observe="decision", end_on_done=True, linger=LINGER
        )
        return bool(outcome.success)

    def close(self) -> None:
        self._worlds.close()


def episode_of(out: Path, task: Task) -> Path:
    """Where the episode of a task is kept."""
    return out / task.id.replace("/", "-")


def record_tasks(
    out: Path, tasks: Sequence[Task], policy: str, workers: str | int, on_progress: Callable[[int, int], None]
) -> None:
    """Play tasks and keep their episodes in `out`; those that are there are not played again. Raises RuntimeError where
    an episode could not be played."""
    todo = [task for task in tasks if not episode_of(out, task).exists()]
    done = len(tasks) - len(todo)
    for env in sorted({task.world for task in todo}):
        mine = [task for task in todo if task.world == env]
        with hire(partial(_Recording, _Settings(out, policy, env)), workers) as crew:
            for portion, results in crew.run(portions(mine, crew.count)):
                if isinstance(results, Failed):
                    raise RuntimeError(f"{portion[0].id} to {portion[-1].id}: {results.error}")
                done += len(portion)
                on_progress(done, len(tasks))

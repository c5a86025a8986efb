"""`Recording`: the worker of `agent record`, which plays a task and records it, now and then disturbed."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.capabilities import spec_of
from agent.cli.compose import clock_of, instructed, limited, load_policy, make_player, slug, world_factory
from agent.episode import Step, Subscriber
from agent.loop.players import Player, ScriptedPlayer
from envs.files import claimed
from envs.world import World
from tasks import world_tasks
from tasks.play import play_task
from tasks.task import Task
from training.data.disturb import Disturbed
from training.data.episodes import Recorder
from training.data.video import Quality
from training.workers.workers import WorkersError


@dataclass(frozen=True)
class Plan:
    """What is recorded by `policy` in `world`, into `out`: a `suite` under `seed`, the tasks of the file `tasks`, or an
    `instruction` with level after level from `seed` on; one of the three.

    `time_limit`: seconds of game time for an episode, None for the task's own. `noise`: the chance that a decision
    starts a disturbance. `quality`: of the frames. `every_tick`: see each tick, or only those where a decision is
    due. `evaluation`: play the levels that training never sees. `allow_real_desktop`: a desktop world may press keys
    on the display that is there. `view`: what a prompted policy is shown, see agent.view.read_view.
    """

    world: str
    policy: str
    suite: str | None
    seed: int
    out: Path
    noise: float = 0.0
    quality: Quality = "lossless"
    every_tick: bool = False
    evaluation: bool = False
    resolution: str | None = None
    tasks: str | None = None
    instruction: str | None = None
    time_limit: float | None = None
    allow_real_desktop: bool = False
    view: str | None = None

    def task(self, index: int) -> Task:
        """Task number `index`."""
        if self.tasks is not None:
            return _tasks_of(Path(self.tasks).resolve())[index]
        if self.instruction is not None:
            return instructed(self.instruction, self.world, self.seed + index)
        return world_tasks.suite(str(self.suite)).task(self.seed, index, evaluation=self.evaluation)

    @property
    def name(self) -> str:
        """What the episodes are called."""
        return self.suite or slug(Path(self.tasks).stem if self.tasks is not None else str(self.instruction))

    @property
    def most(self) -> int | None:
        """The number of tasks; None if there is always another one."""
        return None if self.tasks is None else len(_tasks_of(Path(self.tasks).resolve()))

    def path(self, index: int) -> Path:
        """The folder of episode number `index`."""
        return self.out / f"{self.name}-{'eval-' if self.evaluation else ''}{self.seed}-{index:06d}"

    def open(self, policy: Any = None) -> World:
        """The world that is played, drawn as `policy` wants to see it where no resolution is given."""
        return world_factory(
            self.world,
            view=spec_of(policy).view,
            resolution=self.resolution,
            allow_real_desktop=self.allow_real_desktop or None,
        )()

    def task_in(self, world: World, index: int) -> Task:
        """Task number `index`, with the time limit of the plan in ticks of the world."""
        return limited(self.task(index), self.time_limit, world)


@functools.cache
def _tasks_of(path: Path) -> list[Task]:
    from tasks.task_file import load_tasks

    return load_tasks(path)


@dataclass(frozen=True)
class Recorded:
    """One episode, done: its outcome, and what it cost in `ticks` and drawn `frames`. `elsewhere`: another process has
    recorded it, or does so now. The rest is as in Outcome."""

    success: bool | None
    ticks: int
    frames: int
    elsewhere: bool = False
    late: int = 0
    warnings: tuple[str, ...] = ()


class _Drawn(Subscriber):
    """Counts the frames that the world has drawn."""

    def __init__(self) -> None:
        self.frames = 0

    def on_step(self, step: Step) -> None:
        self.frames += step.frame is not None


class Recording:
    """A Worker that records episode number `job` of the plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._policy = load_policy(plan.policy, view=plan.view)
        self._world = plan.open(self._policy)

    def work(self, job: int) -> Recorded:
        with claimed(self._plan.path(job)) as ours:  # two commands may fill one folder
            if not ours:
                return Recorded(None, 0, 0, elsewhere=True)
            return _record(self._plan, job, self._policy, self._world)

    def close(self) -> None:
        self._world.close()


def _record(plan: Plan, index: int, policy: Any, world: World) -> Recorded:
    task = plan.task_in(world, index)
    player: Player = make_player(policy, task, world, clock_of(world, None))
    if plan.noise and isinstance(player, ScriptedPlayer):
        player = Disturbed(player, plan.noise)
    drawn = _Drawn()
    recorder = Recorder(plan.path(index), task=task, policy=plan.policy, quality=plan.quality)
    outcome = play_task(
        world, player, task, subscribers=(recorder, drawn),
        observe="tick" if plan.every_tick or world.realtime else "decision",
        end_on_done=task.verifier is None,  # without a verifier, the player ends the episode
    )  # fmt: skip
    player.close()
    if recorder.episode is None:
        raise WorkersError(f"{plan.path(index)}: {'; '.join(outcome.problems)}")
    return Recorded(outcome.success, outcome.ticks, drawn.frames, late=outcome.late, warnings=outcome.warnings)

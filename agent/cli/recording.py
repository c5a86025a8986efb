"""`Recording`: the worker of `agent record`, which plays a task of a suite and records it, now and then disturbed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.cli.compose import load_policy, make_player, world_factory
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
    """What is recorded: `suite` under `seed` by `policy` in `world`, into `out`.

    `noise`: the chance that a decision starts a disturbance. `quality`: of the frames. `every_tick`: see each tick, or
    only those where a decision is due. `evaluation`: play the levels that training never sees.
    """

    world: str
    policy: str
    suite: str
    seed: int
    out: Path
    noise: float = 0.0
    quality: Quality = "lossless"
    every_tick: bool = False
    evaluation: bool = False
    resolution: str | None = None

    def task(self, index: int) -> Task:
        return world_tasks.suite(self.suite).task(self.seed, index, evaluation=self.evaluation)

    def path(self, index: int) -> Path:
        """The folder of episode number `index`."""
        return self.out / f"{self.suite}-{'eval-' if self.evaluation else ''}{self.seed}-{index:06d}"


@dataclass(frozen=True)
class Recorded:
    """One episode, done: its outcome, and what it cost in `ticks` and drawn `frames`. `elsewhere`: another process has
    recorded it, or does so now."""

    success: bool | None
    ticks: int
    frames: int
    elsewhere: bool = False


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
        self._policy = load_policy(plan.policy)
        self._world = world_factory(plan.world, resolution=plan.resolution)()

    def work(self, job: int) -> Recorded:
        with claimed(self._plan.path(job)) as ours:  # two commands may fill one folder
            if not ours:
                return Recorded(None, 0, 0, elsewhere=True)
            return _record(self._plan, job, self._policy, self._world)

    def close(self) -> None:
        self._world.close()


def _record(plan: Plan, index: int, policy: Any, world: World) -> Recorded:
    task = plan.task(index)
    player: Player = make_player(policy, task, world, "lockstep")
    if plan.noise and isinstance(player, ScriptedPlayer):
        player = Disturbed(player, plan.noise)
    drawn = _Drawn()
    recorder = Recorder(plan.path(index), task=task, policy=plan.policy, quality=plan.quality)
    observe = "tick" if plan.every_tick else "decision"
    outcome = play_task(world, player, task, subscribers=(recorder, drawn), observe=observe)
    player.close()
    if recorder.episode is None:
        raise WorkersError(f"{plan.path(index)}: {'; '.join(outcome.problems)}")
    return Recorded(outcome.success, outcome.ticks, drawn.frames)

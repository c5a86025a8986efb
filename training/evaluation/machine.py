"""What this machine does: how fast worlds and `small` are, whether it keeps up with real time, and the memory it takes.

Each measure is the short form of a benchmark of the repository, see docs/benchmarks.md.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml

from agent.loop.players import Beside, InStep
from agent.policy import Context, Decision, Policy
from agent.small import load_small
from envs.action import Action
from envs.doom.world import DoomWorld
from envs.vector import VectorWorld
from envs.world import World
from envs.wrappers import RealTime
from tasks import world_tasks
from tasks.play import play_task
from tasks.task import Task

TICKS = 4  # in a step of many worlds
WORLDS = 4  # at once
SUITE, SEED = "doom-basic", 12
_RESOLUTION = "160x120"


@dataclass(frozen=True)
class Figure:
    """A figure of this machine. `there`: the same on the machine of docs/benchmarks.md; None where that has none."""

    name: str
    value: float
    unit: str
    there: float | None = None


@dataclass(frozen=True)
class Measure:
    """`run(seconds)` gives (name, value, unit) of some figures. `weight`: its share of the time."""

    name: str
    weight: float
    run: Callable[[float], Iterator[tuple[str, float, str]]]


def measures() -> list[Measure]:
    """All measures. `small` comes first: what it takes of memory is measured before other games begin."""
    return [
        Measure("small, one world", 25, _decisions),
        Measure("small, real time", 25, _real_time),
        Measure("doom, one world", 16, _one_world),
        Measure(f"doom, {WORLDS} worlds", 12, _many_worlds),
    ]


def measure(one: Measure, seconds: float) -> list[Figure]:
    """Run a measure for its share of `seconds`; its figures, beside those of docs/benchmarks.md."""
    share = seconds * one.weight / sum(other.weight for other in measures())
    there = reference()["figures"]
    return [Figure(name, value, unit, there.get(name)) for name, value, unit in one.run(share)]


@cache
def reference() -> dict[str, Any]:
    """The machine of docs/benchmarks.md and its figures, by name."""
    text = (Path(__file__).parent / "reference_machine.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def about() -> dict[str, Any]:
    """What this machine is."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


class _Timed:
    """A policy that notes how long each decision takes, in seconds."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self.spec = policy, policy.spec
        self.seconds: list[float] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        begin = time.perf_counter()
        decisions = self._policy.act(contexts)
        self.seconds.append(time.perf_counter() - begin)
        return decisions


def _tasks() -> Iterator[Task]:
    return iter(world_tasks.suite(SUITE).tasks(SEED, 10_000))


@cache
def _small() -> Policy:
    return load_small()


@contextmanager
def _one_thread() -> Iterator[None]:
    """The model has one thread, and the game the other cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _decisions(seconds: float) -> Iterator[tuple[str, float, str]]:
    """`small` plays in lockstep, a decision after the other, on one thread."""
    policy = _Timed(_small())
    with _one_thread(), closing(DoomWorld(_RESOLUTION)) as world:
        played, wall = _play(world, policy, seconds)
        memory = _memory()
    p50, p99 = np.percentile(1000.0 * np.array(policy.seconds), (50, 99))
    yield "small, decisions", len(policy.seconds) / sum(policy.seconds), "decisions/s"
    yield "small, p50 of a decision", float(p50), "ms"
    yield "small, p99 of a decision", float(p99), "ms"
    yield "small, speed of play in lockstep", played / wall, "x real time"
    yield "memory of small and its game", memory, "MB"


def _play(world: World, policy: _Timed, seconds: float) -> tuple[float, float]:
    """Play tasks for some seconds; the seconds of game time, and those that it took. The first decisions of a process
    are slow and do not count."""
    first = next(_tasks())
    play_task(world, InStep(policy), first, observe="decision")
    policy.seconds.clear()
    ticks, begin = 0, time.perf_counter()
    for task in _tasks():
        ticks += play_task(world, InStep(policy), task, observe="decision").ticks
        if time.perf_counter() - begin > seconds:
            break
    return ticks / world.tick_hz, time.perf_counter() - begin


def _memory() -> float:
    """Memory of this process and its children that no other process shares, in MB."""
    process = psutil.Process()
    family = [process, *process.children(recursive=True)]
    return float(sum(one.memory_full_info().uss for one in family)) / 1e6


def _real_time(seconds: float) -> Iterator[tuple[str, float, str]]:
    """`small` plays beside a game that does not wait."""
    ticks = starved = 0
    wall = 0.0
    with _one_thread(), closing(RealTime(DoomWorld(_RESOLUTION))) as world:
        for task in _tasks():
            player = Beside(_small())
            outcome = play_task(world, player, task)
            player.close()
            ticks, starved, wall = ticks + outcome.ticks, starved + outcome.starved, wall + outcome.seconds
            if wall > seconds:
                break
    yield "real time", ticks / wall, f"ticks/s of {world.tick_hz:g}"
    yield "real time, starved ticks", 100.0 * starved / ticks, "%"


def _actions(count: int) -> list[Action]:
    with closing(DoomWorld(_RESOLUTION)) as world:
        space = world.action_space
    space.seed(0)
    return [space.sample() for _ in range(count)]


def _one_world(seconds: float) -> Iterator[tuple[str, float, str]]:
    """Random actions in one world, 160x120, without ground truth."""
    actions = _actions(256)
    for ticks, name in ((1, "doom, a tick a step"), (TICKS, f"doom, {TICKS} ticks a step")):
        with closing(DoomWorld(_RESOLUTION, state=False)) as world:
            world.reset(seed=1)
            steps, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < seconds / 2:
                action = actions[steps % 256]
                over = (world.step(action) if ticks == 1 else world.step_chunk([action] * ticks))[2]
                if over:
                    world.reset(seed=1)
                steps += 1
            yield name, steps / (time.perf_counter() - begin), "steps/s"


def _small_world() -> DoomWorld:
    return DoomWorld(_RESOLUTION, state=False)


def _many_worlds(seconds: float) -> Iterator[tuple[str, float, str]]:
    """Random actions in WORLDS worlds at once; who has answered gets its next action."""
    actions = _actions(64)
    with closing(VectorWorld([_small_world] * WORLDS, state=False)) as vector:
        vector.reset(seeds=list(range(WORLDS)))
        for part in (range(WORLDS // 2), range(WORLDS // 2, WORLDS)):  # two requests on their way to each worker
            vector.send({world: [actions[0]] * TICKS for world in part})
        steps, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < seconds:
            batch = vector.recv()
            ends = zip(batch.worlds, batch.terminated | batch.truncated, strict=True)
            over = [world for world, end in ends if end]
            if over:
                vector.reset(seeds=over, worlds=over)
            vector.send({world: [actions[(steps + world) % 64]] * TICKS for world in batch.worlds})
            steps += len(batch.worlds)
        wall = time.perf_counter() - begin
    yield f"doom, {WORLDS} worlds at once, {TICKS} ticks a step", steps / wall, "steps/s"
    yield f"doom, {WORLDS} worlds at once, worlds in real time", steps * TICKS / wall / 35.0, "worlds"

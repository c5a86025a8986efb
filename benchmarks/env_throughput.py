"""How fast the doom world is: against raw ViZDoom, and many at once against the vectors of other libraries.

    python benchmarks/env_throughput.py [--seconds 4] [--rounds 5] [--kills 5] [--json OUT]

One run measures everything, in rounds that alternate between the contenders (A B A B), and reports medians:
  single   DoomWorld against the ViZDoom calls that it makes, with the same level and settings. Both processes and their
           games are pinned to one core. One tick a step, and chunks of 4 ticks
  many     VectorWorld against Gymnasium's AsyncVectorEnv and Stable-Baselines3's SubprocVecEnv (pip install
           'ludens[benchmarks]'), all of the same DoomWorld: 160x120 RGB, 4 ticks a step, random actions; and against
           what the cores can do: on each a process, pinned with its games, that plays them by turns and does no more
  orphans  how many processes are left one second after SIGKILL of a process with a VectorWorld
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import psutil

from envs.action import Action
from envs.doom.world import DoomWorld, held_buttons
from envs.vector import VectorWorld

TICKS = 4  # in a step of the vectors
RESOLUTION = "160x120"
PINNED = "Pinned games"
_SLICE = 0.1  # seconds that pinned games play before they report
Frame = npt.NDArray[np.uint8]
Choices = npt.NDArray[np.int64]


def make_world() -> DoomWorld:
    return DoomWorld(RESOLUTION, state=False)


class DoomGym(gymnasium.Env[Frame, np.int64]):
    """The same world in the form that other libraries take: a number for an action, 4 ticks a step."""

    def __init__(self) -> None:
        self.world = make_world()
        self.actions = random_actions(64)
        self.observation_space = self.world.observation_space["pixels"]
        self.action_space = gymnasium.spaces.Discrete(len(self.actions))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Frame, dict[str, Any]]:
        return self.world.reset(seed=seed)[0]["pixels"], {}

    def step(self, action: np.int64) -> tuple[Frame, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, _ = self.world.step_chunk([self.actions[action]] * TICKS)
        return observation["pixels"], reward, terminated, truncated, {}

    def close(self) -> None:
        self.world.close()


def random_actions(count: int) -> list[Action]:
    space = make_world().action_space
    space.seed(0)
    return [space.sample() for _ in range(count)]


def rate(step: Callable[[int], int], seconds: float) -> float:
    """World steps in a second: `step(i)` makes some and says how many."""
    steps, i, begin = 0, 0, time.perf_counter()
    while (now := time.perf_counter()) - begin < seconds:
        steps += step(i)
        i += 1
    return steps / (now - begin)


def raw_step(world: DoomWorld, actions: list[Action], ticks: int) -> Callable[[int], int]:
    """The ViZDoom calls that a step of `world` makes."""
    engine = world.engine
    buttons = [[*held_buttons(action.keys, action.buttons), *action.look] for action in actions]

    def step(i: int) -> int:
        engine.make_action(buttons[i % len(buttons)], ticks)
        if engine.is_episode_finished():
            engine.new_episode()
        else:
            _ = engine.get_state().screen_buffer
        return 1

    return step


def alternate(contenders: dict[str, Callable[[int], int]], seconds: float, rounds: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for step in contenders.values():
        rate(step, min(0.5, seconds))  # warm up
    for _ in range(rounds):
        for name, step in contenders.items():
            rates[name].append(rate(step, seconds))
    return rates


def single(seconds: float, rounds: int) -> dict[str, Any]:
    """DoomWorld against its own engine, driven directly."""
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    os.sched_setaffinity(0, {core})  # before the games start: they inherit it
    actions = random_actions(256)
    result: dict[str, Any] = {"affinity": f"both processes and their games on core {core}"}
    try:
        for ticks in (1, TICKS):
            ours, other = make_world(), make_world()
            ours.reset(seed=1)
            other.reset(seed=1)
            raw = raw_step(other, actions, ticks)  # the same level and settings, by construction

            def wrapped(i: int, ours: DoomWorld = ours, ticks: int = ticks) -> int:
                action = actions[i % 256]
                result = ours.step(action) if ticks == 1 else ours.step_chunk([action] * ticks)
                if result[2]:
                    ours.reset(seed=1)
                return 1

            rates = alternate({"raw ViZDoom": raw, "DoomWorld": wrapped}, seconds, rounds)
            ratios = [a / b for a, b in zip(rates["DoomWorld"], rates["raw ViZDoom"], strict=True)]
            result[f"{ticks} ticks a step"] = {
                **{name: statistics.median(values) for name, values in rates.items()},
                "ratio": statistics.median(ratios),
                "ratios": ratios,
            }
            ours.close()
            other.close()
    finally:
        os.sched_setaffinity(0, allowed)
    return result


def many(seconds: float, rounds: int, sizes: list[int]) -> dict[str, Any]:
    """VectorWorld against the vectors of others: sums over all worlds."""
    rng = np.random.default_rng(0)
    actions = random_actions(64)
    contenders: dict[str, Callable[[int], int]] = {}
    closers: list[Callable[[], None]] = []
    result: dict[str, Any] = {
        "affinity": "VectorWorld: a worker a core, pinned with its games (its default); the others: not pinned (theirs)"
    }
    for games in (1, 2):
        contenders[f"{PINNED}, {games} a core"] = pinned_games(games, closers)
    for size in sizes:
        choices = rng.integers(0, len(actions), (1024, size))
        contenders[f"VectorWorld, {size} worlds"] = vector_world(size, actions, choices, closers)
        for requests in (1, 2):
            contenders[f"VectorWorld, {size} worlds, send/recv, {requests} a worker"] = vector_world_ahead(
                size, actions, choices, closers, requests
            )
        contenders[f"AsyncVectorEnv, {size} workers"] = async_vector_env(size, choices, closers)
        try:
            contenders[f"SubprocVecEnv, {size} workers"] = subproc_vec_env(size, choices, closers)
        except ImportError:
            result["left out"] = "SubprocVecEnv: stable-baselines3 is not installed"
    try:
        rates = alternate(contenders, seconds, rounds)
    finally:
        for close in closers:
            close()
    medians = {name: statistics.median(values) for name, values in rates.items()}
    kinds = {"best": ("VectorWorld",), "best pinned": (PINNED,), "best peer": ("AsyncVectorEnv", "SubprocVecEnv")}
    best = {kind: max((n for n in medians if n.startswith(is_so)), key=medians.__getitem__)
            for kind, is_so in kinds.items()}  # fmt: skip
    return {
        **result,
        "steps/s": medians,
        "rounds": rates,
        **best,
        "ratio": medians[best["best"]] / medians[best["best peer"]],
        "of pinned games": medians[best["best"]] / medians[best["best pinned"]],
    }


def pinned_games(games: int, closers: list[Any]) -> Callable[[int], int]:
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    for core in sorted(os.sched_getaffinity(0)):
        ours, theirs = context.Pipe()
        process = context.Process(target=_play_pinned, args=(core, games, theirs), daemon=True)
        process.start()
        pipes.append(ours)
        closers.append(lambda pipe=ours, process=process: (pipe.send(0.0), process.join()))

    def step(i: int) -> int:
        for pipe in pipes:
            pipe.send(_SLICE)
        return sum(pipe.recv() for pipe in pipes)

    return step


def _play_pinned(core: int, games: int, pipe: Connection) -> None:
    """Play for as long as told, by turns, and tell how many steps that were; end where told 0."""
    os.sched_setaffinity(0, {core})  # before the games start: they inherit it
    worlds = [make_world() for _ in range(games)]
    for seed, world in enumerate(worlds, games * core):
        world.reset(seed=seed)
    steps = [raw_step(world, random_actions(64), TICKS) for world in worlds]
    while seconds := pipe.recv():
        made, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            made += steps[made % games](made // games)
        pipe.send(made)
    for world in worlds:
        world.close()


def vector_world(size: int, actions: list[Action], choices: Choices, closers: list[Any]) -> Callable[[int], int]:
    vector = VectorWorld([make_world] * size, state=False)
    closers.append(vector.close)
    vector.reset(seeds=list(range(size)))

    def step(i: int) -> int:
        chunks = [[actions[choice]] * TICKS for choice in choices[i % 1024]]
        _, _, terminated, truncated, _ = vector.step_chunk(chunks)
        over = np.flatnonzero(terminated | truncated)
        if len(over):
            vector.reset(seeds=over.tolist(), worlds=over.tolist())
        return size

    return step


def vector_world_ahead(
    size: int, actions: list[Action], choices: Choices, closers: list[Any], requests: int
) -> Callable[[int], int]:
    """The same without waiting for all: who has answered gets its next action at once. `requests`: that are on their
    way to each worker, of all its worlds together."""
    vector = VectorWorld([make_world] * size, state=False)
    closers.append(vector.close)
    vector.reset(seeds=list(range(size)))
    for request in range(requests):
        vector.send({world: [actions[0]] * TICKS for world in range(size) if world * requests // size == request})

    def step(i: int) -> int:
        batch = vector.recv()
        over = [world for world, end in zip(batch.worlds, batch.terminated | batch.truncated, strict=True) if end]
        if over:
            vector.reset(seeds=over, worlds=over)
        row = choices[i % 1024]
        vector.send({world: [actions[row[world]]] * TICKS for world in batch.worlds})
        return len(batch.worlds)

    return step


def async_vector_env(size: int, choices: Choices, closers: list[Any]) -> Callable[[int], int]:
    vector = gymnasium.vector.AsyncVectorEnv([DoomGym] * size, shared_memory=True)
    closers.append(vector.close)
    vector.reset(seed=0)

    def step(i: int) -> int:
        vector.step(choices[i % 1024])
        return size

    return step


def subproc_vec_env(size: int, choices: Choices, closers: list[Any]) -> Callable[[int], int]:
    from stable_baselines3.common.vec_env import SubprocVecEnv

    vector = SubprocVecEnv([DoomGym] * size)
    closers.append(vector.close)
    vector.reset()

    def step(i: int) -> int:
        vector.step(choices[i % 1024])
        return size

    return step


def orphans(trials: int) -> dict[str, Any]:
    """SIGKILL a process that plays in a VectorWorld, at different moments, and count what is left of it."""
    script = (
        "from benchmarks.env_throughput import make_world, random_actions\n"
        "from envs.vector import VectorWorld\n"
        "vector = VectorWorld([make_world] * 4)\n"
        "vector.reset(seeds=[0, 1, 2, 3])\n"
        "actions = random_actions(4)\n"
        "print('ready', flush=True)\n"
        "while True: vector.step(actions)\n"
    )
    root = Path(__file__).parent.parent
    left, seen = 0, 0
    for trial in range(trials):
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=root) as parent:
            assert parent.stdout is not None
            parent.stdout.readline()
            time.sleep(0.05 * trial)
            children = psutil.Process(parent.pid).children(recursive=True)
            parent.kill()
        time.sleep(1.0)
        seen += len(children)
        left += sum(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    return {"trials": trials, "processes": seen, "left after 1 s": left}


def print_report(report: dict[str, Any]) -> None:
    print(f"\n{report['machine']}\n")
    for name, row in report["single"].items():
        if isinstance(row, dict):
            print(
                f"single, {name}: DoomWorld {row['DoomWorld']:,.0f} steps/s, raw ViZDoom {row['raw ViZDoom']:,.0f}, "
                f"ratio {row['ratio']:.2f}"
            )
    print(f"  affinity: {report['single']['affinity']}\n")
    for name, value in sorted(report["many"]["steps/s"].items()):
        print(f"many, {name:28} {value:8,.0f} steps/s")
    many = report["many"]
    print(f"  {many['best']} is {many['ratio']:.2f} x {many['best peer']}")
    print(f"  ... and {100 * many['of pinned games']:.0f} % of {many['best pinned']}")
    print(f"  affinity: {report['many']['affinity']}")
    if "left out" in report["many"]:
        print(f"  left out: {report['many']['left out']}")
    row = report["orphans"]
    print(
        f"\norphans: {row['left after 1 s']} of {row['processes']} processes left, {row['trials']} kills of the parent"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8], help="worlds in the vectors")
    parser.add_argument("--kills", type=int, default=5, help="of a process with a VectorWorld")
    parser.add_argument("--json", type=Path, help="write the report here")
    arguments = parser.parse_args()
    report = {
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.platform()}, Python {platform.python_version()}",
        "resolution": RESOLUTION,
        "seconds": arguments.seconds,
        "rounds": arguments.rounds,
        "single": single(arguments.seconds, arguments.rounds),
        "many": many(arguments.seconds, arguments.rounds, arguments.sizes),
        "orphans": orphans(arguments.kills),
    }
    print_report(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

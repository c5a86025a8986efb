"""Where a step of many worlds goes: processor time and switches between processes, for the caller, workers and games.

    python benchmarks/step_cost.py --steps 4000

The contenders are those of env_throughput.py: doom at 160x120, 4 ticks a step, random actions. The time is what the
kernel counts for a process, without its waiting, so a machine that does other things as well distorts it less than a
rate; it still grows where others empty the caches. A switch is counted where a process gives its core up to wait.
Linux alone tells all this.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import env_throughput as throughput
import numpy as np
import psutil

ROLES = ("caller", "workers", "games")
WARM_UP = 50


@dataclass(frozen=True)
class Cost:
    """Of one step of one world: microseconds of processor time, and switches."""

    time: dict[str, float]
    switches: dict[str, float]


def family() -> dict[str, list[int]]:
    """The processes of a contender, by role."""
    here = psutil.Process()
    roles: dict[str, list[int]] = {"caller": [here.pid], "workers": [], "games": []}
    for child in here.children(recursive=True):
        roles["games" if child.name() == "vizdoom" else "workers"].append(child.pid)
    return roles


def counted(pids: list[int]) -> tuple[float, float]:
    """Seconds of processor time, and switches, of all threads of some processes so far."""
    seconds = switches = 0.0
    for thread in (thread for pid in pids for thread in Path(f"/proc/{pid}/task").iterdir()):
        seconds += int((thread / "schedstat").read_text().split()[0]) / 1e9
        status = (thread / "status").read_text().splitlines()
        switches += sum(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))
    return seconds, switches


def cost(step: Callable[[int], int], steps: int) -> Cost:
    """What a step costs, over at least so many."""
    for i in range(WARM_UP):
        step(i)
    roles = family()
    before = {role: counted(pids) for role, pids in roles.items()}
    made = i = 0
    while made < steps:
        made += step(i)
        i += 1
    after = {role: counted(pids) for role, pids in roles.items()}
    return Cost(
        {role: 1e6 * (after[role][0] - before[role][0]) / made for role in ROLES},
        {role: (after[role][1] - before[role][1]) / made for role in ROLES},
    )


def contenders(size: int) -> dict[str, Callable[[list[Any]], Callable[[int], int]]]:
    """Each made when it is called, with the list of what closes it."""
    actions = throughput.random_actions(64)
    choices = np.random.default_rng(0).integers(0, len(actions), (1024, size))
    return {
        "pinned games": lambda closers: throughput.pinned_games(1, closers),
        "VectorWorld, step_chunk": lambda closers: throughput.vector_world(size, actions, choices, closers),
        "VectorWorld, send/recv, 1 a worker": lambda closers: throughput.vector_world_ahead(
            size, actions, choices, closers, 1
        ),
        "VectorWorld, send/recv, 2 a worker": lambda closers: throughput.vector_world_ahead(
            size, actions, choices, closers, 2
        ),
        "AsyncVectorEnv": lambda closers: throughput.async_vector_env(size, choices, closers),
        "SubprocVecEnv": lambda closers: throughput.subproc_vec_env(size, choices, closers),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--worlds", type=int, default=4)
    args = parser.parse_args()
    print("| of a step | caller, us | workers, us | games, us | all, us | switches |")
    print("|---|---|---|---|---|---|")
    for name, make in contenders(args.worlds).items():
        closers: list[Callable[[], Any]] = []
        try:
            found = cost(make(closers), args.steps)
        finally:
            for close in closers:
                close()
        times = [found.time[role] for role in ROLES]
        cells = " | ".join(f"{value:.0f}" for value in (*times, sum(times)))
        print(f"| {name} | {cells} | {sum(found.switches.values()):.1f} |", flush=True)


if __name__ == "__main__":
    main()

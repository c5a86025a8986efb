"""How fast `small` decides: its own loop against `generate` of transformers, with the same weights and the same output.

    python benchmarks/small_speed.py --decisions 300

Both decide on the same recorded contexts, in turn, so that other work on the machine slows both. A second table gives
the latency while Doom runs in real time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from agent.loop.players import Beside, InStep
from agent.loop.runtime import play
from agent.policy import Context, Decision, Policy
from agent.small import load_small
from agent.small.hf import load_generated
from envs.doom.world import DoomWorld
from envs.wrappers import RealTime
from tasks import world_tasks
from tasks.doom import suites

SUITES = ("doom-basic", "doom-rooms", "doom-compounds")


class Keeping:
    """A policy that keeps the contexts it is asked about."""

    def __init__(self, policy: Policy) -> None:
        self._policy, self.spec = policy, policy.spec
        self.contexts: list[Context] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        self.contexts += contexts
        return self._policy.act(contexts)


def gathered(policy: Policy, count: int, seed: int) -> list[Context]:
    """Contexts of play, an equal number of each suite."""
    keeping, world, out = Keeping(policy), DoomWorld(), []
    for suite in SUITES:
        keeping.contexts.clear()
        for task in suites.evaluation(suite).tasks(seed, 100):
            judge = world_tasks.verifier_of(task)
            assert judge is not None
            play(
                world, InStep(keeping), task.instruction, seed=task.seed, options=task.options,
                time_limit=task.time_limit, judge=judge.update, observe="decision",
            )  # fmt: skip
            if len(keeping.contexts) >= count // len(SUITES):
                break
        out += keeping.contexts[: count // len(SUITES)]
    world.close()
    return out


def compare(contexts: list[Context]) -> dict[str, Any]:
    ours, theirs = load_small(), load_generated()
    seconds: dict[str, list[float]] = {"small": [], "generate": []}
    same = 0
    for context in contexts:
        decisions = []
        for name, policy in (("small", ours), ("generate", theirs)):
            start = time.perf_counter()
            decisions.append(policy.act([context]))
            seconds[name].append(time.perf_counter() - start)
        same += decisions[0] == decisions[1]
    times = {name: np.percentile(1000 * np.array(t), (50, 99)) for name, t in seconds.items()}
    return {
        "decisions": len(contexts),
        "same output, %": 100 * same / len(contexts),
        **{f"{name} p50, ms": float(t[0]) for name, t in times.items()},
        **{f"{name} p99, ms": float(t[1]) for name, t in times.items()},
        "ratio of the sums": sum(seconds["generate"]) / sum(seconds["small"]),
    }


def realtime(episodes: int, seed: int) -> dict[str, float]:
    """Latency while the game moves on, over all decisions of some episodes."""
    policy, world = load_small(), RealTime(DoomWorld())
    latencies: list[float] = []
    ticks = starved = 0
    for task in suites.evaluation("doom-basic").tasks(seed, episodes):
        judge = world_tasks.verifier_of(task)
        assert judge is not None
        player = Beside(policy)
        outcome = play(
            world, player, task.instruction, seed=task.seed, options=task.options, time_limit=task.time_limit,
            judge=judge.update,
        )  # fmt: skip
        player.close()
        latencies += [1000 * s for s in player.queue.latencies]
        ticks, starved = ticks + outcome.ticks, starved + outcome.starved
    world.close()
    p50, p99 = np.percentile(latencies, (50, 99))
    return {
        "real time: decisions": len(latencies),
        "real time: p50, ms": float(p50),
        "real time: p99, ms": float(p99),
        "real time: starved, %": 100 * starved / ticks,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=300)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report = compare(gathered(load_small(), args.decisions, args.seed)) | realtime(args.episodes, args.seed)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            print(f"{name:28s} {value:.2f}")


if __name__ == "__main__":
    main()

"""Random episodes without end: no exception, and memory that does not grow.

    python benchmarks/soak.py --episodes 1000
    python benchmarks/soak.py --worlds minetest browser:examples/browser/game.yaml --episodes 50

A new world is checked with a few ticks; this is for what only shows after hours. Plays episodes of random actions in
each world, 4 ticks to an observation as policies do, and weighs the process with all that it started after a tenth of
the episodes and at the end. Exit status 1 where a world raises, or grows by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
import traceback
from pathlib import Path
from typing import Any

import psutil

from agent.cli.compose import world_factory

WORLDS = ("doom", "playroom", "gymnasium:VizdoomBasic-v1", "gymnasium:MiniWorld-OneRoomS6-v0", "gymnasium:ALE/Pong-v5")
CHUNK = 4
MOST_GROWTH = 0.05
_WEIGHED = 5  # weights around a point, of which the median counts: what is garbage comes and goes


def soak(name: str, episodes: int, ticks: int, seed: int) -> dict[str, Any]:
    """Play random episodes of a world: how many were played, ticks a second, MB in the beginning and at the end."""
    world = world_factory(name)()
    process, weights, played, error = psutil.Process(), [], 0, ""
    world.action_space.seed(seed)
    start, count = time.perf_counter(), 0
    try:
        for episode in range(episodes):
            world.reset(seed=seed + episode)
            for _ in range(ticks // CHUNK):
                *_, terminated, truncated, info = world.step_chunk([world.action_space.sample() for _ in range(CHUNK)])
                count += info["ticks"]
                if terminated or truncated:
                    break
            played += 1
            weights.append(_weight(process))
    except Exception:  # whatever it is, it is what is looked for here
        error = traceback.format_exc(limit=-3)
    finally:
        world.close()
    seconds = time.perf_counter() - start
    tenth = max(_WEIGHED, len(weights) // 10)
    before, after = (
        statistics.median(part or [0.0]) for part in (weights[tenth - _WEIGHED : tenth], weights[-_WEIGHED:])
    )
    return {
        "world": name, "episodes": played, "wanted": episodes, "ticks": count, "ticks_per_second": count / seconds,
        "mb_before": before, "mb_after": after, "growth": after / before - 1.0 if before else 0.0, "error": error,
    }  # fmt: skip


def _weight(process: psutil.Process) -> float:
    """Resident memory of a process and all that it started, MB."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=WORLDS)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--ticks", type=int, default=120, help="of an episode at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    print("| world | episodes | ticks/s | MB after a tenth | MB at the end | growth |")
    print("|---|---|---|---|---|---|")
    results = []
    for name in args.worlds:
        # a process for each, so that one's memory is not another's
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result = pool.apply(soak, (name, args.episodes, args.ticks, args.seed))
        results.append(result)
        print(
            f"| {name} | {result['episodes']} of {result['wanted']} | {result['ticks_per_second']:.0f} | "
            f"{result['mb_before']:.0f} | {result['mb_after']:.0f} | {100 * result['growth']:+.1f} % |", flush=True,
        )  # fmt: skip
        if result["error"]:
            print(result["error"], flush=True)
        if args.json is not None:
            args.json.write_text(json.dumps(results, indent=2) + "\n")
    return int(any(result["error"] or result["growth"] > MOST_GROWTH for result in results))


if __name__ == "__main__":
    raise SystemExit(main())

"""Many random episodes: nothing raises, and memory does not grow.

    python benchmarks/soak.py --episodes 1000 --json soak.json
    python benchmarks/soak.py --worlds minetest browser:examples/browser/game.yaml --episodes 50 --json soak.json

`agent env check` plays a few ticks; this finds what shows only after hours. It plays episodes of random actions in each
world, 4 ticks to an observation as policies do. It measures the memory of the process and its children after a tenth
of the episodes and at the end. With --json a run that was cut short goes on where it stopped: a world that is in the
file with the same settings and without an error is not played again, and the table has all of the file. The exit
status is 1 where a world raises, or grows by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from scipy.stats import binomtest

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
    start, playing, count = time.perf_counter(), 0.0, 0
    try:
        for episode in range(episodes):
            world.reset(seed=seed + episode)
            began = time.perf_counter()
            for _ in range(ticks // CHUNK):
                *_, terminated, truncated, info = world.step_chunk([world.action_space.sample() for _ in range(CHUNK)])
                count += info["ticks"]
                if terminated or truncated:
                    break
            playing += time.perf_counter() - began
            played += 1
            weights.append(_weight(process))
    except Exception:  # whatever it is, it is what is looked for here
        error = traceback.format_exc(limit=-3)
    finally:
        world.close()
    tenth = max(_WEIGHED, len(weights) // 10)
    before, after = (
        statistics.median(part or [0.0]) for part in (weights[tenth - _WEIGHED : tenth], weights[-_WEIGHED:])
    )
    return {
        "world": name, "settings": [episodes, ticks, seed], "episodes": played, "ticks": count,
        "ticks_per_second": count / playing if playing else 0.0, "seconds": time.perf_counter() - start,
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


def row(result: dict[str, Any]) -> str:
    """A world's row of the table."""
    n, failed = result["episodes"] + bool(result["error"]), int(bool(result["error"]))
    most = binomtest(failed, n).proportion_ci(0.95, method="exact").high
    return (
        f"| {result['world']} | {result['episodes']} of {result['settings'][0]} | {failed} ({100 * most:.2f} %) | "
        f"{result['ticks_per_second']:.0f} | {result['mb_before']:.0f} | {result['mb_after']:.0f} | "
        f"{100 * result['growth']:+.1f} % |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", default=WORLDS)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--ticks", type=int, default=120, help="of an episode at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    print("| world | episodes | raised, at most (95 %) | ticks/s | MB after a tenth | MB at the end | growth |")
    print("|---|---|---|---|---|---|---|")
    results = {} if args.json is None or not args.json.exists() else json.loads(args.json.read_text())
    for name in (*results, *(name for name in args.worlds if name not in results)):
        settings = [args.episodes, args.ticks, args.seed]
        wanted = name in args.worlds
        if wanted and (name not in results or results[name]["error"] or results[name]["settings"] != settings):
            # a process for each, so that one's memory is not another's
            with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
                results[name] = pool.submit(soak, name, *settings).result()
            if args.json is not None:
                args.json.write_text(json.dumps(results, indent=2) + "\n")
        print(row(results[name]), flush=True)
        if results[name]["error"]:
            print(results[name]["error"], flush=True)
    return int(any(result["error"] or result["growth"] > MOST_GROWTH for result in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())

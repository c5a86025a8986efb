"""Real time: does `small` keep up with 35 ticks a second, how soon does it act, how much memory does it take?

    python benchmarks/realtime.py --episodes 20

Plays `agent play --time realtime` once as a user does, for start-up time and memory. Then it plays episodes in one
process, for starved ticks and latency.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from agent.loop.players import Beside
from agent.loop.runtime import play
from agent.small import load_small
from envs.doom.world import DoomWorld
from envs.wrappers import RealTime
from tasks import world_tasks
from tasks.doom import suites


def command() -> dict[str, float]:
    """`agent play` in a process of its own: seconds to the episode's begin, the most memory of all its processes."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        verb = ["play", "pick up the red key", "--seed", "3", "--time", "realtime", "--out", f"{folder}/run"]
        child = subprocess.Popen([sys.executable, "-m", "agent", *verb], stdout=subprocess.DEVNULL)
        process, most, begun = psutil.Process(child.pid), 0, 0.0
        while child.poll() is None:
            try:
                family = [process, *process.children(recursive=True)]
                most = max(most, sum(p.memory_full_info().uss for p in family))
            except psutil.Error:
                pass
            if not begun and list(Path(folder).rglob("video.mp4")):
                begun = time.time() - start
            time.sleep(0.05)
        return {"seconds to the first frame": begun, "memory, MB": most / 1e6, "exit status": child.returncode}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    report: dict[str, float] = command()
    policy = load_small()
    world = RealTime(DoomWorld())
    ticks = starved = 0
    p50, p99, seconds = [], [], 0.0
    for task in suites.evaluation("doom-basic").tasks(args.seed, args.episodes):
        verifier = world_tasks.verifier_of(task)
        assert verifier is not None
        player = Beside(policy)
        outcome = play(
            world, player, task.instruction, seed=task.seed, options=task.options, time_limit=task.time_limit,
            judge=verifier.update,
        )  # fmt: skip
        player.close()
        ticks, starved, seconds = ticks + outcome.ticks, starved + outcome.starved, seconds + outcome.seconds
        p50.append(outcome.latency_p50_ms)
        p99.append(outcome.latency_p99_ms)
    world.close()
    report |= {
        "episodes": args.episodes,
        "ticks/s": ticks / seconds,
        "ticks": ticks,
        "starved, %": 100 * starved / ticks,
        "latency p50, ms (median of episodes)": sorted(p50)[len(p50) // 2],
        "latency p99, ms (worst episode)": max(p99),
    }
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for name, value in report.items():
            print(f"{name:40s} {value:.2f}")


if __name__ == "__main__":
    main()

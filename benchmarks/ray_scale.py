"""How much faster does collection get with more workers of a Ray cluster, and how much of their time is idle?

    python benchmarks/ray_scale.py --workers 1 2 4 --levels 16 --out runs/ray-scale

The collection of self-improvement is played in the real game: levels of doom-vault by the shipped player, first with
`--workers 1`, a process on a core of its own, then on a Ray cluster of nodes with a core each, which grows. The nodes
share this machine, so more of them than it has cores can't be faster. Every measured run plays the same levels, after a
run that makes the workers load model and game. Prints, for each, steps (ticks of the game) a second in all, their ratio
to `--workers 1`, the idle share of the workers' time, and whether the tries are the same as those of `--workers 1`; and
how large episodes and weights are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from agent.small.checkpoint import SHIPPED
from envs.files import write_whole
from tasks import world_tasks
from tasks.curriculum import Curriculum
from training.improve.collect import Collector, CollectSettings, LevelPlayed
from training.workers.hire import hire
from training.workers.ray_workers import import_ray, patiently
from training.workers.workers import Failed

SUITE = "doom-vault"


def settings_in(out: Path, time_limit: int) -> CollectSettings:
    """A generation's settings, in an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "levels").mkdir(parents=True)
    Curriculum("doom").save(out / "curriculum.jsonl")
    return CollectSettings(
        out, 1, "doom", "small", "template", out / "curriculum.jsonl", tries=2, proposals=3, time_limit=time_limit,
        temperature=0.7, seed=0,
    )  # fmt: skip


def measure(spec: str, count: int, levels: int, out: Path, time_limit: int) -> dict[str, Any]:
    """Play the levels with the workers of `spec`, `count` of them."""
    suite = world_tasks.suite(SUITE)
    settings = settings_in(out, time_limit)
    with hire(partial(Collector, settings), spec, most=count) as workers:
        if workers.count != count:
            raise RuntimeError(f"{spec}: {workers.count} workers instead of {count}")
        for _, result in workers.run([[suite.practice(1, number)] for number in range(count)]):  # they load
            if isinstance(result, Failed):
                raise RuntimeError(result.error)
        present, busy = workers.usage.present, workers.usage.busy
        began = time.perf_counter()
        played: list[LevelPlayed] = []
        for _, result in workers.run([[suite.practice(0, number)] for number in range(levels)]):
            if isinstance(result, Failed):
                raise RuntimeError(result.error)
            played += result
        seconds = time.perf_counter() - began
        idle = 1.0 - (workers.usage.busy - busy) / (workers.usage.present - present)
    tries = sorted((one for level in played for one in level.tries), key=lambda one: one.id)
    steps = sum(one.ticks for one in tries)
    files = [file for one in tries for file in (out / "episodes" / one.episode).iterdir()]
    return {
        "workers": spec.partition(":")[0] if count > 1 or spec.startswith("ray") else "1 process",
        "count": count,
        "steps": steps,
        "seconds": seconds,
        "steps_per_second": steps / seconds,
        "idle": max(0.0, idle),
        "bytes_per_step": sum(file.stat().st_size for file in files) / steps,
        "tries": [[one.id, one.instruction, one.ticks] for one in tries],
    }


def on_ray(counts: Sequence[int], levels: int, out: Path, time_limit: int) -> list[dict[str, Any]]:
    """The same with Ray, on as many nodes as workers, with a core each."""
    ray = import_ray("")
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
    nodes, rows = 1, []
    try:
        for count in sorted(counts):
            for _ in range(count - nodes):
                patiently(lambda: cluster.add_node(num_cpus=1))
            nodes = max(nodes, count)
            rows.append(measure(f"ray:{cluster.address}", count, levels, out / f"ray-{count}", time_limit))
            show(rows[-1])
    finally:
        ray.shutdown()
        cluster.shutdown()
    return rows


def show(row: dict[str, Any]) -> None:
    speed, idle = row["steps_per_second"], 100 * row["idle"]
    print(f"{row['workers']:>10} {row['count']:>3}  {speed:8.1f} steps/s  idle {idle:5.1f} %", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--time-limit", type=int, default=120, help="ticks of a try")
    parser.add_argument("--out", type=Path, default=Path("runs/ray-scale"))
    args = parser.parse_args(argv)
    alone = measure("1", 1, args.levels, args.out / "process", args.time_limit)
    show(alone)
    rows = [alone, *on_ray(args.workers, args.levels, args.out, args.time_limit)]
    for row in rows:
        row["ratio"] = row["steps_per_second"] / alone["steps_per_second"]
        row["same"] = row.pop("tries") == alone["tries"] if row is not alone else True
    alone.pop("tries")
    print(f"\n{os.cpu_count()} cores\n| workers | steps/s | ratio to --workers 1 | idle, % | same tries |")
    print("|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['workers']} {row['count']} | {row['steps_per_second']:.0f} | {row['ratio']:.2f} | "
            f"{100 * row['idle']:.0f} | {'yes' if row['same'] else 'no'} |"
        )
    weights = (SHIPPED / "model.safetensors").stat().st_size
    print(
        f"\nAn episode takes {alone['bytes_per_step'] / 1e3:.1f} kB a step on disk, the weights {weights / 1e6:.1f} MB."
    )
    write_whole(args.out / "scale.json", (json.dumps(rows, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

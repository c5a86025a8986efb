"""Methods of reinforcement learning beside each other: one start, one suite, one reward, as many episodes.

    agent train small --config training/small/recipes/early.yaml --out runs/early
    python benchmarks/rl_methods.py --start runs/early/small

The players that come out play tasks of evaluation seeds, judged by the verifier. A player that was told which of its
decisions were better than expected is also played without being asked for better ones, and asked for worse ones. The
same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_arms import Setup, pooled

from training.evaluation.statistics import percent
from training.rl.conditioning import UNTOLD, WORSE

METHODS = ("grpo", "ppo", "awr", "conditioned")


def row(name: str, results: Sequence[dict[str, Any]]) -> str:
    """A row of the table: all seeds of an arm."""
    found = pooled(results)
    seeds = ", ".join(f"{100 * rate:.0f}" for rate in found["seeds"])
    seconds = statistics.median(one["seconds"] for one in results)
    return f"| {name} | {percent(found['rate'], found['ci'])} | {seeds} | {seconds:.0f} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True, help="a checkpoint of small that is far from perfect")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--reward", default="truth", help="the upper bound by default, so that methods alone differ")
    parser.add_argument("--verbs", nargs="*", default=[], help="of the tasks; all by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--group", type=int, default=6)
    parser.add_argument("--time-limit", type=int, default=120, help="ticks of an episode")
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--episodes", type=int, default=200, help="of each evaluation")
    parser.add_argument("--out", type=Path, default=Path("runs/rl-methods"))
    args = parser.parse_args(argv)
    setup = Setup(
        args.out.resolve(), args.start.resolve(), tuple(args.verbs), args.rounds, args.tasks, args.group, args.rate,
        args.time_limit, args.episodes,
    )  # fmt: skip
    before = setup.before()
    fields = {"reward": args.reward, "upper_bound": args.reward == "truth"}
    for seed in range(args.seeds):  # one seed of every method first, so that an unfinished table has all of them
        for method in args.methods:
            setup.run(method, seed, **fields, method=method)
    print(f"before: {percent(before['rate'], before['ci'])}, {before['n']} episodes\n")
    print("| method | true success, % | seeds | seconds |\n|---|---|---|---:|")
    for method in args.methods:
        results = [setup.run(method, seed, **fields, method=method) for seed in range(args.seeds)]
        print(row(method, results))
        if method == "conditioned":
            for name, word in (("not asked", UNTOLD), ("asked for worse", WORSE)):
                others = [{**one, "true": setup.asked(method, seed, word)} for seed, one in enumerate(results)]
                print(row(f"{method}, {name}", others))


if __name__ == "__main__":
    main()

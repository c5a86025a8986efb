"""What corrections (DAgger), thoughts and language guidance bring, on levels never trained on.

    python benchmarks/ablations.py --run runs/small --episodes 250

RUN is a folder of `agent train small`, whose stages are still there: `talking` is the model before corrections,
`refining` after them. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from agent.small import load_small
from envs.doom.world import DoomWorld
from tasks import suites
from training.evaluate import evaluate

SUITES = ("doom-basic", "doom-rooms", "doom-compounds")


def rows(run: Path) -> dict[str, Any]:
    """How the policy of every row is made."""
    last = partial(load_small, run / "refining")
    return {
        "all of it": last,
        "without corrections": partial(load_small, run / "talking"),
        "without thoughts": partial(last, think="off"),
        "guidance 0.5": partial(last, guidance=0.5),
        "guidance 1": partial(last, guidance=1.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=250)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    args = parser.parse_args()
    print(f"Success in %, 95 % Wilson interval, n = {args.episodes} a suite, task seed {args.seed}.\n")
    print("| | " + " | ".join(SUITES) + " |\n" + "|---" * (len(SUITES) + 1) + "|")
    figures: dict[str, Any] = {}
    for name, load in rows(args.run).items():
        cells = []
        for suite in SUITES:
            tasks = list(suites.evaluation(suite).tasks(args.seed, args.episodes))
            result = evaluate(tasks, load, DoomWorld)["policy"].to_json()
            figures[f"{name}, {suite}"] = result
            low, high = result["ci"]
            cells.append(f"{100 * result['success']:.1f} ({100 * low:.1f}–{100 * high:.1f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""What corrections (DAgger), lower weights for repeated actions, made-up steps and language guidance bring.

    python benchmarks/ablations.py --run runs/small --frames 12000 --episodes 120

RUN is a folder of `agent train small` that still has its stages and recordings. The trained rows start from the same
checkpoint, by default the one before the last corrections, and see the same number of frames, in the same order of
levels. The other rows play the shipped model. Prints a Markdown table. Started again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from results import cell

from agent.small import load_small
from envs.doom.world import DoomWorld
from tasks.doom import suites
from training.evaluation.success import evaluate
from training.recipe import Progress
from training.small.recipe import Mode, SmallRecipe, run_stage

SUITES = ("doom-basic", "doom-rooms", "doom-compounds")
# How a row is trained: the stage, which decides whether there are corrections, and what differs in its mix.
TRAINED: dict[str, tuple[Mode, dict[str, float]]] = {
    "all of it": ("finishing", {}),
    "without corrections": ("talking", {}),
    "changes no more often than they come": ("finishing", {"turns": 0.0}),
    "repeated actions weigh 0.9^(k-1)": ("finishing", {"gamma": 0.9}),
    "without steps made of other goals": ("finishing", {"steps": 0.0}),
}
GUIDANCE = {f"shipped, guidance {guidance:g}": guidance for guidance in (0.0, 0.5, 1.0)}
ROWS = ("before", *TRAINED, *GUIDANCE)


def train(run: Path, start: Path, row: str, frames: int, rate: float) -> Path:
    """Train the checkpoint of a row, unless it exists; its folder."""
    mode, mix = TRAINED[row]
    raw = json.loads((run / "recipe.json").read_text())
    recipe = SmallRecipe.model_validate(raw | {"mix": raw["mix"] | mix, mode: {"frames": frames, "rate": rate}})
    out = run / "ablations" / row.replace(" ", "-").replace("/", "-")
    out.mkdir(parents=True, exist_ok=True)
    for recorded in run.iterdir():
        if (recorded / "corpus").exists() or (recorded / "episodes.jsonl").exists():
            link = out / recorded.name
            if not link.exists():
                link.symlink_to(recorded.resolve())
    if not (out / mode).exists():
        run_stage(recipe, out, mode, start, partial(_tell, row))
    return out / mode


def _tell(row: str, news: Progress) -> None:
    print(f"\r{row}: {news.done} of {news.total} frames ", end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="the checkpoint to start from; RUN/polishing")
    parser.add_argument("--frames", type=int, default=12000)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--episodes", type=int, default=120)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="only these")
    parser.add_argument("--suites", nargs="+", default=SUITES)
    parser.add_argument("--json", type=Path, default=Path("ablations.json"), help="keeps the figures")
    args = parser.parse_args()
    figures: dict[str, Any] = json.loads(args.json.read_text()) if args.json.exists() else {}

    def show(row: str, load: Any) -> None:
        for suite in args.suites:
            if f"{row}, {suite}" not in figures:
                tasks = list(suites.evaluation(suite).tasks(args.seed, args.episodes))
                figures[f"{row}, {suite}"] = evaluate(tasks, load, DoomWorld)["policy"].to_json()
                args.json.write_text(json.dumps(figures, indent=2) + "\n")
        print(
            f"\r| {row} | " + " | ".join(cell(figures[f"{row}, {suite}"]) for suite in args.suites) + " |", flush=True
        )

    print(f"Success in %, 95 % Wilson interval, n = {args.episodes} a suite, task seed {args.seed}.\n")
    print("| | " + " | ".join(args.suites) + " |\n" + "|---" * (len(args.suites) + 1) + "|")
    start = args.start or args.run / "polishing"
    for row in args.rows:
        if row in TRAINED:
            show(row, partial(load_small, train(args.run, start, row, args.frames, args.rate)))
        elif row in GUIDANCE:
            show(row, partial(load_small, guidance=GUIDANCE[row]))
        else:
            show(row, partial(load_small, start))


if __name__ == "__main__":
    main()

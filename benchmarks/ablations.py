"""What corrections (DAgger), weighting repeated actions down, made-up steps and language guidance bring.

    python benchmarks/ablations.py --run runs/small --frames 12000 --episodes 120

RUN is a folder of `agent train small`, whose stages and recordings are still there. The rows that are trained all start
from the same checkpoint, by default the one before the last corrections, and see as many frames, in the same order of
levels; the others play the shipped model. Prints a Markdown table; goes on where it was stopped.
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
from training.small import Mode, Progress, SmallRecipe, run_stage

SUITES = ("doom-basic", "doom-rooms", "doom-compounds")
# What a row is trained with: the stage, which brings corrections or not, and what its mix has in another way.
TRAINED: dict[str, tuple[Mode, dict[str, float]]] = {
    "all of it": ("finishing", {}),
    "without corrections": ("talking", {}),
    "changes no more often than they come": ("finishing", {"turns": 0.0}),
    "repeated actions weigh 0.9^(k-1)": ("finishing", {"gamma": 0.9}),
    "without steps made of other goals": ("finishing", {"steps": 0.0}),
}
GUIDANCE = (0.0, 0.5, 1.0)


def train(run: Path, start: Path, row: str, frames: int, rate: float) -> Path:
    """The checkpoint of a row."""
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
    parser.add_argument("--json", type=Path, default=Path("ablations.json"), help="keeps the figures")
    args = parser.parse_args()
    figures: dict[str, Any] = json.loads(args.json.read_text()) if args.json.exists() else {}

    def show(row: str, load: Any) -> None:
        for suite in SUITES:
            if f"{row}, {suite}" not in figures:
                tasks = list(suites.evaluation(suite).tasks(args.seed, args.episodes))
                figures[f"{row}, {suite}"] = evaluate(tasks, load, DoomWorld)["policy"].to_json()
                args.json.write_text(json.dumps(figures, indent=2) + "\n")
        print(f"\r| {row} | " + " | ".join(cell(figures[f"{row}, {suite}"]) for suite in SUITES) + " |", flush=True)

    print(f"Success in %, 95 % Wilson interval, n = {args.episodes} a suite, task seed {args.seed}.\n")
    print("| | " + " | ".join(SUITES) + " |\n" + "|---" * (len(SUITES) + 1) + "|")
    start = args.start or args.run / "polishing"
    show("before", partial(load_small, start))
    for row in TRAINED:
        show(row, partial(load_small, train(args.run, start, row, args.frames, args.rate)))
    for guidance in GUIDANCE:
        show(f"shipped, guidance {guidance:g}", partial(load_small, guidance=guidance))


def cell(result: dict[str, Any]) -> str:
    low, high = result["ci"]
    return f"{100 * result['success']:.1f} ({100 * low:.1f}–{100 * high:.1f})"


if __name__ == "__main__":
    main()

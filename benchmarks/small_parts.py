"""What the parts of `small` bring when it plays: what words mean, the past decisions, thoughts, and earlier weights.

    python benchmarks/small_parts.py --episodes 200
    python benchmarks/small_parts.py --policy DIR --before agent/small/weights    other weights as a last row

Weights that read no meanings have no row without them.

Every row plays the same tasks. Prints a Markdown table. Started again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from results import cell

from agent.policy import Context
from agent.small import load_small
from agent.small.policy import SmallPolicy
from agent.small.prompt import Prompt
from envs.doom.world import DoomWorld
from tasks.doom import suites
from training.evaluation.success import evaluate

SUITES = ("doom-basic", "doom-synonyms", "doom-sentences", "doom-rooms", "doom-room-looks")


class _Forgetful(SmallPolicy):
    """Reads neither its past decisions nor its last thought."""

    def _prompts(self, contexts: Sequence[Context]) -> list[Prompt]:
        return [replace(prompt, past=prompt.past[:0], thought=()) for prompt in super()._prompts(contexts)]


def whole(policy: str) -> SmallPolicy:
    """The model as it plays."""
    return load_small(policy)


def without_meanings(policy: str) -> SmallPolicy:
    """The model without what words mean: spellings alone."""
    small = load_small(policy)
    if small.model.meaning is not None:
        with torch.no_grad():
            small.model.meaning.weight.zero_()
    return small


def without_past(policy: str) -> SmallPolicy:
    """The model without its past decisions."""
    small = load_small(policy)
    return _Forgetful(small.model, think=small.think, nouns=small.nouns, ask=small.ask)


def without_thoughts(policy: str) -> SmallPolicy:
    """The model without thoughts."""
    return load_small(policy, think="off")


ROWS: dict[str, Callable[[str], SmallPolicy]] = {
    "all of it": whole,
    "no meanings of words": without_meanings,
    "no past decisions": without_past,
    "no thoughts": without_thoughts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default=str(Path(__file__).resolve().parents[1] / "agent" / "small" / "weights"))
    parser.add_argument("--before", help="a checkpoint that plays as it is, in a last row")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=tuple(ROWS), help="only these")
    parser.add_argument("--suites", nargs="+", default=SUITES)
    parser.add_argument("--json", type=Path, default=Path("small_parts.json"), help="keeps the figures")
    args = parser.parse_args()
    figures: dict[str, Any] = json.loads(args.json.read_text()) if args.json.exists() else {}
    reads = load_small(args.policy).model.meaning is not None
    rows = {row: partial(ROWS[row], args.policy) for row in args.rows if reads or ROWS[row] is not without_meanings}
    if args.before:
        rows["before"] = partial(whole, args.before)
    print(f"Success in %, 95 % Wilson interval, n = {args.episodes} a suite, task seed {args.seed}.\n")
    print("| | " + " | ".join(args.suites) + " |\n" + "|---" * (len(args.suites) + 1) + "|")
    for row, load in rows.items():
        for suite in args.suites:
            if f"{row}, {suite}" not in figures:
                tasks = list(suites.evaluation(suite).tasks(args.seed, args.episodes))
                figures[f"{row}, {suite}"] = evaluate(tasks, load, DoomWorld, workers=args.workers)["policy"].to_json()
                args.json.write_text(json.dumps(figures, indent=2) + "\n")
        print(f"| {row} | " + " | ".join(cell(figures[f"{row}, {suite}"]) for suite in args.suites) + " |", flush=True)


if __name__ == "__main__":
    main()

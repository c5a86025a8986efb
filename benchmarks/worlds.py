"""One model for several worlds, against one for each, against leaving one out, against no language.

    python benchmarks/worlds.py --run runs/worlds --frames 20000 --episodes 100
    python benchmarks/worlds.py --run runs/worlds --rows "all of them" "minetest alone"

RUN is a folder of `agent train worlds` that still has its demonstrations. All rows start from one checkpoint, which
knows doom alone, and see the same number of frames, in equal shares of the worlds that they are named after. They learn
to act and no other role. As many frames again, from the worlds that say what is in each cell, teach to see. Real-time
worlds are played in real time. Prints a Markdown table. Started again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from results import cell

from agent.small import load_small
from agent.small.checkpoint import SHIPPED
from envs import plugins
from tasks import world_tasks
from training.evaluation.success import evaluate
from training.recipe import Progress
from training.small.demonstrate import open_world
from training.small.worlds_recipe import JointRecipe, train_worlds

DEAF = "all of them, no language"  # trained and played without any words
LABELLED = ("doom", "playroom")  # worlds that say what is in each cell of a frame
_ACTING = {"questions": 0, "exits": 0.0, "captions": 0.0, "proposals": 0.0, "points": 12}  # of a recipe's mix


def rows(names: list[str]) -> Iterator[tuple[str, list[str], float]]:
    """Each row's name, the worlds that it is trained on, and the share of frames without words."""
    yield "all of them", names, 0.0
    yield from ((f"{name} alone", [name], 0.0) for name in names)
    yield from ((f"without {name}", [other for other in names if other != name], 0.0) for name in names)
    yield DEAF, names, 1.0


def train(args: argparse.Namespace, row: str, names: list[str], deaf: float) -> Path:
    """Train the checkpoint of a row, unless it exists; its folder."""
    raw = json.loads((args.run / "recipe.json").read_text())
    learning = {"frames": args.frames, "rate": raw["rounds"][0]["rate"]}
    labelled = [name for name in names if name in LABELLED]
    raw["worlds"] = {name: {"corpora": [str(args.run / name / "corpus")]} for name in names}
    for name in labelled:
        raw["worlds"][name]["glances"] = raw["batch"] // len(labelled)
    raw |= {"views": {}, "judged": {}, "rounds": [learning], "mix": raw["mix"] | _ACTING | {"deaf": deaf}}
    recipe = JointRecipe.model_validate(raw)
    out: Path = args.run / "rows" / row.replace(",", "").replace(" ", "-")

    def tell(news: Progress) -> None:
        print(f"\r{row}: {news.done} of {news.total} frames ", end="", flush=True)

    return train_worlds(recipe, args.start, out, tell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--start", type=Path, default=SHIPPED)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--episodes", type=int, default=100, help="a real-time world gets half as many")
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument("--rows", nargs="+", help="only these")
    parser.add_argument("--json", type=Path, default=Path("worlds.json"), help="keeps the figures")
    args = parser.parse_args()
    figures: dict[str, Any] = json.loads(args.json.read_text()) if args.json.exists() else {}
    names = list(json.loads((args.run / "recipe.json").read_text())["worlds"])

    def show(row: str, checkpoint: Path) -> None:
        for name in names:
            if f"{row}, {name}" not in figures:
                played = "no language" if row == DEAF else "policy"
                figures[f"{row}, {name}"] = measure(name, checkpoint, args.episodes, args.seed, played)
                args.json.write_text(json.dumps(figures, indent=2) + "\n")
        print(f"\r| {row} | " + " | ".join(cell(figures[f"{row}, {name}"]) for name in names) + " |", flush=True)

    print(f"Success in %, 95 % Wilson interval, task seed {args.seed}.\n")
    print("| | " + " | ".join(f"{name}-basic" for name in names) + " |\n" + "|---" * (len(names) + 1) + "|")
    show("before", args.start)
    for row, chosen, deaf in rows(names):
        if args.rows is None or row in args.rows:
            show(row, train(args, row, chosen, deaf))


def measure(name: str, checkpoint: Path, episodes: int, seed: int, row: str = "policy") -> dict[str, Any]:
    """The success of a checkpoint on the basic suite of a world, played as a row of training.evaluation.success."""
    count, workers = episodes, 2
    if plugins.load("world", name).realtime:
        count, workers = episodes // 2, 1  # two real-time games at once would slow each other
    tasks = list(world_tasks.suite(f"{name}-basic").tasks(seed, count))
    load, make_world = partial(load_small, checkpoint), partial(open_world, name)
    return evaluate(tasks, load, make_world, workers=workers, rows=(row,))[row].to_json()


if __name__ == "__main__":
    main()

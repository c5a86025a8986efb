"""How wrong may a judge be? Agents that learn from ground truth with errors put in, over both kinds of errors.

    agent train small --config training/small/recipes/early.yaml --out runs/early
    python benchmarks/judge_noise.py --start runs/early/small
    python benchmarks/judge_noise.py --start runs/early/small --judges runs/judge-calibrated runs/clip-calibrated

A failure is called a success with the chance FP, a success a failure with FN, each drawn independently. From the same
early player an agent learns in doom-basic (GRPO, the same number of episodes everywhere), and plays 200 tasks of
evaluation seeds, judged by the verifier. Prints a table and draws the map. `--corrected` adds the same cells with the
bias of the errors taken out of the reward. `--judges` marks where measured rewards lie: folders of `agent rewards
calibrate`. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rl_arms import Setup, pooled

from training.evaluation.statistics import percent

Cell = tuple[float, float]  # the chances of false positives and of false negatives


def reward_of(cell: Cell, corrected: bool) -> str:
    """The name of a cell's reward."""
    rates = f"{cell[0]:g},{cell[1]:g}"
    return f"corrected:{rates}:noisy:{rates}:truth" if corrected else f"noisy:{rates}:truth"


def measure(setup: Setup, cells: Sequence[Cell], seeds: Sequence[int], corrected: bool) -> dict[Cell, dict[str, Any]]:
    """The true success of the agents of each cell."""
    found = {}
    for cell in cells:
        arm = f"{'corrected' if corrected else 'noisy'}-{cell[0]:g}-{cell[1]:g}"
        # Ratios of a group's own spread are the same for every rate of errors: corrected rewards need them unscaled.
        fields = {"reward": reward_of(cell, corrected), "upper_bound": True, "scaled": not corrected}
        found[cell] = pooled([setup.run(arm, seed, **fields) for seed in seeds])
    return found


def table(found: Mapping[Cell, Mapping[str, Any]]) -> str:
    """Markdown: a row for each rate of false positives, a column for each of false negatives."""
    rows, columns = (sorted({cell[i] for cell in found}) for i in (0, 1))
    lines = [
        "| FP \\ FN | " + " | ".join(f"{100 * fn:.0f} %" for fn in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for fp in rows:
        cells = [found.get((fp, fn)) for fn in columns]
        told = [percent(one["rate"], one["ci"]) if one else "-" for one in cells]
        lines.append(f"| {100 * fp:.0f} % | " + " | ".join(told) + " |")
    return "\n".join(lines)


def draw(path: Path, found: Mapping[Cell, Mapping[str, Any]], before: float, judges: Mapping[str, Cell]) -> None:
    """The map as a PNG: true success over both rates, and where the judges lie."""
    import numpy as np
    from matplotlib.figure import Figure

    rows, columns = (sorted({cell[i] for cell in found}) for i in (0, 1))
    grid = np.array([[100 * found[fp, fn]["rate"] if (fp, fn) in found else np.nan for fn in columns] for fp in rows])
    figure = Figure(figsize=(6.4, 5.2), dpi=130, layout="constrained")
    axes = figure.subplots()
    shown = axes.pcolormesh(columns, rows, grid, cmap="RdYlGn", vmin=0, vmax=100, shading="nearest")
    for (r, fp), (c, fn) in product(enumerate(rows), enumerate(columns)):
        if np.isfinite(grid[r, c]):
            axes.text(fn, fp, f"{grid[r, c]:.0f}", ha="center", va="center")
    for name, (fp, fn) in judges.items():
        axes.plot(fn, fp, "k^")
        axes.annotate(name, (fn, fp), textcoords="offset points", xytext=(6, 4))
    axes.set(
        xlabel="successes called a failure", ylabel="failures called a success",
        title=f"true success in %, from {100 * before:.0f} % before",
    )  # fmt: skip
    figure.colorbar(shown)
    figure.savefig(path)


def judge_points(folders: Sequence[Path]) -> dict[str, Cell]:
    """Where measured rewards lie: the errors that `agent rewards calibrate` found on other episodes."""
    found = {}
    for folder in folders:
        data = json.loads((folder / "reward.json").read_text())
        found[data["reward"].split(":")[0]] = (data["false_positive"]["rate"], data["false_negative"]["rate"])
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=Path, required=True, help="a checkpoint of small that is far from perfect")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.1, 0.2, 0.3, 0.4])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--group", type=int, default=6)
    parser.add_argument("--episodes", type=int, default=200, help="of each evaluation")
    parser.add_argument("--corrected", action="store_true", help="the same cells with corrected rewards as well")
    parser.add_argument("--judges", type=Path, nargs="*", default=[], help="folders of agent rewards calibrate")
    parser.add_argument("--out", type=Path, default=Path("runs/judge-noise"))
    args = parser.parse_args(argv)
    setup = Setup(
        args.out.resolve(), args.start.resolve(), rounds=args.rounds, tasks=args.tasks, group=args.group,
        episodes=args.episodes,
    )  # fmt: skip
    before = setup.before()
    cells, seeds = list(product(args.rates, args.rates)), range(args.seeds)
    # One seed of every cell first, so that an unfinished map is one of all rates.
    for seed in seeds:
        measure(setup, cells, [seed], corrected=False)
    print(f"before: {percent(before['rate'], before['ci'])}\n\n{table(noisy := measure(setup, cells, seeds, False))}")
    draw(args.out / "map.png", noisy, before["rate"], judge_points(args.judges))
    if args.corrected:
        print(f"\ncorrected\n\n{table(measure(setup, cells, seeds, True))}")


if __name__ == "__main__":
    main()

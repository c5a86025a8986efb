"""How good what a setter proposes is, and how well its success is foretold, by ground truth.

    python benchmarks/setters.py runs/arms/full-* runs/arms/template-*

reads runs of self-improvement; it plays nothing. Folders whose names differ in a last number alone are seeds of one
row.

Of the tasks that were tried: how many can be done from where the player stood, as far as the world's rules tell (doom's
do); how many were done; how many were tried before as the same goal; and how many are "look up" or "look down", which
are always possible. Then the Brier scores of three ways to foretell the judged success of a try from the tries before
it: from all tries of the verb, from those of the goal, and from goals of near meanings (tasks.competence), as the
curriculum does. 0.25 is what one half for every try comes to. The first third of a run's tries is foretold but not
counted.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import UserError
from tasks import json_lines
from tasks.competence import Competence
from tasks.goal_text import Goal, goal_of
from training.evaluation.statistics import percent, proportion
from training.improve.collect import Try
from training.improve.generation import Generation
from training.improve.scoring import Judgement

_PRIOR = 2.0
IMPOSSIBLE = "it can't be done here"  # how the worlds' verifiers begin to say so
Outcomes = Sequence[tuple[Goal, bool]]


def _share(done: Sequence[bool], prior: float) -> float:
    return (sum(done) + _PRIOR * prior) / (len(done) + _PRIOR)


def of_verb(before: Outcomes, goal: Goal) -> float:
    """The share of successes among tries of the verb."""
    return _share([done for one, done in before if one.verb == goal.verb], 0.5)


def of_goal(before: Outcomes, goal: Goal) -> float:
    """The share of successes among tries of the goal, and of its verb where there are few."""
    return _share([done for one, done in before if one == goal], of_verb(before, goal))


def of_meaning(before: Outcomes, goal: Goal) -> float:
    """What the curriculum reckons with."""
    return Competence(before).of(goal)


FORETOLD: dict[str, Callable[[Outcomes, Goal], float]] = {"verb": of_verb, "goal": of_goal, "meaning": of_meaning}


@dataclass(frozen=True)
class Told:
    """A try: its goal, whether it was possible, its true success, and the judged one, None where nobody could tell."""

    goal: Goal
    possible: bool
    done: bool
    claimed: bool | None


def tries_of(run: Path) -> list[Told]:
    """All tries of a run that a verifier knows."""
    recipe = json.loads((run / "recipe.json").read_text())
    found = []
    for folder in sorted(run.glob("generation-*")):
        generation = Generation(run, int(folder.name.rpartition("-")[2]))
        if not generation.done("score"):
            break
        truth = {row["id"]: row for row in json_lines.read(generation.file("audit.jsonl"))}
        scores = generation.result("score")["scores"]
        for one in map(Try.from_json, generation.result("collect")["tries"]):
            goal = goal_of(recipe.get("env", "doom"), one.instruction)
            audited = truth[one.id]
            if audited["success"] is not None:
                possible = not audited["why"].startswith(IMPOSSIBLE)
                claimed = Judgement.from_json(scores[one.id]).claimed
                found.append(Told(goal, possible, audited["success"], claimed))
    return found


def squares(tries: Sequence[Told]) -> dict[str, list[float]]:
    """The squared errors of what is foretold of each judged try, without the first third."""
    judged = [(one.goal, one.claimed) for one in tries if one.claimed is not None]
    start = len(judged) // 3
    return {
        name: [(tell(judged[:at], judged[at][0]) - judged[at][1]) ** 2 for at in range(start, len(judged))]
        for name, tell in FORETOLD.items()
    }


def row(name: str, runs: Sequence[Path]) -> dict[str, Any]:
    """The figures of a setter over its runs."""
    counts = Counter[str]()
    errors: dict[str, list[float]] = {name: [] for name in FORETOLD}
    for run in runs:
        tries = tries_of(run)
        seen = set[Goal]()
        for one in tries:
            counts["tried"] += 1
            counts["possible"] += one.possible
            counts["done"] += one.done
            counts["again"] += one.goal in seen
            counts["looks"] += one.goal.verb in ("look_up", "look_down")
            seen.add(one.goal)
        for key, found in squares(tries).items():
            errors[key] += found
    n = counts["tried"]
    if not n:
        raise UserError(f"{runs[0]}: no generation of it is scored, or no verifier knows its tasks")
    gained = np.array(errors["goal"]) - np.array(errors["meaning"])
    draws = np.random.default_rng(0).integers(len(gained), size=(2000, len(gained)))
    low, high = np.quantile(gained[draws].mean(axis=1), (0.025, 0.975))
    return {
        "setter": name,
        "runs": len(runs),
        "tried": n,
        **{key: proportion(counts[key], n, of="n") for key in ("possible", "done", "again", "looks")},
        "brier": {key: float(np.mean(found)) for key, found in errors.items()},
        "gained": {"mean": float(gained.mean()), "ci": [float(low), float(high)], "n": len(gained)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of agent self-improve")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if wrong := [run for run in options.runs if not (run / "recipe.json").is_file()]:
        parser.error(f"{wrong[0]}: no run of agent self-improve is there")
    named: dict[str, list[Path]] = {}
    for run in options.runs:
        named.setdefault(re.sub(r"-\d+$", "", run.name), []).append(run)
    try:
        rows = [row(name, runs) for name, runs in named.items()]
    except UserError as error:
        parser.error(str(error))
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    columns = ("setter", "runs", "tried", "possible, %", "done, %", "a goal tried before, %", "looks, %",
               *(f"Brier, by {name}" for name in FORETOLD), "by meaning better than by goal by")  # fmt: skip
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for one in rows:
        shares = [percent(one[key]["rate"], one[key]["ci"]) for key in ("possible", "done", "again", "looks")]
        gained = one["gained"]
        better = f"{gained['mean']:.3f} ({gained['ci'][0]:.3f} to {gained['ci'][1]:.3f})"
        cells = [one["setter"], str(one["runs"]), str(one["tried"]), *shares,
                 *(f"{value:.3f}" for value in one["brier"].values()), better]  # fmt: skip
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

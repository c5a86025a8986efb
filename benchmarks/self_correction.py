"""Self-correction: what SCoRe and what it is compared with make of two attempts at one problem.

    python benchmarks/self_correction.py --suite sorting --seeds 3 --out runs/self-correction
    python benchmarks/self_correction.py --suite sorting --reward order --seeds 3 --out runs/self-correction
    python benchmarks/self_correction.py --suite doom-plans --rounds 60 --problems 32 --out runs/self-correction
    python benchmarks/self_correction.py --suite doom-basic --verbs face --time-limit 40 --out runs/self-correction

Rows are sorted by a tiny language model that is made on the spot; plans and tasks of a world are for `small`. Every arm
learns for the same number of rounds with as many attempts. Problems of the measurement are never trained on; both
attempts are drawn at temperature 1 and judged by ground truth. "Matched" gives every arm the parent's first attempts,
so that all second attempts answer the same first ones. A stopped run goes on; what is measured is read.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from envs.files import write_whole
from training.evaluation.statistics import percent
from training.recipe import Progress
from training.rl.correct import SORTING, opened, train_correction
from training.rl.correction_measures import Counts, first_attempts, measure, measure_after, measure_redrawn
from training.rl.correction_recipe import CorrectionRecipe
from training.rl.self_correction import Attempt, sampled
from training.rl.sorting import tiny_sorter

EVALUATION_SEED = 8000  # of the problems that everything is measured on
UNTRAINED = ("no training", "prompt alone", "plain retry")
IMITATING = 0.125  # of the learning rate: at that of the others, who imitates forgets how to attempt first
# The fields of the recipe by which the trained arms differ, for a number of rounds.
TRAINED: dict[str, Callable[[int], dict[str, Any]]] = {
    "Pair-SFT": lambda rounds: {"method": "pair_sft"},
    "STaR": lambda rounds: {"method": "star"},
    "single-turn RL": lambda rounds: {"method": "single"},
    "SCoRe without stage I": lambda rounds: {"stage_one": 0},
    "SCoRe without bonus": lambda rounds: {"stage_one": 3 * rounds // 4, "alpha": 0.0},
    "SCoRe, stages alike": lambda rounds: {"stage_one": rounds // 2},
    "SCoRe": lambda rounds: {"stage_one": 3 * rounds // 4},
}


@dataclass(frozen=True)
class Setup:
    """What all arms share. `pairs`: of a measurement. `steps`: of the tiny model's making, at
    most."""

    out: Path
    suite: str
    reward: str
    verbs: tuple[str, ...] = ()
    time_limit: int | None = None
    rounds: int = 400
    problems: int = 64
    group: int = 4
    rate: float = 4e-3
    pairs: int = 500
    steps: int = 1500
    policy: str = ""

    @property
    def parent(self) -> str:
        """The policy that all arms begin with."""
        if self.policy:
            return self.policy
        if self.suite != SORTING:
            return "small"
        folder = self.out / "parent"
        if not folder.is_dir():
            print("making the tiny language model", flush=True)
            tiny_sorter(folder, steps=self.steps)
        return f"hf:{folder}"

    def recipe(self, seed: int, policy: str, **fields: Any) -> CorrectionRecipe:
        shared = {
            "policy": policy, "suite": self.suite, "reward": self.reward, "upper_bound": self.reward == "truth",
            "verbs": self.verbs, "time_limit": self.time_limit, "rounds": self.rounds, "stage_one": 0, "seed": seed,
            "problems": self.problems, "group": self.group, "rate": self.rate, "think": "off", "worlds": 4,
        }  # fmt: skip
        return CorrectionRecipe.of({**shared, **fields})

    def trained(self, arm: str, seed: int) -> dict[str, Any]:
        """Train a seed of an arm, and measure it."""
        folder = self.out / "arms" / arm.replace(" ", "-") / str(seed)
        fields = TRAINED[arm](self.rounds)
        rate = self.rate * (IMITATING if fields.get("method") in ("star", "pair_sft") else 1.0)
        recipe = self.recipe(seed, self.parent, **fields, rate=rate)

        def result() -> dict[str, Any]:
            made = train_correction(recipe, folder, partial(_tell, f"{arm}, seed {seed}"))
            prefix = "hf:" if recipe.policy.startswith("hf:") else ""
            return self.measured(f"{prefix}{made}", seed)

        return _kept(folder / "result.json", result)

    def measured(self, policy: str, seed: int) -> dict[str, Any]:
        """The counts of a policy's own pairs, and of its second attempts after the parent's first ones."""
        firsts = parents_firsts(self, seed)
        with opened(self.recipe(seed, policy), self.out) as (model, exercise):
            ask = sampled(model, 1.0, torch.Generator().manual_seed(seed))
            problems = exercise.problems(self.pairs, EVALUATION_SEED, evaluation=True)
            own = measure(exercise, ask, problems)
            matched = measure_after(exercise, ask, firsts)
        return {"own": own.as_tuple(), "matched": matched.as_tuple()}

    def untrained(self, arm: str, seed: int) -> dict[str, Any]:
        """Measure the parent: a second draw that knows of no first one, one that does, or the better of two draws."""

        def result() -> dict[str, Any]:
            firsts = parents_firsts(self, seed)
            with opened(self.recipe(seed, self.parent), self.out) as (model, exercise):
                ask = sampled(model, 1.0, torch.Generator().manual_seed(seed))
                if arm == "prompt alone":
                    counts = measure_after(exercise, ask, firsts)
                else:
                    counts = measure_redrawn(exercise, ask, firsts, best=arm == "plain retry")
            return {"own": counts.as_tuple(), "matched": counts.as_tuple()}

        return _kept(self.out / "arms" / arm.replace(" ", "-") / str(seed) / "result.json", result)


@functools.cache
def parents_firsts(setup: Setup, seed: int) -> list[tuple[Any, Attempt[Any]]]:
    """The first attempts of the parent, the same ones for the same seed."""
    with opened(setup.recipe(seed, setup.parent), setup.out) as (model, exercise):
        ask = sampled(model, 1.0, torch.Generator().manual_seed(1000 + seed))
        return first_attempts(exercise, ask, exercise.problems(setup.pairs, EVALUATION_SEED, evaluation=True))


def pooled(results: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """The counts of all seeds together as shares with intervals, and each seed's delta."""
    counts = [Counts(*result[kind]) for result in results]
    return {**sum(counts[1:], counts[0]).to_json(), "deltas": [one.delta for one in counts]}


def run(setup: Setup, seeds: int, arms: Sequence[str]) -> dict[str, Any]:
    """All arms, as JSON."""
    setup.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    for seed in range(seeds):  # a run that is cut short has measured all arms alike
        for arm in arms:
            results[arm].append((setup.untrained if arm in UNTRAINED else setup.trained)(arm, seed))
    found = {arm: {kind: pooled(of_arm, kind) for kind in ("own", "matched")} for arm, of_arm in results.items()}
    return {"setup": {**asdict(setup), "out": setup.out.name}, "seeds": seeds, "arms": found}


def table(report: Mapping[str, Any]) -> str:
    """Markdown: a line for each arm."""
    setup = report["setup"]
    lines = [
        f"{setup['suite']}, reward {setup['reward']}, {report['seeds']} seeds of {setup['pairs']} pairs, "
        f"{setup['rounds']} rounds of {setup['problems']} x {setup['group']} pairs; %, 95 % intervals.",
        "",
        "| arm | t1 | t2 | delta | delta of each seed | wrong to right | right to wrong | delta, matched |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for arm, found in report["arms"].items():
        own, matched = found["own"], found["matched"]
        cells = [percent(own[name]["rate"], own[name]["ci"]) for name in ("t1", "t2", "delta")]
        cells.append(", ".join(f"{100 * delta:+.1f}" for delta in own["deltas"]))
        cells += [percent(own[name]["rate"], own[name]["ci"]) for name in ("wrong to right", "right to wrong")]
        cells.append(percent(matched["delta"]["rate"], matched["delta"]["ci"]))
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _kept(file: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is in a file; made and written first where it is not there."""
    if not file.exists():
        result = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(result) + "\n")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _tell(arm: str, news: Progress) -> None:
    if news.done % 10 == 0 or news.done == news.total:
        shown = ", ".join(f"{name} {value:.2f}" for name, value in news.figures.items())
        print(f"  {arm}: {news.stage}, round {news.done} of {news.total}, {shown}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default=SORTING)
    parser.add_argument("--reward", default="truth", help="of sorting truth or order; else `agent rewards list`")
    parser.add_argument("--verbs", nargs="*", default=(), help="only tasks of these")
    parser.add_argument("--policy", default="", help="the parent; by default the tiny model, or small")
    parser.add_argument("--time-limit", type=int, help="ticks of an attempt")
    parser.add_argument("--arms", nargs="*", default=[*UNTRAINED, *TRAINED], choices=[*UNTRAINED, *TRAINED])
    parser.add_argument("--seeds", type=int, default=3)
    for name, default in (("rounds", 400), ("problems", 64), ("group", 4), ("pairs", 500), ("steps", 1500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rate", type=float, help="of learning; by default 4e-3 of low-rank changes, 2e-4 of small")
    parser.add_argument("--out", type=Path, default=Path("runs/self-correction"))
    parser.add_argument("--quick", action="store_true", help="a tiny size, to see that it runs")
    args = parser.parse_args()
    torch.set_num_threads(1)  # for tiny models a second thread costs more than it gives
    small = {"rounds": 2, "problems": 2, "group": 2, "pairs": 8, "steps": 4} if args.quick else {}
    sizes = {name: getattr(args, name) for name in ("rounds", "problems", "group", "pairs", "steps")} | small
    setup = Setup(
        args.out / f"{args.suite}-{args.reward}", args.suite, args.reward, tuple(args.verbs), args.time_limit,
        rate=args.rate or (4e-3 if args.suite == SORTING else 2e-4), policy=args.policy, **sizes,
    )  # fmt: skip
    report = run(setup, 1 if args.quick else args.seeds, args.arms)
    write_whole(setup.out / "report.json", json.dumps(report, indent=2) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()

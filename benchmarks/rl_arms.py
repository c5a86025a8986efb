"""Arms of reinforcement learning: one start, one suite, another reward each, and what became of them by ground truth.

What benchmarks/clip_scaling.py, judge_noise.py and rl_methods.py share; it is no benchmark of its own. An arm is a
recipe of training.rl; each of its seeds is a run in a folder that goes on where it was stopped. The player that comes
out plays tasks of evaluation seeds, judged by the verifier.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agent.small import load_small
from envs.doom.world import DoomWorld
from tasks.doom import suites
from training.evaluation.agreement import share
from training.evaluation.success import evaluate
from training.recipe import Progress
from training.rl.recipe import RlRecipe
from training.rl.train import MODEL, SUMMARY, train_rl

SUITE = "doom-basic"
EVALUATION_SEED = 8000  # of the tasks that the players are measured on; training seeds are below 100


@dataclass(frozen=True)
class Setup:
    """What all arms share. `start`: a checkpoint of small. `verbs`: of the tasks. `rounds`, `tasks`, `group`: of the
    recipe. `episodes`: of an evaluation. `workers`: of an evaluation."""

    out: Path
    start: Path
    verbs: tuple[str, ...] = ()
    rounds: int = 30
    tasks: int = 16
    group: int = 6
    rate: float = 1e-4
    time_limit: int = 120
    episodes: int = 200
    workers: int = 1

    def run(self, arm: str, seed: int, **fields: Any) -> dict[str, Any]:
        """Train one seed of an arm, and measure it: `true` success on tasks of evaluation, and by round the "reward's"
        and the "true" success and the "gap" between them. What is there is read."""
        folder = self.out / "arms" / arm / str(seed)
        file = folder / "result.json"
        if not file.exists():
            made = train_rl(
                self._recipe(seed, fields), folder, partial(_tell, f"{arm}, seed {seed}"), ignore_alarms=True
            )
            summary = json.loads((folder / SUMMARY).read_text())["rounds"]
            rounds = {
                name: [one.get(key) for one in summary]
                for name, key in (("reward", "success"), ("true", "true success"), ("gap", "gap"))
            }
            seconds = sum(one["seconds"] for one in summary)
            file.write_text(json.dumps({"true": self.measure(made), "rounds": rounds, "seconds": seconds}) + "\n")
        result: dict[str, Any] = json.loads(file.read_text())
        return result

    def _recipe(self, seed: int, fields: Mapping[str, Any]) -> RlRecipe:
        shared = {
            "policy": str(self.start), "suite": SUITE, "verbs": self.verbs, "method": "grpo", "think": "off",
            "iterations": self.rounds, "tasks": self.tasks, "group": self.group, "worlds": 32, "rate": self.rate,
            "time_limit": self.time_limit, "seed": seed, "frozen_vision": True, "frames": False, "said": 0.4,
        }  # fmt: skip
        return RlRecipe.of({**shared, **fields})

    def before(self) -> dict[str, Any]:
        """How the start plays."""
        file = self.out / "before.json"
        if not file.exists():
            self.out.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(self.measure(self.start)) + "\n")
        result: dict[str, Any] = json.loads(file.read_text())
        return result

    def asked(self, arm: str, seed: int, word: str) -> dict[str, Any]:
        """How the player of one seed of an arm plays with another word behind its instructions."""
        folder = self.out / "arms" / arm / str(seed)
        file = folder / f"asked-{word or 'nothing'}.json"
        if not file.exists():
            file.write_text(json.dumps(self.measure(folder / MODEL, word)) + "\n")
        result: dict[str, Any] = json.loads(file.read_text())
        return result

    def measure(self, folder: Path, ask: str | None = None) -> dict[str, Any]:
        """The true success of a player, as JSON. `ask`: see load_small."""
        made = suites.evaluation(SUITE).tasks(EVALUATION_SEED, 5 * self.episodes)
        tasks = [task for task in made if not self.verbs or task.verb in self.verbs][: self.episodes]
        player = partial(load_small, folder, think="off", ask=ask)
        tally = evaluate(tasks, player, DoomWorld, workers=self.workers)["policy"]
        return share(*(sum(counts[i] for counts in tally.by_verb.values()) for i in (0, 1)))


def pooled(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The true success of all seeds of an arm together, with its Wilson interval, and each seed's rate."""
    counts = [result["true"] for result in results]
    together = share(sum(one["count"] for one in counts), sum(one["n"] for one in counts))
    return {**together, "seeds": [one["rate"] for one in counts]}


def last_gap(results: Sequence[Mapping[str, Any]], rounds: int = 5) -> float:
    """How much more often the reward than the verifier called an episode a success, in the last rounds, in points."""
    values = [gap for result in results for gap in result["rounds"]["gap"][-rounds:] if gap is not None]
    return 100.0 * float(np.mean(values)) if values else float("nan")


def _tell(arm: str, news: Progress) -> None:
    shown = ", ".join(f"{name} {value:.2f}" for name, value in news.figures.items() if not name.startswith("share"))
    print(f"  {arm}: round {news.done} of {news.total}, {shown}", flush=True)

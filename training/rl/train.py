"""`agent train rl`: a policy plays, a reward scores what it did, and it learns from that, round after round.

After every round the run's state is written: weights, optimizer and log. All random numbers of a round follow from the
recipe's seed and the number of the round. So a run that was killed goes on from its last round and ends with the same
weights as a run that never stopped.

Several processes, as torchrun starts them, share a round: each plays episodes of its own, gets those of the others, and
computes its share of each step's gradient. So all have the same weights, and the first one alone writes files.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

from agent.lineage import Data
from envs.errors import UserError
from envs.files import write_whole, written_whole
from rewards.calibrated import Calibrated, calibrated, check_trusted
from rewards.reward import Reward
from rewards.wrapper import WholeEpisodes
from tasks import world_tasks
from tasks.task import Task
from training.ranks import Ranks
from training.recipe import OnProgress, Progress, ignore_progress, same_recipe
from training.rl import alarms
from training.rl.advantages import within_groups
from training.rl.collect import WEIGHTS, Gathered, gathering, join, make_world, pool_of, reward_of, starts_of
from training.rl.learnable import Learnable
from training.rl.learner import Learner
from training.rl.load import load_learnable
from training.rl.practice import Practice
from training.rl.recipe import RlRecipe
from training.rl.rehearsal import Kept, kept_of
from training.rl.rollouts import Rollout, Start

MODEL, STATE, LOGS, SUMMARY, KEPT = "model", "state.pt", "tensorboard", "summary.json", "checkpoints"
_ROUND_SEEDS = 100_000  # seeds for each round, of its workers and its order
_RANK_SEEDS = 1_000  # of them for each process, of its workers

Figures = dict[str, float]


def train_rl(
    recipe: RlRecipe,
    out: Path,
    on_progress: OnProgress = ignore_progress,
    *,
    ignore_alarms: bool = False,
    practice: Sequence[Task] = (),
    ranks: Ranks | None = None,
) -> Path:
    """Train a policy and write the checkpoint OUT/model, which `agent play` loads; its path. A run that is there goes
    on, and one that has nothing left to learn ends early. `practice`: what it practises in place of the suite's own
    tasks; the same ones whenever the run goes on. `ranks`: the processes that do this together; all see `out`.

    OUT/summary.json tells how it went, and OUT/tensorboard all figures. Raises UserError for a policy or reward that
    can't be had, or that must not be learned from, ValueError for a suite that is held out and for a folder with
    another run, CollapseError where an alarm trips, and AgreementError.
    """
    ranks = ranks or Ranks()
    reward = checked_reward(recipe)
    practice = practice or pool_of(recipe, reward)
    practised = Practice(practice) if practice else None
    for name in recipe.rehearsed:
        world_tasks.training(name)
    starts = starts_of(recipe, reward, 0, practised)  # complains of the suite before anything is written
    if (tasks := len(starts) // recipe.group) < ranks.count:
        raise ValueError(f"{tasks} tasks a round are fewer than {ranks.count} processes")
    finished = (out / MODEL).is_dir()
    if not finished:  # what can't be loaded leaves no folder
        torch.manual_seed(recipe.seed)  # of the first weights of the value head
        learnable = load_learnable(
            recipe.policy,
            think=recipe.think,
            frozen_vision=recipe.frozen_vision,
            make_world=partial(make_world, recipe),
            ask=recipe.ask,
        )
    if ranks.leads:
        same_recipe(recipe, out)
    ranks.wait()  # until there is the folder
    if finished:
        return out / MODEL
    # Before a run that goes on has its weights back.
    kept = kept_of(recipe, learnable, ranks, on_progress if ranks.leads else ignore_progress)
    run = _Run(recipe, out, learnable, reward, practised, ranks, kept)
    mastered = not ignore_alarms and _mastered(run.log, recipe)
    with ExitStack() as stack:
        writer = stack.enter_context(closing(summary_writer(out / LOGS, len(run.log)))) if ranks.leads else None
        gather = stack.enter_context(gathering(recipe, run.learnable, reward, out))
        while not mastered and len(run.log) < recipe.iterations:
            figures = run.round(gather)
            if writer is not None:
                for name, value in figures.items():
                    writer.add_scalar(f"rl/{name}", value, len(run.log))
                on_progress(Progress("rl", len(run.log), recipe.iterations, _shown(figures)))
            mastered = not ignore_alarms and _mastered(run.log, recipe)
    return run.finish()


def _mastered(log: Sequence[Figures], recipe: RlRecipe) -> bool:
    """Whether a run ends early, since nothing is left to learn. Raises CollapseError where an alarm trips."""
    if alarms.mastered(log, recipe.limits):
        return True
    alarms.check(log, recipe.limits)
    return False


def checked_reward(recipe: RlRecipe) -> Reward:
    """The recipe's reward. Raises UserError for one that sees ground truth, unless the recipe is for an upper bound."""
    reward = reward_of(recipe)
    if reward.sees_truth and not recipe.upper_bound:
        raise UserError(
            f"--reward {recipe.reward} sees ground truth: an agent must not learn from it. Take --reward truth for an "
            "upper bound, which the summary calls so"
        )
    return reward


def check_reward(reward: Reward, limit: float | None, *, world: str = "", anyway: bool) -> None:
    """Refuse a reward that is wrong too often, see rewards.calibrated.check_trusted. `limit`: of the share of failures
    that it may call a success, in place of the limit that it was calibrated with. `world`: where something is learned.
    Raises UserError."""
    if isinstance(reward, WholeEpisodes):
        reward = reward.part
    if limit is not None and isinstance(reward, Calibrated):
        reward = calibrated(reward.part, replace(reward.measured, limit=limit))
    check_trusted(reward, world=world, anyway=anyway)


class _Run:
    """A run in a folder, between two rounds. `log`: the figures of each round that is done."""

    def __init__(
        self,
        recipe: RlRecipe,
        out: Path,
        learnable: Learnable,
        reward: Reward,
        practice: Practice | None,
        ranks: Ranks,
        kept: Sequence[Kept],
    ) -> None:
        self._recipe, self._out, self.learnable, self._reward = recipe, out, learnable, reward
        self._practice, self._ranks = practice, ranks
        self._learner = Learner(learnable, recipe, ranks, kept)
        self._mean: list[torch.Tensor] = []  # of the weights, over the rounds that are averaged
        self.log: list[Figures] = []
        self._costs: list[Figures] = []
        if (out / STATE).exists():
            self._resume(out / STATE)

    def round(self, gather: Any) -> Figures:
        """Collect, learn and write the state; all figures."""
        number, recipe = len(self.log), self._recipe
        seed = (recipe.seed * recipe.iterations + number) * _ROUND_SEEDS % 2**62
        starts = starts_of(recipe, self._reward, number, self._practice)
        gathered = self._gather_together(gather, starts, seed)
        rollouts = gathered.collected.rollouts
        began = time.perf_counter()
        if self._practice is not None:
            self._practice.note(rollouts)
        with _all_cores():
            learned = self._learner.learn(rollouts, seed + _ROUND_SEEDS // 2) if rollouts else {}
        costs = costs_of(gathered, time.perf_counter() - began)
        learned = self._ranks.of_lead(learned)  # the alarms must see the same everywhere
        figures = {**outcomes_of(rollouts), "dropped": float(len(gathered.collected.failures)), **learned}
        self.log.append(figures)
        self._costs.append(costs)
        self._average()
        if self._ranks.leads:
            self._save()
            if recipe.keep_every and len(self.log) % recipe.keep_every == 0:
                self._save_checkpoint(self._out / KEPT / f"{len(self.log):04d}")
        return {**figures, **costs}

    def _gather_together(self, gather: Any, starts: Sequence[Start], seed: int) -> Gathered:
        """What all processes collected, each from the starts of its groups."""
        ranks = self._ranks
        own = [start for start in starts if start.group % ranks.count == ranks.rank]
        parts: list[Gathered] = ranks.joined(gather(own, seed + ranks.rank * _RANK_SEEDS))
        if ranks.count == 1:
            return parts[0]
        wall = max(part.wall for part in parts)
        waited = sum(part.idle + wall - part.wall for part in parts)
        return Gathered(join([part.collected for part in parts]), wall, waited)

    def _average(self) -> None:
        """Take the weights of the last round into the mean, if it is among those that are averaged."""
        recipe, done = self._recipe, len(self.log)
        counted = done - (recipe.iterations - round(recipe.averaged * recipe.iterations))
        weights = [p.detach() for p in self.learnable.module.parameters() if p.requires_grad]
        if counted == 1:
            self._mean = [weight.clone() for weight in weights]
        elif counted > 1:
            torch._foreach_lerp_(self._mean, weights, 1.0 / counted)

    def finish(self) -> Path:
        """Write the summary and the checkpoint; its path."""
        learned = [p for p in self.learnable.module.parameters() if p.requires_grad]
        for parameter, mean in zip(learned, self._mean, strict=False):
            parameter.data.copy_(mean)
        if self._ranks.leads:
            self._write_results()
        self._ranks.wait()
        return self._out / MODEL

    def _write_results(self) -> None:
        write_whole(self._out / SUMMARY, json.dumps(self._summary(), indent=2) + "\n")
        self._save_checkpoint(self._out / MODEL)
        for left in (STATE, WEIGHTS):
            (self._out / left).unlink(missing_ok=True)

    def _save_checkpoint(self, folder: Path) -> None:
        recipe = self._recipe.model_dump(mode="json")
        decisions = round(sum(one["decisions"] for one in self.log))
        self.learnable.save(
            folder,
            trained={"recipe": recipe, "decisions": decisions, "rounds": len(self.log)},
            data=[Data(self._recipe.suite, decisions, "decisions")],
            recipe={name: value for name, value in recipe.items() if name not in ("policy", "workers")},
        )

    def _summary(self) -> dict[str, Any]:
        recipe = self._recipe
        about = "an upper bound: the reward sees ground truth" if self._reward.sees_truth else "learned from pixels"
        rounds = [{**one, **costs} for one, costs in zip(self.log, self._costs, strict=True)]
        return {
            "policy": recipe.policy, "suite": recipe.suite, "method": recipe.method, "reward": recipe.reward,
            "about": about, "rounds": rounds,
        }  # fmt: skip

    def _save(self) -> None:
        state = {
            "weights": self.learnable.state(),
            "optimizer": self._learner.optimizer.state_dict(),
            "mean": self._mean,
            "critic": {} if self._learner.critic is None else self._learner.critic.state(),
            "log": json.dumps([self.log, self._costs]),
            "practice": json.dumps({} if self._practice is None else self._practice.outcomes),
        }
        with written_whole(self._out / STATE) as part:
            torch.save(state, part)

    def _resume(self, file: Path) -> None:
        """Raises ValueError where the state is damaged, or that of another model."""
        try:
            state = torch.load(file, weights_only=True, map_location="cpu")
            self.learnable.load_state(state["weights"])
            self._learner.optimizer.load_state_dict(state["optimizer"])
            if self._learner.critic is not None:
                self._learner.critic.load_state(state["critic"])
            self._mean = state["mean"]
            self.log, self._costs = json.loads(state["log"])
            if self._practice is not None:
                self._practice.outcomes = json.loads(state["practice"])
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, EOFError, UnpicklingError) as error:
            said = " ".join(str(error).split())[:200]
            raise ValueError(f"{file}: the run can't go on from it ({said}); remove it to begin again") from error


@contextmanager
def _all_cores() -> Iterator[None]:
    """Torch computes with all cores, or as many as OMP_NUM_THREADS allows: those that play wait."""
    before = torch.get_num_threads()
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    torch.set_num_threads(int(told) if told.isdecimal() else os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def outcomes_of(rollouts: Sequence[Rollout]) -> Figures:
    """How the episodes of a round went.

    "reward": the mean sum. "success": by the reward. "true success": by the verifier, and "gap", how much more often
    the reward called an episode a success; both over the episodes that have a verdict. "variance": of the reward within
    groups; without groups, over all. "repeated": the share of the most frequent decision. "tokens": that a decision
    writes, on average.
    """
    if not rollouts:
        return {"decisions": 0.0, "episodes": 0.0}
    totals = [one.total for one in rollouts]
    numbers = [one.start.group for one in rollouts]
    alone = len(set(numbers)) == len(numbers)
    variance, varied, groups = within_groups(totals, [0] * len(totals) if alone else numbers)
    drawn = Counter(decision.tokens for one in rollouts for decision in one.decisions)
    figures = {
        "reward": float(np.mean(totals)),
        "success": float(np.mean([one.scored for one in rollouts])),
        "variance": variance,
        "varied groups": varied / groups,
        "repeated": drawn.most_common(1)[0][1] / drawn.total(),
        "tokens": sum(len(tokens) * count for tokens, count in drawn.items()) / drawn.total(),
        "decisions": float(drawn.total()),
        "episodes": float(len(rollouts)),
    }
    judged = [(one.scored, one.true_success) for one in rollouts if one.true_success is not None]
    if judged:
        scored, true = np.mean(np.array(judged, np.float64), axis=0)
        figures |= {"true success": float(true), "gap": float(scored - true)}
    return figures


def costs_of(gathered: Gathered, learning: float) -> Figures:
    """Decisions a second of collection, and shares of the time: "world", "policy" and "reward", and "idle" of
    the processes' time until the slowest of them is done; and "learning", of the whole round, in which they all wait.
    """
    spent = gathered.collected.seconds
    decisions = sum(len(one.rewards) for one in gathered.collected.rollouts)
    playing = spent.get("all", 0.0) + gathered.idle
    shares = {f"share {name}": spent.get(name, 0.0) / max(playing, 1e-9) for name in ("world", "policy", "reward")}
    return {
        "decisions/s": decisions / max(gathered.wall, 1e-9),
        "seconds": gathered.wall + learning,
        **shares,
        "share idle": gathered.idle / max(playing, 1e-9),
        "share learning": learning / max(gathered.wall + learning, 1e-9),
    }


def _shown(figures: Mapping[str, float]) -> Figures:
    """What a progress bar has room for."""
    names = ("success", "reward", "true success", "kl", "entropy", "decisions/s")
    waits = [f"share {name}" for name in ("world", "policy", "reward", "learning", "idle")]
    return {name: figures[name] for name in (*names, *waits) if name in figures}


def summary_writer(folder: Path, done: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done + 1)

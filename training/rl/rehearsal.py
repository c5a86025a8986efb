"""Rehearsal: a policy that learns in one place goes on doing elsewhere what it did there before.

Before it learns, it plays tasks of other suites once. Every step of learning then keeps it near what it drew there: the
distance KL(before || now) is a part of the loss, estimated as k3 with ratios of the decisions that were drawn. At first
both are the same and the gradient is zero, so it holds back no learning and adds no noise ("PPO-ptx" of arXiv
2203.02155 imitates other data in the same way, with the noise of imitation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agent.small.prompt import asked_for
from envs import plugins
from rewards.reward import VerifiedFootage
from rewards.score import Failure, Score
from tasks import world_tasks
from tasks.suite import Suite
from tasks.task import Task
from training.ranks import Ranks
from training.recipe import OnProgress, Progress, ignore_progress
from training.rl.learnable import Learnable
from training.rl.policy_gradient import k3
from training.rl.recipe import RlRecipe
from training.rl.rollouts import Collector, Pay, Rollout, Start, sampler

_SIZE = 48  # decisions that a step rehearses


@dataclass(frozen=True)
class Kept:
    """Decisions that a step rehearses. `before` (B, L): the log-probabilities of their tokens before learning."""

    batch: Any
    before: Tensor

    def distance(self, learnable: Learnable, temperature: float) -> Tensor:
        """KL(before || now) in nats a token."""
        now = learnable.score(self.batch, temperature)
        return k3(self.before, now.log_probabilities, now.mask)


class Unscored:
    """The reward of play that nobody judges."""

    name = "unscored"
    sees_truth = False

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        return [Score(0.0, False, "", self.name) for _ in episodes]


def kept_of(
    recipe: RlRecipe, learnable: Learnable, ranks: Ranks | None = None, on_progress: OnProgress = ignore_progress
) -> list[Kept]:
    """What is rehearsed: the policy plays `rehearsal_episodes` of each of the `rehearsed` suites, each of the processes
    a share of them. The same for the same recipe and weights. Raises ValueError for a suite that is held out."""
    ranks = ranks or Ranks()
    suites = [world_tasks.training(name) for name in recipe.rehearsed]
    worlds = sorted({suite.world for suite in suites})
    own: list[Rollout] = []
    for number, world in enumerate(worlds):
        on_progress(Progress("rehearse", number, len(worlds)))
        own += _played(recipe, world, suites, learnable, ranks)
        on_progress(Progress("rehearse", number + 1, len(worlds)))
    rollouts = [one for part in ranks.joined(own) for one in part]
    contexts = [context for one in rollouts for context in one.contexts]
    decisions = [decision for one in rollouts for decision in one.decisions]
    order = np.random.default_rng(recipe.seed).permutation(len(contexts))
    kept = []
    for rows in np.array_split(order, max(1, len(order) // _SIZE)) if len(order) else ():
        batch = learnable.batch(
            [asked_for(contexts[row], learnable.ask) for row in rows], [decisions[row].tokens for row in rows]
        )
        kept.append(Kept(batch, learnable.reference(batch, recipe.temperature)))
    return kept


@torch.no_grad()
def _played(
    recipe: RlRecipe, world: str, suites: Sequence[Suite], learnable: Learnable, ranks: Ranks
) -> Sequence[Rollout]:
    """This process's share of the play in those of the suites that are of a world."""
    tasks = [
        suite.task(recipe.seed, number, evaluation=False)
        for suite in suites
        if suite.world == world
        for number in range(recipe.rehearsal_episodes)
    ]
    starts = [Start(task, number) for number, task in enumerate(tasks)][ranks.rank :: ranks.count]
    collector = Collector(lambda: plugins.load("world", world)(), recipe.worlds, Unscored(), Pay())
    try:
        draw = sampler(learnable, recipe.temperature, recipe.seed)
        return collector.collect(learnable.spec, draw, starts).rollouts
    finally:
        collector.close()

"""`Learner`: changes a policy by the rollouts that it sampled, with any of the methods."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agent.policy import Context
from agent.small.prompt import asked_for
from training.ranks import Ranks
from training.rl import conditioning, imitation
from training.rl.advantages import Floats, gae, group_relative, normalised
from training.rl.learnable import Learnable, Scores
from training.rl.policy_gradient import Clipping, check_agreement, entropy, k3, policy_loss
from training.rl.recipe import RlRecipe
from training.rl.rehearsal import Kept
from training.rl.rollouts import Rollout
from training.rl.value import Critic

_BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Lessons:
    """What is learned from, decision by decision (N).

    `contexts`, `tokens`, `told`: what the policy saw and drew, and the log-probabilities that it told. `weights`: the
    advantage of each decision, or how much of it is imitated. `conditions`: the words that the contexts are learned
    with, in place of the one that they were played with; None for the same one.
    """

    contexts: tuple[Context, ...]
    tokens: tuple[tuple[int, ...], ...]
    told: tuple[tuple[float, ...], ...]
    weights: Floats
    conditions: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Part:
    """The decisions of one step that this process computes, as they are learned and as they were `played`; None where
    that is the same. Of B decisions of at most L tokens: `told` and `reference` (B, L), `weights` (B,). `counts`: what
    their mean weighs in that of the whole step."""

    batch: Any
    played: Any | None
    told: Tensor
    reference: Tensor
    weights: Tensor
    counts: float


class Learner:
    """Learns with a recipe's method, one round of rollouts after the other. `critic`: None for a method without a
    value function. `ranks`: who computes the gradient of a step together; all of them learn from the same rollouts.
    `kept`: what it rehearses, some in each step."""

    def __init__(
        self, learnable: Learnable, recipe: RlRecipe, ranks: Ranks | None = None, kept: Sequence[Kept] = ()
    ) -> None:
        self.learnable, self._recipe, self._ranks, self._kept = learnable, recipe, ranks or Ranks(), kept
        self._parameters = [p for p in learnable.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self._parameters, lr=recipe.rate, betas=_BETAS, weight_decay=0.0)
        self.critic = Critic(learnable.value_head, recipe.value_rate) if recipe.uses_values else None

    def learn(self, rollouts: Sequence[Rollout], seed: int) -> dict[str, float]:
        """Learn from rollouts; figures by name. Where they teach nothing, nothing changes.

        `seed`: of the order of the decisions and of what the model draws. Raises AgreementError where the player's
        log-probabilities are not those of the weights at hand.
        """
        recipe = self._recipe
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        fitted: dict[str, float] = {}
        if self.critic is not None and rollouts:
            states = self._states(rollouts)
            rollouts = self._valued(rollouts, states)
            fitted = self.critic.fit(states, np.concatenate([_compared(one, recipe)[1] for one in rollouts]), rng)
        lessons = lessons_of(rollouts, recipe, rng)
        if not lessons.contexts:
            return {**fitted, "learned": 0.0}
        parts = list(self._parts(lessons, rng))
        sums: dict[str, list[float]] = {}
        agreement = 0.0
        for epoch in range(recipe.epochs):
            sums = {}
            for number, at in enumerate(rng.permutation(len(parts))):
                part = parts[at]
                scores = self.learnable.score(part.batch, recipe.temperature)
                if epoch == 0 and number == 0:
                    played = scores if part.played is None else self.learnable.score(part.played, recipe.temperature)
                    found = played.log_probabilities.detach()
                    agreement = check_agreement(found, part.told, scores.mask, self.learnable.tolerance)
                again = self._kept[int(rng.integers(len(self._kept)))] if self._kept else None
                for name, value in self._step(part, scores, again).items():
                    sums.setdefault(name, []).append(value)
        figures = {name: float(np.mean(values)) for name, values in sums.items()}
        return {**fitted, **figures, "agreement": agreement, "learned": float(len(lessons.contexts))}

    def _states(self, rollouts: Sequence[Rollout]) -> Tensor:
        """The hidden states (N, width) of all decisions."""
        hidden = [decision.hidden for one in rollouts for decision in one.decisions]
        known = [state for state in hidden if state is not None]
        if len(known) == len(hidden):
            return torch.from_numpy(np.stack(known)).to(next(self.learnable.value_head.parameters()).device)
        return self._made_of([context for one in rollouts for context in one.contexts])

    def _made_of(self, contexts: Sequence[Context]) -> Tensor:
        size = self._recipe.batch
        return torch.cat([self.learnable.states(contexts[at : at + size]) for at in range(0, len(contexts), size)])

    def _valued(self, rollouts: Sequence[Rollout], states: Tensor) -> list[Rollout]:
        """Rollouts with the values of their decisions' hidden states, and of what is seen at their time-outs."""
        assert self.critic is not None
        late = [one.after for one in rollouts if one.after is not None]
        left = iter(self.critic.values(self._made_of(late)) if late else ())
        ends = np.cumsum([len(one.decisions) for one in rollouts])[:-1]
        return [
            replace(one, values=part, value_after=0.0 if one.after is None else float(next(left)))
            for one, part in zip(rollouts, np.split(self.critic.values(states), ends), strict=True)
        ]

    def _parts(self, lessons: Lessons, rng: np.random.Generator) -> Iterator[_Part]:
        """The decisions in batches, drawn once for all epochs."""
        order, size = rng.permutation(len(lessons.contexts)), self._recipe.batch
        device = next(self.learnable.module.parameters()).device
        for start in range(0, len(order), size):
            whole = order[start : start + size]
            own = np.array_split(whole, self._ranks.count)[self._ranks.rank]
            rows = (own if len(own) else whole[:1]).tolist()  # a process without any computes one that counts nothing
            contexts, tokens = [lessons.contexts[row] for row in rows], [lessons.tokens[row] for row in rows]
            played = batch = self.learnable.batch([asked_for(one, self.learnable.ask) for one in contexts], tokens)
            if lessons.conditions is not None:
                words = [lessons.conditions[row] for row in rows]
                batch = self.learnable.batch(
                    [asked_for(one, word) for one, word in zip(contexts, words, strict=True)], tokens
                )
            told = torch.nn.utils.rnn.pad_sequence([torch.tensor(lessons.told[row]) for row in rows], batch_first=True)
            yield _Part(
                batch,
                None if played is batch else played,
                told.to(device),
                self.learnable.reference(batch, self._recipe.temperature),
                torch.tensor(lessons.weights[rows], dtype=torch.float32, device=device),
                len(own) * self._ranks.count / len(whole),
            )

    def _step(self, part: _Part, scores: Scores, again: Kept | None) -> dict[str, float]:
        """Take a step of the optimizer."""
        recipe, figures = self._recipe, dict[str, Tensor]()
        if recipe.method in ("ppo", "grpo"):
            clipping = Clipping(recipe.clip_low, recipe.clip_high, recipe.dual)
            loss, figures["clipped"] = policy_loss(
                scores.log_probabilities, part.told, scores.mask, part.weights, clipping, recipe.level
            )
        else:
            loss = imitation.imitation_loss(scores.log_probabilities, scores.mask, part.weights)
        figures["policy loss"] = loss
        figures["kl"] = k3(scores.log_probabilities, part.reference, scores.mask)
        figures["entropy"] = entropy(scores.entropies, scores.mask)
        loss = loss + recipe.kl * figures["kl"] - recipe.entropy * figures["entropy"]
        if again is not None:
            figures["forgotten"] = again.distance(self.learnable, recipe.temperature)
            loss = loss + recipe.rehearsal * figures["forgotten"]
        self.optimizer.zero_grad(set_to_none=True)
        (loss * part.counts).backward()
        self._ranks.share_gradients(self._parameters)
        figures["gradient"] = torch.nn.utils.clip_grad_norm_(self._parameters, recipe.norm)
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in figures.items()}


def lessons_of(rollouts: Sequence[Rollout], recipe: RlRecipe, rng: np.random.Generator) -> Lessons:
    """The decisions of rollouts that a method learns from, with their weights. `rng`: of what it draws."""
    if recipe.uses_values:
        told = [_compared(one, recipe)[0] for one in rollouts]
        weights = normalised(np.concatenate(told)) if told else np.zeros(0)
        if recipe.method == "awr":
            weights = imitation.exponential(weights, recipe.beta, recipe.largest)
        if recipe.method == "conditioned":
            words = conditioning.conditions(weights, recipe.better, recipe.untold, rng)
            alike = replace(_lessons(rollouts, np.ones(len(weights))), conditions=tuple(words))
            return alike if words else _lessons([], np.zeros(0))
        lessons = _lessons(rollouts, weights)
        return _drawn(lessons, recipe.share, rng) if recipe.method == "ppo" else lessons
    totals = [one.total for one in rollouts]
    if recipe.method == "grpo":
        groups = [one.start.group for one in rollouts]
        of_episodes = group_relative(totals, groups, scaled=recipe.scaled)
        kept = ~np.isnan(of_episodes)
    else:
        kept = imitation.top_share(totals, recipe.top)
        of_episodes = kept.astype(np.float64)
    chosen = [one for one, keep in zip(rollouts, kept, strict=True) if keep]
    lengths = np.array([len(one.rewards) for one in chosen], int)
    return _lessons(chosen, np.repeat(of_episodes[kept], lengths))


def _compared(rollout: Rollout, recipe: RlRecipe) -> tuple[Floats, Floats]:
    assert rollout.values is not None
    return gae(rollout.rewards, rollout.values, rollout.value_after, gamma=recipe.gamma, trace=recipe.trace)


def _drawn(lessons: Lessons, share: float, rng: np.random.Generator) -> Lessons:
    """So many of the decisions, drawn in proportion to the size of their advantages, with weights that keep the mean of
    the gradient: importance sampling (arXiv 1803.00942). To take the largest ones alone would not: failures are long
    and what ends them is one decision, so the policy would be pushed away from more than it is drawn to."""
    sizes = np.abs(lessons.weights)
    if share == 1.0 or not sizes.any():
        return lessons
    count = max(1, round(share * len(sizes)))
    points = (np.arange(count) + rng.random()) / count * sizes.sum()  # systematic: each as often as it may, but for one
    rows, times = np.unique(np.searchsorted(sizes.cumsum(), points).clip(max=len(sizes) - 1), return_counts=True)
    return Lessons(
        tuple(lessons.contexts[row] for row in rows),
        tuple(lessons.tokens[row] for row in rows),
        tuple(lessons.told[row] for row in rows),
        np.sign(lessons.weights[rows]) * sizes.mean() * times * len(rows) / count,
    )


def _lessons(rollouts: Sequence[Rollout], weights: Floats) -> Lessons:
    decisions = [decision for one in rollouts for decision in one.decisions]
    return Lessons(
        tuple(context for one in rollouts for context in one.contexts),
        tuple(decision.tokens for decision in decisions),
        tuple(decision.log_probabilities for decision in decisions),
        weights,
    )

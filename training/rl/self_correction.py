"""Self-correction by reinforcement learning: a model learns to make a second attempt better than its first one.

SCoRe, "Training Language Models to Self-Correct via Reinforcement Learning" (arXiv 2409.12917). The model attempts a
problem, and attempts it again with its first attempt in the prompt; nobody says whether that was right. In stage I the
second attempt is paid alone, while a strong distance keeps the first one at the parent: a model that improved its first
attempts would have nothing to correct. In stage II both attempts are paid, and the second one gets alpha (r2 - r1) on
top: the change counts far more than the reward itself, so that repeating the first attempt is no way out.

The gradient is REINFORCE's: one step a round, on what the weights of that round drew. The baseline of an attempt is the
mean of what the same attempt at the same problem was paid in the others of its group (leave-one-out). A sum over tokens
is divided by a constant and not by its length, so that an attempt gains nothing by being longer or shorter.

What it is compared with learns by the same code: reinforcement of single attempts, and imitation of corrections, STaR
(arXiv 2203.14465) and Pair-SFT (arXiv 2211.00053).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from agent.policy import Decision
from training.rl.correction_recipe import CorrectionRecipe
from training.rl.learnable import Scorable, Scores
from training.rl.policy_gradient import check_agreement, entropy, k3

P = TypeVar("P")  # a prompt: what the model decides from
Q = TypeVar("Q")  # a problem
_BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Attempt(Generic[P]):
    """One attempt: the decisions that were drawn, and the prompt of each.

    `reward`: what it is paid. `solved`: the verdict by ground truth, None where there is none; nothing learns from it.
    `told`: what a second attempt is told of it.
    """

    prompts: tuple[P, ...]
    decisions: tuple[Decision, ...]
    reward: float
    solved: bool | None
    told: str = ""


@dataclass(frozen=True)
class Pair(Generic[P]):
    """Two attempts at one problem. `group`: the number of the problem; pairs of a group are compared."""

    group: int
    first: Attempt[P]
    second: Attempt[P]


Ask = Callable[[Sequence[P]], list[Decision]]


class Exercise(Protocol[Q, P]):
    """What is attempted twice.

    `length`: tokens of an attempt, at most; the constant that sums over its tokens are divided by.
    """

    @property
    def length(self) -> int: ...

    def problems(self, count: int, seed: int, *, evaluation: bool = False) -> list[Q]:
        """Problems, the same ones for the same seed; those of evaluation are never trained on."""

    def attempt(self, ask: Ask[P], problems: Sequence[Q], after: Sequence[Attempt[P]] = ()) -> list[Attempt[P] | None]:
        """An attempt at each problem, or a second one with what is told of the attempts `after`. None for one that the
        reward could not score."""

    def again(self, prompts: Sequence[P], after: Attempt[P], problem: Q) -> tuple[P, ...]:
        """The prompts of an attempt at a problem, as they had been with `after` before it."""

    def close(self) -> None:
        """Release what it holds."""


@dataclass(frozen=True)
class Lesson(Generic[P]):
    """A decision and how it is learned: `weight` times its log-probability, less `beta` times its distance from the
    parent. `drawn`: whether the weights of this round drew it for this prompt."""

    prompt: P
    decision: Decision
    weight: float
    beta: float
    drawn: bool = True


def sampled(model: Scorable[P], temperature: float, generator: torch.Generator) -> Ask[P]:
    """Draws decisions of a model."""
    return lambda prompts: model.sample(prompts, temperature=temperature, generator=generator)


def attempt_twice(exercise: Exercise[Q, P], ask: Ask[P], problems: Sequence[Q], groups: Sequence[int]) -> list[Pair[P]]:
    """Two attempts at each problem; a pair that the reward could not score is left out."""
    firsts = exercise.attempt(ask, problems)
    kept = [(problem, group, one) for problem, group, one in zip(problems, groups, firsts, strict=True) if one]
    seconds = exercise.attempt(ask, [problem for problem, *_ in kept], [one for *_, one in kept]) if kept else []
    return [
        Pair(group, first, second)
        for (_, group, first), second in zip(kept, seconds, strict=True)
        if second is not None
    ]


def leave_one_out(rewards: Sequence[float], groups: Sequence[int]) -> list[float]:
    """What each was paid over the mean of the others of its group; 0 for one that is alone."""
    paid, numbers = np.asarray(rewards, np.float64), np.asarray(groups)
    advantages = np.zeros(len(paid))
    for number in np.unique(numbers):
        members = np.flatnonzero(numbers == number)
        if len(members) > 1:
            others = (paid[members].sum() - paid[members]) / (len(members) - 1)
            advantages[members] = paid[members] - others
    return [float(one) for one in advantages]


def paid(pairs: Sequence[Pair[Any]], recipe: CorrectionRecipe, stage: int) -> tuple[list[float], list[float]]:
    """What the first and the second attempts of pairs are paid in a stage."""
    firsts = [pair.first.reward if stage == 2 else 0.0 for pair in pairs]
    bonus = recipe.alpha if stage == 2 else 0.0
    seconds = [pair.second.reward + bonus * (pair.second.reward - pair.first.reward) for pair in pairs]
    return firsts, seconds


def lessons_of(pairs: Sequence[Pair[P]], recipe: CorrectionRecipe, stage: int) -> list[Lesson[P]]:
    """What pairs teach by SCoRe in stage 1 or 2. The strong distance `beta2` of stage I is that of first attempts."""
    groups = [pair.group for pair in pairs]
    gains = [leave_one_out(rewards, groups) for rewards in paid(pairs, recipe, stage)]
    betas = (recipe.beta2 if stage == 1 else recipe.beta1, recipe.beta1)
    return [
        Lesson(prompt, decision, gain, beta)
        for number, beta in enumerate(betas)
        for pair, gain in zip(pairs, gains[number], strict=True)
        for prompt, decision in _decided((pair.first, pair.second)[number])
    ]


def lessons_of_single(
    attempts: Sequence[Attempt[P]], groups: Sequence[int], recipe: CorrectionRecipe
) -> list[Lesson[P]]:
    """What attempts teach that nothing comes after: reinforcement of one turn."""
    gains = leave_one_out([one.reward for one in attempts], groups)
    return [
        Lesson(prompt, decision, gain, recipe.beta1)
        for one, gain in zip(attempts, gains, strict=True)
        for prompt, decision in _decided(one)
    ]


def lessons_of_star(pairs: Sequence[Pair[P]], recipe: CorrectionRecipe) -> list[Lesson[P]]:
    """The second attempts that corrected a first one are imitated."""
    better = [pair for pair in pairs if pair.second.reward > pair.first.reward]
    return [Lesson(*decided, 1.0, 0.0) for pair in better for decided in _decided(pair.second)]


def lessons_of_pair_sft(
    exercise: Exercise[Q, P], attempts: Sequence[Attempt[P]], groups: Sequence[int], problems: Sequence[Q]
) -> list[Lesson[P]]:
    """Corrections that are put together: the best attempt at a problem is imitated as if it came after each of the
    worst ones at it. `problems`: of each attempt."""
    lessons: list[Lesson[P]] = []
    for group in sorted(set(groups)):
        members = [at for at, number in enumerate(groups) if number == group]
        best = max(members, key=lambda at: attempts[at].reward)
        for at in members:
            if attempts[at].reward < attempts[best].reward:
                prompts = exercise.again(attempts[best].prompts, attempts[at], problems[at])
                decided = zip(prompts, attempts[best].decisions, strict=True)
                lessons += [Lesson(prompt, decision, 1.0, 0.0, drawn=False) for prompt, decision in decided]
    return lessons


def _decided(attempt: Attempt[P]) -> Iterator[tuple[P, Decision]]:
    return zip(attempt.prompts, attempt.decisions, strict=True)


def reverse_kl(found: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Of B decisions (B,) half the squared log-ratios of their tokens. On what the policy drew its gradient is that of
    KL(policy || reference), which that of k3 is not: k3's is that of KL(reference || policy)."""
    return (0.5 * ((found - reference) * mask).square()).sum(1)


class CorrectionLearner(Generic[P]):
    """Takes one step of the optimizer for each round of lessons."""

    def __init__(self, model: Scorable[P], recipe: CorrectionRecipe, length: int) -> None:
        self.model, self._recipe, self._length = model, recipe, length
        self._parameters = [p for p in model.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self._parameters, lr=recipe.rate, betas=_BETAS, weight_decay=0.0)

    def learn(self, lessons: Sequence[Lesson[P]], attempts: int) -> dict[str, float]:
        """Learn from the lessons of `attempts` attempts; figures by name. Where they teach nothing, nothing changes.
        Raises AgreementError where the player's log-probabilities are not those of the weights at hand."""
        lessons = [lesson for lesson in lessons if lesson.weight or lesson.beta]
        if not any(lesson.weight for lesson in lessons):
            return {"learned": 0.0}
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, list[float]] = {}
        agreement = 0.0
        for part in _parts(lessons, self._recipe.batch):
            loss, scores, figures = self._loss(part)
            (loss / (attempts * self._length)).backward()
            if all(lesson.drawn for lesson in part):
                told = _padded([lesson.decision.log_probabilities for lesson in part], scores.mask)
                found = scores.log_probabilities.detach()
                agreement = max(agreement, check_agreement(found, told, scores.mask, self.model.tolerance))
            for name, value in figures.items():
                sums.setdefault(name, []).append(float(value.detach()))
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._recipe.norm)
        self.optimizer.step()
        means = {name: float(np.mean(values)) for name, values in sums.items()}
        return {**means, "gradient": float(norm), "agreement": agreement, "learned": float(len(lessons))}

    def _loss(self, part: Sequence[Lesson[P]]) -> tuple[Tensor, Scores, dict[str, Tensor]]:
        """The sum over a part's decisions and their tokens."""
        batch = self.model.batch([one.prompt for one in part], [one.decision.tokens for one in part])
        scores = self.model.score(batch, self._recipe.temperature)
        found, mask = scores.log_probabilities, scores.mask
        reference = self.model.reference(batch, self._recipe.temperature)
        weights = found.new_tensor([one.weight for one in part])
        betas = found.new_tensor([one.beta for one in part])
        loss = (betas * reverse_kl(found, reference, mask) - weights * (found * mask).sum(1)).sum()
        return loss, scores, {"kl": k3(found, reference, mask), "entropy": entropy(scores.entropies, mask)}


def _parts(lessons: Sequence[Lesson[P]], size: int) -> Iterable[Sequence[Lesson[P]]]:
    return (lessons[at : at + size] for at in range(0, len(lessons), size))


def _padded(rows: Sequence[Sequence[float]], mask: Tensor) -> Tensor:
    values = torch.tensor([value for row in rows for value in row], dtype=torch.float32, device=mask.device)
    return values.new_zeros(mask.shape).masked_scatter(mask, values)

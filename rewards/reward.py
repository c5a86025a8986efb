"""`Reward`: what scores episodes. A reward model sees pixels and the instruction; `truth` alone sees the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from envs import plugins
from rewards.score import Failure, Score
from tasks.task import Task

Frames = npt.NDArray[np.uint8]


class Footage(Protocol):
    """What a reward model sees of an episode."""

    def decision_frames(self) -> Frames:
        """uint8 RGB (T + 1, H, W, 3): one frame before each of T decisions and one after the last."""


class VerifiedFootage(Footage, Protocol):
    """An episode with the verdict of its task's verifier. Only a reward whose `sees_truth` is true gets one."""

    @property
    def success(self) -> bool | None:
        """The verdict; None where nobody judged."""

    @property
    def why(self) -> str:
        """The verifier's reason."""


@runtime_checkable
class Reward(Protocol):
    """Scores episodes of a task.

    Call it through `score_pairs`, which hides ground truth from a reward whose `sees_truth` is false.
    """

    @property
    def name(self) -> str:
        """What its scores are filed under, such as "judge:small"."""

    @property
    def sees_truth(self) -> bool:
        """Whether it needs the verifier's verdict. Such a reward is for evaluation and as an upper bound."""

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        """One result for each episode. An episode that can't be scored gets a Failure, never a value of 0."""


@runtime_checkable
class PairReward(Reward, Protocol):
    """A reward that scores episodes of different tasks in one batch."""

    def score_pairs(self, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Score | Failure]:
        """One result for each pair of a task and an episode of it."""


@dataclass(frozen=True)
class _Pixels:
    """An episode without its verdict."""

    footage: Footage

    def decision_frames(self) -> Frames:
        return self.footage.decision_frames()

    @property
    def success(self) -> bool | None:
        return None

    @property
    def why(self) -> str:
        return ""


def blind(task: Task) -> Task:
    """The task without what only ground truth knows: its verifier, its level and the answer it expects."""
    return replace(task, verifier=None, options={}, answer="")


def score_pairs(reward: Reward, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Score | Failure]:
    """Score pairs of a task and an episode of it, in one batch where the reward can.

    A reward whose `sees_truth` is false gets tasks without verifier and level, and episodes without verdict. Raises
    ValueError where the reward doesn't give one Score or Failure for each pair.
    """
    if not reward.sees_truth:
        pairs = [(blind(task), _Pixels(episode)) for task, episode in pairs]
    results: list[Score | Failure] = []
    if isinstance(reward, PairReward):
        results = reward.score_pairs(pairs)
    else:
        for task, group in groupby(pairs, key=lambda pair: pair[0]):
            results += reward.score(task, [episode for _, episode in group])
    if len(results) != len(pairs) or not all(isinstance(result, Score | Failure) for result in results):
        raise ValueError(f"reward {reward.name!r}: expected a Score or Failure for each of {len(pairs)} episodes")
    return results


def load_reward(name: str) -> Reward:
    """A reward by name, by NAME:ARGUMENT such as judge:FOLDER, or by `package.module:Name`.

    Raises UserError for an unknown name, an argument that it doesn't take, and what is no reward.
    """
    return plugins.make("reward", name, Reward, "name, sees_truth and score")  # type: ignore[type-abstract]

"""Rewards made of rewards: `agree`, `mixture`, `twice`, `sure`, `shaped`, `corrected` and `noisy`.

| name                        | what it says of an episode                                                       |
| --------------------------- | -------------------------------------------------------------------------------- |
| `agree:A+B`                 | success where all call it one, none where all call it none, otherwise no score   |
| `mixture:0.7*A+0.3*B`       | the weighted mean of those that gave a score                                     |
| `twice:A`                   | success where A says so twice: of the episode, and of every second frame of it   |
| `sure:A`                    | A's score, but none where A can't tell: its value and its threshold disagree     |
| `shaped:A`                  | how much further than its first frames the episode came                          |
| `corrected:FP,FN:A`         | A's success, de-biased by the known shares of false positives and negatives      |
| `corrected:FN:A`            | the same by the share of false negatives alone, up to the size of the steps      |
| `noisy:FP,FN:A`             | A's success, wrong on purpose: with errors as often as said                      |
"""

from __future__ import annotations

import re
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from envs.errors import UserError
from rewards.reward import Frames, Reward, VerifiedFootage, load_reward, score_pairs
from rewards.score import Failure, Score
from rewards.views import Thinned
from tasks.task import Task

Result = Score | Failure
_HALF = 50.0


class _Combined(ABC):
    """A reward made of `parts`. It sees ground truth if one of them does; each sees only what it may."""

    def __init__(self, name: str, parts: Sequence[Reward]) -> None:
        self.name, self.parts = name, tuple(parts)
        self.sees_truth = any(part.sees_truth for part in parts)

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Result]:
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Result]:
        said = [score_pairs(part, pairs) for part in self.parts]
        return [self._joined(results) for results in zip(*said, strict=True)]

    @abstractmethod
    def _joined(self, results: tuple[Result, ...]) -> Result:
        """What the results of all parts for one episode come to."""


class Agree(_Combined):
    """All parts must agree on success or failure: otherwise there is no score. The value is their mean."""

    def _joined(self, results: tuple[Result, ...]) -> Result:
        scores = [result for result in results if isinstance(result, Score)]
        if len(scores) < len(results):
            return Failure(next(result.why for result in results if isinstance(result, Failure)))
        if len({score.success for score in scores}) > 1:
            return Failure("they disagree: " + "; ".join(f"{score.by} says {score.success}" for score in scores))
        mean = sum(score.value for score in scores) / len(scores)
        return Score(mean, scores[0].success, "; ".join(score.why for score in scores), self.name)


class Twice:
    """A reward that has to say so twice: of the episode, and of every second frame of it. The value is the mean of
    both; a second view that fails leaves the first."""

    def __init__(self, part: Reward) -> None:
        self.name, self.sees_truth, self.part = f"twice:{part.name}", part.sees_truth, part

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Result]:
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Result]:
        results = score_pairs(self.part, pairs)
        again = score_pairs(self.part, [(task, Thinned(episode)) for task, episode in pairs])
        return [self._joined(first, second) for first, second in zip(results, again, strict=True)]

    def _joined(self, first: Result, second: Result) -> Result:
        if isinstance(first, Failure):
            return first
        if isinstance(second, Failure):
            return replace(first, by=self.name)
        both, worse = first.success and second.success, min(first, second, key=lambda one: (one.success, one.value))
        return replace(first, value=(first.value + second.value) / 2.0, success=both, why=worse.why, by=self.name)


class Mixture(_Combined):
    """The mean of the values of those parts that gave a score, weighted; a missing score is not 0. Success is a mean
    chance of at least a half, where a part's success counts as 1."""

    def __init__(self, name: str, parts: Sequence[Reward], weights: Sequence[float]) -> None:
        super().__init__(name, parts)
        if len(weights) != len(self.parts) or min(weights) <= 0.0:
            raise ValueError("mixture: expected a weight above 0 for each reward")
        self._weights = tuple(weights)

    def _joined(self, results: tuple[Result, ...]) -> Result:
        known = [(w, result) for w, result in zip(self._weights, results, strict=True) if isinstance(result, Score)]
        if not known:
            return Failure("; ".join(result.why for result in results if isinstance(result, Failure)))
        total = sum(weight for weight, _ in known)
        value = sum(weight * score.value for weight, score in known) / total
        sure = sum(weight * score.success for weight, score in known) / total
        return Score(value, sure >= 0.5, "; ".join(score.why for _, score in known), self.name)


class Sure(_Combined):
    """A reward that says when it can't tell. Its value is a chance; a chance above a half that does not reach the
    threshold of success, or one below a half that does, is no score."""

    def _joined(self, results: tuple[Result, ...]) -> Result:
        (result,) = results
        if isinstance(result, Failure):
            return result
        if (result.value > _HALF) != result.success and result.value != _HALF:
            return Failure(f"{result.by} can't tell: {result.value:.0f} of 100")
        return replace(result, by=self.name)


@dataclass(frozen=True)
class _Part:
    """Some frames of an episode."""

    episode: VerifiedFootage
    first: bool

    def decision_frames(self) -> Frames:
        frames = self.episode.decision_frames()
        return frames[: max(1, len(frames) // 10)] if self.first else frames

    @property
    def success(self) -> bool | None:
        return None

    @property
    def why(self) -> str:
        return ""


class Shaped:
    """The progress from the first tenth of an episode to all of it, from 0 to 100: of the progress that the part tells,
    or else of its value. What was so before it began earns nothing: it counts as a success only if it did not count as
    one at the start."""

    sees_truth = False

    def __init__(self, part: Reward) -> None:
        if part.sees_truth:
            raise ValueError("shaped: a reward that sees ground truth has no progress")
        self.name, self._part = f"shaped:{part.name}", part

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Result]:
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Result]:
        whole = score_pairs(self._part, [(task, _Part(episode, first=False)) for task, episode in pairs])
        start = score_pairs(self._part, [(task, _Part(episode, first=True)) for task, episode in pairs])
        return [self._progress(before, after) for before, after in zip(start, whole, strict=True)]

    def _progress(self, before: Result, after: Result) -> Result:
        if isinstance(before, Failure):
            return before
        if isinstance(after, Failure):
            return after
        first, last = before.value, after.value
        if before.progress is not None and after.progress is not None:
            first, last = 100.0 * before.progress, 100.0 * after.progress
        value = max(0.0, last - first)
        why = f"from {first:.0f} to {last:.0f}: {after.why}"
        return replace(after, value=value, success=after.success and not before.success, why=why, by=self.name)


class Corrected:
    """A reward's success, with the bias of its known errors taken out of what a policy gradient is paid (arXiv
    2510.00915).

    `false_positive` and `false_negative`: the shares of failures that it calls a success, and of successes that it
    calls a failure. With both, "backward": `reward` is (r - fp) / (1 - fp - fn), whose mean is that of the true one,
    and `value` / 100 is the same, cut to [0, 1]. Where `false_positive` is None, "forward": `reward` is fn for what is
    called a success and fn - 1 for what is called a failure. Of a success its mean is 0, and of a failure it is
    fp + fn - 1, whatever fp is: the gradient's direction is right, and its size is not. `value` is as it was. Raises
    ValueError where the errors leave nothing to tell.
    """

    def __init__(self, part: Reward, false_positive: float | None, false_negative: float) -> None:
        least = false_positive or 0.0
        if not (0.0 <= least < 1.0 and 0.0 <= false_negative < 1.0 - least):
            raise ValueError(
                f"corrected: expected shares of errors that sum to less than 1, got {false_positive!r} and "
                f"{false_negative!r}"
            )
        known = [false_negative] if false_positive is None else [false_positive, false_negative]
        self.name = f"corrected:{','.join(f'{rate:g}' for rate in known)}:{part.name}"
        self.sees_truth = part.sees_truth
        self._part, self._positive, self._negative = part, false_positive, false_negative

    def reward(self, success: bool) -> float:
        """What is paid for what is called a success or a failure."""
        if self._positive is None:
            return float(success) - (1.0 - self._negative)
        return (float(success) - self._positive) / (1.0 - self._positive - self._negative)

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Result]:
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Result]:
        return [self._corrected(result) for result in score_pairs(self._part, pairs)]

    def _corrected(self, result: Result) -> Result:
        if isinstance(result, Failure) or self._positive is None:
            return replace(result, by=self.name) if isinstance(result, Score) else result
        value = 100.0 * min(1.0, max(0.0, self.reward(result.success)))
        return replace(result, value=value, by=self.name)


class Noisy:
    """A reward that is wrong on purpose, to find out how wrong one may be: each failure is called a success with the
    chance `false_positive`, each success a failure with `false_negative`. The same frames always get the same answer.
    Raises ValueError for what are no chances."""

    def __init__(self, part: Reward, false_positive: float, false_negative: float) -> None:
        if not (0.0 <= false_positive <= 1.0 and 0.0 <= false_negative <= 1.0):
            raise ValueError(f"noisy: expected chances from 0 to 1, got {false_positive!r} and {false_negative!r}")
        self.name = f"noisy:{false_positive:g},{false_negative:g}:{part.name}"
        self.sees_truth = part.sees_truth
        self._part, self._positive, self._negative = part, false_positive, false_negative

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Result]:
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Result]:
        said = score_pairs(self._part, pairs)
        return [self._wrong(result, *pair) for result, pair in zip(said, pairs, strict=True)]

    def _wrong(self, result: Result, task: Task, episode: VerifiedFootage) -> Result:
        if isinstance(result, Failure):
            return result
        drawn = zlib.crc32(episode.decision_frames().tobytes(), zlib.crc32(task.id.encode())) / 2**32
        if drawn >= (self._negative if result.success else self._positive):
            return replace(result, by=self.name)
        return replace(result, value=100.0 - result.value, success=not result.success, by=self.name)


def load_agree(parts: str) -> Agree:
    """`A+B`: two or more rewards."""
    names = parts.split("+")
    if len(names) < 2:
        raise UserError(f"reward agree:{parts}: expected two or more rewards, such as agree:judge+clip")
    return Agree(f"agree:{parts}", [load_reward(name) for name in names])


def load_mixture(parts: str) -> Mixture:
    """`0.7*A+0.3*B`: rewards and their weights; a reward without one weighs 1."""
    weights, rewards = [], []
    for part in parts.split("+"):
        weight, _, name = part.strip().rpartition("*")
        if weight and (not re.fullmatch(r"\d+\.?\d*|\.\d+", weight) or not float(weight)):
            raise UserError(f"reward mixture:{parts}: {weight!r} is no weight; expected such as 0.7*judge+0.3*clip")
        weights.append(float(weight or 1.0))
        rewards.append(load_reward(name))
    return Mixture(f"mixture:{parts}", rewards, weights)


def load_twice(part: str) -> Twice:
    """`A`: a reward."""
    return Twice(load_reward(part))


def load_sure(part: str) -> Sure:
    """`A`: a reward whose value is a chance, such as judge and calibrated:FOLDER."""
    return Sure(f"sure:{part}", [load_reward(part)])


def load_shaped(part: str) -> Shaped:
    """`A`: a reward."""
    return Shaped(load_reward(part))


def load_corrected(spec: str) -> Corrected:
    """`FP,FN:A`: the shares of false positives and false negatives of a reward; `FN:A`: that of false negatives."""
    forward = re.fullmatch(r"([0-9.]+):(.+)", spec)
    if forward is not None:
        return Corrected(load_reward(forward[2]), None, float(forward[1]))
    return Corrected(*_rates("corrected", spec))


def load_noisy(spec: str) -> Noisy:
    """`FP,FN:A`: chances of false positives and false negatives, and a reward."""
    return Noisy(*_rates("noisy", spec))


def _rates(name: str, spec: str) -> tuple[Reward, float, float]:
    found = re.fullmatch(r"([0-9.]+),([0-9.]+):(.+)", spec)
    if found is None:
        raise UserError(f"reward {name}:{spec}: expected {name}:FP,FN:REWARD, such as {name}:0.05,0.1:judge")
    return load_reward(found[3]), float(found[1]), float(found[2])

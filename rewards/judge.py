"""The judge: a model that looks at frames of an episode and says how well it did what the instruction asks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from rewards.score import Failure, Score
from tasks.task import Task

# The frames that a judge sees, as decisions before the end; before these comes the first frame of the episode.
BEFORE_END = (12, 8, 5, 3, 2, 1, 0)
FRAMES = 1 + len(BEFORE_END)
CALIBRATION = "judge.json"  # beside a checkpoint

Frames = npt.NDArray[np.uint8]
E = TypeVar("E")
EContra = TypeVar("EContra", contravariant=True)


def view(frames: Sequence[Frames] | Frames) -> Frames:
    """What a judge sees of an episode: uint8 (FRAMES, H, W, 3).

    `frames`: uint8 (T + 1, H, W, 3), one before every decision and one after the last. A short episode repeats its
    first frame. Raises ValueError where there is no frame.
    """
    if not len(frames):
        raise ValueError("an episode without a frame can't be judged")
    last = len(frames) - 1
    return np.stack([frames[0], *(frames[max(0, last - back)] for back in BEFORE_END)])


class JudgingPolicy(Protocol):
    """A model in the role of the judge."""

    def judge(self, instructions: list[str], frames: Frames) -> list[tuple[float, str]]:
        """A value from 0 to 100 and a short reason for each of B instructions. `frames`: uint8 (B, 8, 120, 160, 3),
        as `view` gives them."""


@dataclass(frozen=True)
class Calibration:
    """What a judge's values mean.

    `threshold`: the least value that counts as success. `values` and `chances`: a rising curve through points; a
    value's chance of success, 0 to 1, lies on it.
    """

    threshold: float
    values: tuple[float, ...] = (0.0, 100.0)
    chances: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        rising = all(np.all(np.diff(side) >= 0.0) for side in (self.values, self.chances))
        if not self.values or len(self.values) != len(self.chances) or not rising:
            raise ValueError("calibration: expected as many values as chances, at least one, both rising")

    def chance(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The chance of success for values from 0 to 100, of the same shape."""
        return np.interp(np.asarray(values, np.float64), self.values, self.chances)

    def save(self, folder: Path) -> None:
        """Write it beside a checkpoint."""
        data = {"threshold": self.threshold, "values": self.values, "chances": self.chances}
        (folder / CALIBRATION).write_text(json.dumps(data) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """The calibration beside a checkpoint. Raises ValueError where there is none, or none that can be read."""
        path = folder / CALIBRATION
        try:
            data: dict[str, Any] = json.loads(path.read_text())
            return cls(float(data["threshold"]), tuple(data["values"]), tuple(data["chances"]))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: no calibration of a judge: {error}") from error


class SmallJudge(Generic[E]):
    """Scores recorded episodes with a model.

    `threshold`: the least value that counts as success, or a whole Calibration, whose chances then are the scores.
    `load`: gives an episode's frames, uint8 (T + 1, H, W, 3): one before every decision and one after the last.
    `batch`: episodes that share a pass of the model.
    """

    def __init__(
        self,
        policy: JudgingPolicy,
        threshold: float | Calibration,
        load: Callable[[E], Frames],
        *,
        name: str = "small",
        batch: int = 16,
    ) -> None:
        self._policy, self._load = policy, load
        self._calibration = threshold if isinstance(threshold, Calibration) else Calibration(threshold)
        self._name, self._batch = name, batch

    def score(self, task: Task, episodes: Sequence[E]) -> list[Score | Failure]:
        """One score for each episode of a task; a Failure where its frames can't be read or the model fails."""
        scores: list[Score | Failure] = []
        for start in range(0, len(episodes), self._batch):
            scores += self._score(task.instruction, episodes[start : start + self._batch])
        return scores

    def _score(self, instruction: str, episodes: Sequence[E]) -> list[Score | Failure]:
        out: list[Score | Failure | None] = [None] * len(episodes)
        seen: list[tuple[int, Frames]] = []
        for i, episode in enumerate(episodes):
            try:
                seen.append((i, view(self._load(episode))))
            except Exception as error:  # a foreign loader: a broken file must not end the scoring of the others
                out[i] = Failure(f"its frames can't be read: {error}")
        try:
            said = self._policy.judge([instruction] * len(seen), np.stack([frames for _, frames in seen]))
            if len(said) != len(seen):
                raise ValueError(f"{len(said)} answers for {len(seen)} episodes")
        except Exception as error:
            said = [(float("nan"), f"{type(error).__name__}: {error}")] * len(seen)
        for (i, _), (value, why) in zip(seen, said, strict=True):
            out[i] = self._told(value, why)
        return [result or Failure("it was not judged") for result in out]

    def _told(self, value: float, why: str) -> Score | Failure:
        if not 0.0 <= value <= 100.0:
            return Failure(f"the judge failed: {why}" if np.isnan(value) else f"the judge says {value!r} of 100")
        chance = 100.0 * float(self._calibration.chance(value))
        return Score(chance, value >= self._calibration.threshold, why, self._name)

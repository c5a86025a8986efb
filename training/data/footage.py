"""`RecordedFootage`: a recorded episode as rewards see it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from agent import doom_codec as codec
from tasks.task import Task, VerifierSpec
from training.data.episode_schema import META
from training.data.episodes import DamagedEpisodeError, Episode


@dataclass(frozen=True)
class RecordedFootage:
    """A recorded episode for `rewards.reward.score_pairs`. All of it raises DamagedEpisodeError where a file is
    missing or changed."""

    episode: Episode

    def decision_frames(self) -> npt.NDArray[np.uint8]:
        """uint8 (T + 1, H, W, 3): one frame before each decision and one after the last.

        While a person plays there are no decisions: every fourth tick counts as one.
        """
        steps = self.episode.steps
        asked, ticks = steps["asked"].to_numpy(), steps["tick"].to_numpy()
        by_hand = ticks[(steps["decision"].to_numpy() < 0) & ~steps["starved"].to_numpy(zero_copy_only=False)]
        at = np.unique(np.concatenate([asked[asked >= 0], by_hand[by_hand % codec.CHUNK == 0]])).astype(int)
        drawn = np.maximum.accumulate(steps["frame"].to_numpy())  # an undrawn tick shows the last drawn one
        frames = self.episode.frames()
        return np.concatenate([frames[drawn[at]], frames[-1:]])

    @property
    def success(self) -> bool | None:
        """The verifier's verdict; None if there is none."""
        return self.episode.success

    @property
    def why(self) -> str:
        """The verifier's reason."""
        return str(self.episode.outcome.get("why", ""))


def task_of(episode: Episode) -> Task:
    """The task that was played. An episode that was recorded without one gets a task with its instruction alone."""
    meta: dict[str, Any] | None = episode.task
    if meta is None:
        return Task(episode.path.name, episode.instruction, "", time_limit=episode.meta["ticks"])
    spec = meta.get("verifier")
    unknown = meta.keys() - {field.name for field in fields(Task)}
    if unknown:
        raise DamagedEpisodeError(episode.path / META, f"task: unknown {sorted(unknown)[0]!r}")
    return Task(**{**meta, "verifier": None if spec is None else VerifierSpec(**spec)})

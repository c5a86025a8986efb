"""`calibrated:FOLDER`: a reward with the threshold that was fitted to it, and how wrong it was on other episodes.

`agent rewards calibrate` writes the folder. What trains on a reward asks `trusted` first.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.errors import UserError
from rewards.calibration import Calibration
from rewards.reward import Frames, Reward, VerifiedFootage, load_reward, score_pairs
from rewards.score import Failure, Score
from rewards.wrapper import FrameReward
from tasks.task import Task

MEASURED = "reward.json"  # in the folder
LIMIT = 0.05  # share of failures that a reward may call a success


@dataclass(frozen=True)
class Measured:
    """How wrong a reward is. `reward`: its name. `calibration`: fitted to some episodes. `false_positive` and
    `false_negative`: shares at the threshold on other episodes, as JSON with "rate", "ci", "count" and "n". `limit`: of
    the share of false positives. `worlds`: of those episodes."""

    reward: str
    calibration: Calibration
    false_positive: dict[str, Any]
    false_negative: dict[str, Any]
    limit: float = LIMIT
    worlds: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether the share of false positives stays within the limit."""
        rate = self.false_positive["rate"]
        return rate is not None and rate <= self.limit

    def to_json(self) -> dict[str, Any]:
        calibration = self.calibration
        return {
            "reward": self.reward, "threshold": calibration.threshold, "values": calibration.values,
            "chances": calibration.chances, "false_positive": self.false_positive,
            "false_negative": self.false_negative, "limit": self.limit, "worlds": self.worlds,
        }  # fmt: skip

    @classmethod
    def load(cls, folder: Path) -> Measured:
        """What `agent rewards calibrate` wrote. Raises UserError."""
        path = folder / MEASURED
        try:
            data = json.loads(path.read_text())
            calibration = Calibration(float(data["threshold"]), tuple(data["values"]), tuple(data["chances"]))
            shares = data["false_positive"], data["false_negative"]
            return cls(str(data["reward"]), calibration, *shares, float(data["limit"]), tuple(data.get("worlds", ())))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path}: no calibration of a reward ({error}); make one with: agent rewards calibrate --reward REWARD "
                "--episodes DIR --out FOLDER"
            ) from error


class Calibrated:
    """A reward whose values mean chances. The score is the chance of success times 100, by the fitted curve; success is
    a value of at least the fitted threshold."""

    def __init__(self, part: Reward, measured: Measured) -> None:
        self.name, self.sees_truth = f"calibrated:{part.name}", part.sees_truth
        self.part, self.measured = part, measured

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Score | Failure]:
        return [self._calibrated(result) for result in score_pairs(self.part, pairs)]

    def _calibrated(self, result: Score | Failure) -> Score | Failure:
        if isinstance(result, Failure):
            return result
        calibration = self.measured.calibration
        chance = float(calibration.chance(result.value))
        success = result.value >= calibration.threshold
        return replace(result, value=100.0 * chance, success=success, by=self.name)


class CalibratedFrames(Calibrated):
    """A calibrated FrameReward: the fitted threshold is also that of the chance of a single frame."""

    part: FrameReward

    @property
    def threshold(self) -> float:
        return self.measured.calibration.threshold / 100.0

    def goal(self, world: str, instruction: str, picture: str = "") -> Any:
        return self.part.goal(world, instruction, picture)

    def chances(self, goals: Sequence[Any], frames: Frames) -> npt.NDArray[np.float32]:
        return self.part.chances(goals, frames)


def calibrated(part: Reward, measured: Measured) -> Calibrated:
    """A reward with its calibration; one that scores frames goes on doing so."""
    return (CalibratedFrames if isinstance(part, FrameReward) else Calibrated)(part, measured)


def load_calibrated(spec: str) -> Calibrated:
    """`FOLDER`, or `REWARD@FOLDER`: the reward that was calibrated into a folder.

    The folder's file may only name a registered reward. One with an argument, or of a module, is named by the user, who
    then names the one that was calibrated. Raises UserError.
    """
    reward, at, folder = spec.rpartition("@")
    if at and not Path(folder).expanduser().is_dir():
        reward, folder = "", spec  # the @ is a part of the folder's name
    measured = Measured.load(Path(folder).expanduser())
    if not reward and ":" in measured.reward:
        raise UserError(
            f"{folder}: it was made for the reward {measured.reward!r}; name it yourself: "
            f"--reward calibrated:{measured.reward}@{folder}"
        )
    if reward and reward != measured.reward:
        raise UserError(f"{folder}: it was made for the reward {measured.reward!r}, not for {reward!r}")
    return calibrated(load_reward(measured.reward), measured)


def check_trusted(reward: Reward, *, world: str = "", anyway: bool = False) -> None:
    """Refuse to learn from a reward that is known to be wrong too often, or of which nothing is known.

    `world`: where something is learned. `anyway`: learn from it all the same. Raises UserError, with the command that
    measures or allows it.
    """
    if anyway or reward.sees_truth:
        return
    measured = reward.measured if isinstance(reward, Calibrated) else None
    if measured is None:
        raise UserError(
            f"reward {reward.name!r}: nobody measured how wrong it is; measure it with agent rewards calibrate and "
            "take --reward calibrated:FOLDER, or learn from it all the same with --trust-reward"
        )
    if world and measured.worlds and world not in measured.worlds:
        raise UserError(
            f"reward {reward.name!r} was measured in {', '.join(measured.worlds)} alone, not in {world}; measure it "
            "there with agent rewards calibrate, or learn from it all the same with --trust-reward"
        )
    if not measured.trusted:
        rate = measured.false_positive["rate"]
        said = "an unknown share" if rate is None else f"{100 * rate:.1f} %"
        raise UserError(
            f"reward {reward.name!r} calls {said} of failures a success, more than {100 * measured.limit:g} %; learn "
            "from it all the same with --trust-reward"
        )

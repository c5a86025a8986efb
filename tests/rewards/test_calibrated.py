"""`calibrated`: a reward with its fitted threshold scores episodes, and single frames where the reward does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from envs.errors import UserError
from rewards.calibrated import Measured, calibrated, check_trusted, load_calibrated
from rewards.calibration import Calibration
from rewards.reward import Frames, VerifiedFootage
from rewards.score import Failure, Score
from rewards.wrapper import FrameReward
from tasks.task import Task

SHARE = {"rate": 0.02, "ci": [0.0, 0.05], "count": 2, "n": 100}
MEASURED = Measured("bright", Calibration(80.0, (0.0, 100.0), (0.1, 0.9)), SHARE, SHARE)


class Episodes:
    """Scores an episode by the brightness of its last frame."""

    name = "bright"
    sees_truth = False

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        return [Score(float(one.decision_frames()[-1].mean()), True, "bright", self.name) for one in episodes]


class Bright(Episodes):
    """The same of single frames."""

    threshold = 0.5

    def goal(self, world: str, instruction: str, picture: str = "") -> Any:
        return instruction or None

    def chances(self, goals: Sequence[Any], frames: Frames) -> npt.NDArray[np.float32]:
        return (frames.mean((1, 2, 3)) / 100.0).astype(np.float32)


class Film:
    success: bool | None = None
    why = ""

    def decision_frames(self) -> Frames:
        return np.full((2, 4, 4, 3), 70, np.uint8)


def test_a_calibrated_reward_goes_on_scoring_frames() -> None:
    reward = calibrated(Bright(), MEASURED)
    assert isinstance(reward, FrameReward)
    assert reward.threshold == 0.8
    assert reward.goal("doom", "look up") == "look up"
    assert reward.goal("doom", "") is None
    assert reward.chances(["look up"], Film().decision_frames()[:1])[0] == pytest.approx(0.7)
    (score,) = reward.score(Task("t", "look up", "doom"), [Film()])
    assert isinstance(score, Score)
    assert not score.success, "70 is under the fitted threshold, whatever the reward itself says"
    assert score.value == pytest.approx(66.0)
    assert not isinstance(calibrated(Episodes(), MEASURED), FrameReward)


def test_only_a_measured_reward_is_trusted(tmp_path: Path) -> None:
    check_trusted(calibrated(Bright(), MEASURED))
    with pytest.raises(UserError, match="nobody measured how wrong it is"):
        check_trusted(Bright())
    known = replace(MEASURED, worlds=("doom",))
    check_trusted(calibrated(Bright(), known), world="doom")
    with pytest.raises(UserError, match="measured in doom alone, not in playroom"):
        check_trusted(calibrated(Bright(), known), world="playroom")
    (tmp_path / "reward.json").write_text(json.dumps(known.to_json()))
    assert Measured.load(tmp_path) == known
    (tmp_path / "reward.json").unlink()
    with pytest.raises(UserError, match="no calibration of a reward"):
        load_calibrated(str(tmp_path))

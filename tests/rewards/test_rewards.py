"""Rewards: who sees what, scores that are scores only where something could be scored, and scores on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from agent.policy import PolicySpec
from agent.view import View
from envs.errors import UserError
from rewards.calibration import Calibration
from rewards.judge import UNCALIBRATED, Judge, load_judge
from rewards.reward import VerifiedFootage, load_reward, score_pairs
from rewards.score import Failure, Score
from rewards.score_file import SCORES, load_scores, save_scores
from rewards.truth import Truth
from tasks.task import Task, VerifierSpec

Frames = npt.NDArray[np.uint8]
TASK = Task("t", "go to the imp", "doom", options={"level": {}}, verifier=VerifierSpec("go_to"), answer="yes")
OTHER = Task("u", "face the imp", "doom")


LOOKED = (0, 0, 0, 0, 0, 0, 1, 2), (120, 160)  # what a judge sees of an episode of two decisions


@dataclass(frozen=True)
class Clip:
    """An episode of frames of one grey; none of a `broken` one can be read."""

    grey: int = 0
    success: bool | None = None
    why: str = "it is so"
    size: tuple[int, int] = (120, 160)
    broken: bool = False

    def decision_frames(self) -> Frames:
        if self.broken:
            raise OSError("no such file")
        return np.full((3, *self.size, 3), self.grey, np.uint8)


class Eyes:
    """Judges by the grey of the frames and writes down what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], tuple[int, ...]]] = []

    def judge(self, instructions: list[str], frames: Frames) -> list[tuple[float, str]]:
        self.asked.append((instructions, frames.shape))
        return [(float(clip.mean()), text) for text, clip in zip(instructions, frames, strict=True)]


class Watch(Eyes):
    """Tells progress too: half of the way, or what it was made with."""

    def __init__(self, far: float = 0.5) -> None:
        super().__init__()
        self._far = far

    def judge_progress(self, instructions: list[str], frames: Frames) -> list[tuple[float, str, float]]:
        return [(*said, self._far) for said in self.judge(instructions, frames)]


class Spy:
    """A reward that looks for ground truth and says what it finds."""

    name = "spy"

    def __init__(self, sees_truth: bool) -> None:
        self.sees_truth = sees_truth

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        found = [f"{task.verifier and task.verifier.name} {task.options} {task.answer} {e.success} {e.why}"
                 for e in episodes]  # fmt: skip
        return [Score(float(e.decision_frames()[0, 0, 0, 0]), True, why, self.name)
                for e, why in zip(episodes, found, strict=True)]  # fmt: skip


def test_only_a_reward_that_says_so_sees_ground_truth() -> None:
    pairs = [(TASK, Clip(7, True)), (TASK, Clip(8, False))]
    assert score_pairs(Spy(True), pairs) == [
        Score(7.0, True, "go_to {'level': {}} yes True it is so", "spy"),
        Score(8.0, True, "go_to {'level': {}} yes False it is so", "spy"),
    ]
    assert score_pairs(Spy(False), pairs) == [
        Score(7.0, True, "None {}  None ", "spy"),
        Score(8.0, True, "None {}  None ", "spy"),
    ]


def test_a_reward_that_answers_for_fewer_episodes_is_refused() -> None:
    class Short(Spy):
        def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
            return super().score(task, episodes)[1:]

    with pytest.raises(ValueError, match="each of 2"):
        score_pairs(Short(False), [(TASK, Clip()), (OTHER, Clip())])


def test_truth_is_the_verdict_and_a_failure_where_there_is_none() -> None:
    pairs = [
        (TASK, Clip(success=True)),
        (TASK, Clip(success=False)),
        (TASK, Clip()),
        (OTHER, Clip()),
        (OTHER, Clip(success=True)),
    ]
    yes, no, interrupted, unverified, audited = score_pairs(Truth(), pairs)
    assert yes == Score(100.0, True, "it is so", "truth")
    assert no == Score(0.0, False, "it is so", "truth")
    assert isinstance(interrupted, Failure)
    assert "interrupted" in interrupted.why
    assert unverified == Failure("the task has no verifier")
    assert audited == yes, "a goal that was set in a level brings no verifier, and may have been watched"


def test_the_judge_scores_episodes_of_different_tasks_in_one_pass() -> None:
    eyes = Eyes()
    judge = Judge(eyes, Calibration(50.0, (0.0, 100.0), (0.2, 0.8)), batch=3)
    pairs = [(TASK, Clip(100)), (OTHER, Clip(broken=True)), (OTHER, Clip(0)), (TASK, Clip(50))]
    good, broken, bad, even = score_pairs(judge, pairs)
    assert good == Score(80.0, True, "go to the imp", "judge", *LOOKED)
    assert broken == Failure("its frames can't be read: no such file")
    assert bad == Score(20.0, False, "face the imp", "judge", *LOOKED)
    assert even == Score(50.0, True, "go to the imp", "judge", *LOOKED)
    assert eyes.asked == [
        (["go to the imp", "face the imp"], (2, 8, 120, 160, 3)),
        (["go to the imp"], (1, 8, 120, 160, 3)),
    ]
    assert judge.score(TASK, [Clip(broken=True)]) == [broken]
    assert judge.score(TASK, []) == []


def test_frames_come_at_the_size_that_the_policy_wants() -> None:
    class Small(Eyes):
        spec = PolicySpec(View.stretched((24, 32)))

    eyes = Small()
    Judge(eyes, UNCALIBRATED).score(TASK, [Clip(size=(240, 320)), Clip(size=(24, 32))])
    assert eyes.asked == [([TASK.instruction] * 2, (2, 8, 24, 32, 3))]


@pytest.mark.parametrize("value", [float("nan"), -3.0, 101.0])
def test_a_judge_that_fails_gives_no_score(value: float) -> None:
    class Broken:
        def judge(self, instructions: list[str], frames: Frames) -> list[tuple[float, str]]:
            if value == value:
                return [(value, "so I say")] * len(instructions)
            raise RuntimeError("out of memory")

    results = Judge(Broken(), UNCALIBRATED).score(TASK, [Clip(), Clip()])
    assert [type(result) for result in results] == [Failure, Failure]
    assert all(isinstance(r, Failure) and ("out of memory" in r.why) == (value != value) for r in results)
    with pytest.raises(ValueError, match="0 to 100"):
        Score(value, False, "", "")


def test_the_judge_that_ships_brings_its_calibration() -> None:
    judge = load_reward("judge")
    assert isinstance(judge, Judge)
    assert judge.name == "judge"
    assert judge.calibration != UNCALIBRATED
    (score,) = judge.score(TASK, [Clip(60)])
    assert isinstance(score, Score)
    assert not score.success  # a grey wall is no imp


def test_wrong_names_are_told(tmp_path: Path) -> None:
    here = "tests.rewards.test_rewards"
    assert load_judge(f"{here}:Eyes").calibration == UNCALIBRATED
    assert load_reward(f"judge:{here}:Eyes").name == f"judge:{here}:Eyes"
    with pytest.raises(UserError, match="did you mean 'truth'"):
        load_reward("thruth")
    with pytest.raises(UserError, match="no Reward"):
        load_reward(f"{here}:Eyes")
    with pytest.raises(UserError, match="judge\\(instructions, frames\\)"):
        load_judge("random")
    with pytest.raises(UserError):
        load_judge(str(tmp_path / "nowhere"))


def test_scores_are_kept_beside_the_episodes_and_replaced_by_episode_and_reward(tmp_path: Path) -> None:
    first: dict[str, Score | Failure] = {
        "a": Score(10.0, False, "no", "judge", (0, 4), (120, 160)),
        "sub/b": Failure("broken"),
    }
    assert save_scores(tmp_path, "judge", first) == tmp_path / SCORES
    save_scores(tmp_path, "truth", {"a": Score(100.0, True, "yes", "truth")})
    save_scores(tmp_path, "judge", {"a": Score(20.0, False, "still no", "judge", (0, 3), (24, 32))})
    again = Score(20.0, False, "still no", "judge", (0, 3), (24, 32))
    assert load_scores(tmp_path, "judge") == {"a": again, "sub/b": Failure("broken")}
    assert load_scores(tmp_path, "truth") == {"a": Score(100.0, True, "yes", "truth")}
    assert len((tmp_path / SCORES).read_text().splitlines()) == 3
    assert [path.name for path in tmp_path.iterdir()] == [SCORES]
    assert load_scores(tmp_path / "elsewhere", "judge") == {}
    (tmp_path / SCORES).write_text('{"episode": "a", "reward": "judge", "value": 400}\n')
    with pytest.raises(ValueError, match="no score"):
        load_scores(tmp_path, "judge")
    (tmp_path / SCORES).write_text('{"episode": "a"}\n{"epis')
    with pytest.raises(UserError, match="line 2"):
        save_scores(tmp_path, "judge", {})


def test_the_judge_has_thresholds_of_verbs() -> None:
    judge = Judge(Eyes(), Calibration(40.0, (0.0, 100.0), (0.0, 1.0), {"face": 60.0}))
    near, face = score_pairs(judge, [(TASK, Clip(50)), (OTHER, Clip(50))])
    assert isinstance(near, Score)
    assert isinstance(face, Score)
    assert (near.success, face.success) == (True, False)
    assert near.value == face.value


def test_the_judge_tells_progress_where_that_was_found_to_be_worth_something(tmp_path: Path) -> None:
    for progress, told in ((None, None), (0.3, None), (0.7, 0.5)):
        judge = Judge(Watch(), replace(UNCALIBRATED, progress=progress))
        (score,) = judge.score(TASK, [Clip(80)])
        assert isinstance(score, Score)
        assert score.progress == told
    (wrong,) = Judge(Watch(7.0), replace(UNCALIBRATED, progress=0.9)).score(TASK, [Clip(80)])
    assert isinstance(wrong, Failure)
    assert "progress" in wrong.why
    save_scores(tmp_path, "judge", {"a": score})
    assert load_scores(tmp_path, "judge") == {"a": score}
    with pytest.raises(ValueError, match="progress from 0 to 1"):
        replace(score, progress=1.5)

"""Rewards made of rewards: agreement, mixture, progress, and the correction of known errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from envs.errors import UserError
from rewards.combine import (
    Agree,
    Corrected,
    Mixture,
    Noisy,
    Shaped,
    Sure,
    Twice,
    load_agree,
    load_corrected,
    load_mixture,
)
from rewards.reward import Frames, VerifiedFootage, load_reward
from rewards.score import Failure, Score
from rewards.wrapper import EveryFrame, FrameReward
from tasks.task import Task

TASK = Task("t", "go to the imp", "doom")


class Film:
    """An episode whose frames have these greys."""

    success: bool | None = True
    why = "truth"

    def __init__(self, *greys: int) -> None:
        self._greys = greys

    def decision_frames(self) -> Frames:
        return np.stack([np.full((4, 4, 3), grey, np.uint8) for grey in self._greys])


class Grey:
    """Scores an episode by the grey of its last frame, success from `least` on; `None` gives no score."""

    sees_truth = False

    def __init__(self, name: str = "grey", least: float | None = 50.0) -> None:
        self.name, self._least = name, least

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        results: list[Score | Failure] = []
        for episode in episodes:
            assert episode.success is None, "a blind reward sees no verdict"
            grey = float(episode.decision_frames()[-1, 0, 0, 0])
            no_score = Failure(f"{self.name} is out")
            results.append(no_score if self._least is None else Score(grey, grey >= self._least, "why", self.name))
        return results


def test_agree_scores_only_what_all_see_alike() -> None:
    reward = Agree("agree", [Grey("low", 40.0), Grey("high", 80.0)])
    yes, split, no = reward.score(TASK, [Film(90), Film(60), Film(10)])
    assert isinstance(yes, Score)
    assert (yes.value, yes.success, yes.by) == (90.0, True, "agree")
    assert isinstance(split, Failure)
    assert "low says True" in split.why
    assert "high says False" in split.why
    assert isinstance(no, Score)
    assert not no.success
    (missing,) = Agree("agree", [Grey(), Grey("broken", None)]).score(TASK, [Film(90)])
    assert missing == Failure("broken is out")


def test_in_a_mixture_a_missing_score_is_not_0() -> None:
    reward = Mixture("m", [Grey("a", 50.0), Grey("b", None)], [0.2, 0.8])
    (alone,) = reward.score(TASK, [Film(70)])
    assert isinstance(alone, Score)
    assert (alone.value, alone.success) == (70.0, True)
    reward = Mixture("m", [Grey("a", 50.0), Grey("b", 90.0)], [0.3, 0.7])
    (both,) = reward.score(TASK, [Film(70)])
    assert isinstance(both, Score)
    assert not both.success, "the one that weighs more says no"
    (none,) = Mixture("m", [Grey("b", None)], [1.0]).score(TASK, [Film(70)])
    assert none == Failure("b is out")


def test_shaped_earns_nothing_for_what_was_so_before() -> None:
    reward = Shaped(Grey())
    came, was = reward.score(TASK, [Film(*[10] * 10, 90), Film(*[90] * 11)])
    assert isinstance(came, Score)
    assert isinstance(was, Score)
    assert (came.value, came.success) == (80.0, True)
    assert (was.value, was.success) == (0.0, False)


class Brighter(Grey):
    """Tells how far an episode came beside its value."""

    def score(self, task: Task, episodes: Any) -> list[Score | Failure]:
        scores = super().score(task, episodes)
        return [replace(s, value=50.0, progress=s.value / 200.0) if isinstance(s, Score) else s for s in scores]


def test_shaped_takes_the_progress_that_is_told() -> None:
    came = Shaped(Brighter()).score(TASK, [Film(*[10] * 10, 90)])[0]
    assert isinstance(came, Score)
    assert came.value == pytest.approx(40.0)


def test_a_noisy_reward_is_wrong_as_often_as_it_is_said_to_be() -> None:
    reward = Noisy(Grey(), 0.1, 0.3)
    episodes = [Film(first, last) for first in range(250) for last in (20, 90)]
    results = reward.score(TASK, episodes)
    assert results == reward.score(TASK, episodes), "the same frames get the same answer"
    called = np.array([isinstance(result, Score) and result.success for result in results])
    assert called[0::2].mean() == pytest.approx(0.1, abs=0.06)
    assert called[1::2].mean() == pytest.approx(0.7, abs=0.09)
    assert isinstance(Noisy(Grey("broken", None), 1.0, 1.0).score(TASK, [Film(1)])[0], Failure)
    assert load_reward("noisy:0.1,0.2:truth").sees_truth
    with pytest.raises(ValueError, match="from 0 to 1"):
        Noisy(Grey(), 1.1, 0.0)


def test_the_corrected_reward_has_the_mean_of_the_true_one() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(200_000) < 0.3
    fp, fn = 0.2, 0.1
    called = np.where(truth, rng.random(len(truth)) >= fn, rng.random(len(truth)) < fp)
    reward = Corrected(Grey(), fp, fn)
    mean = float(np.mean([reward.reward(bool(one)) for one in called]))
    assert mean == pytest.approx(0.3, abs=0.01)
    assert abs(called.mean() - 0.3) > 0.1, "the reward itself is far off"
    forward = np.array([Corrected(Grey(), None, fn).reward(bool(one)) for one in called])
    assert forward[truth].mean() == pytest.approx(0.0, abs=0.01)
    assert forward[~truth].mean() == pytest.approx(fp + fn - 1.0, abs=0.01), "whatever fp is"
    for wrong in ((0.6, 0.4), (None, 1.0), (-0.1, 0.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="sum to less than 1"):
            Corrected(Grey(), *wrong)


def test_names_are_read() -> None:
    assert load_reward("corrected:0.05,0.1:truth").name == "corrected:0.05,0.1:truth"
    assert load_corrected("0,0:truth").sees_truth
    assert load_reward("corrected:0.1:truth").name == "corrected:0.1:truth"
    assert [part.name for part in load_mixture("0.7*truth+truth").parts] == ["truth", "truth"]
    assert load_agree("truth+truth").sees_truth
    with pytest.raises(UserError, match="two or more"):
        load_agree("truth")
    with pytest.raises(UserError, match="corrected:FP,FN:REWARD"):
        load_corrected("truth")
    with pytest.raises(UserError, match="no progress"):
        load_reward("shaped:truth")


def test_a_success_has_to_be_said_twice() -> None:
    class Early(Grey):
        """Calls it a success where the frame before the last one is bright: thinned, that is another one."""

        def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
            greys = [float(episode.decision_frames()[-2, 0, 0, 0]) for episode in episodes]
            return [Score(grey, grey >= 50.0, "why", self.name) for grey in greys]

    both, first, never = Twice(Early()).score(TASK, [Film(1, 90, 60, 1), Film(1, 20, 60, 1), Film(1, 90, 20, 1)])
    assert isinstance(both, Score)
    assert (both.value, both.success, both.by) == (75.0, True, "twice:grey")
    assert isinstance(first, Score)
    assert (first.value, first.success) == (40.0, False)
    assert isinstance(never, Score)
    assert (never.value, never.success) == (55.0, False)
    assert load_reward("twice:truth").sees_truth


class Bright:
    """The chance is the brightness of a frame, out of 100."""

    name, sees_truth, threshold = "bright", False, 0.8

    def goal(self, world: str, instruction: str, picture: str = "") -> Any:
        return instruction if instruction == TASK.instruction else None

    def chances(self, goals: Sequence[Any], frames: Frames) -> npt.NDArray[np.float32]:
        assert len(goals) == len(frames)
        return (frames.mean((1, 2, 3)) / 100.0).astype(np.float32)

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        raise AssertionError("single frames are asked for")


def test_an_episode_is_as_good_as_its_best_frame_after_a_decision() -> None:
    reward = EveryFrame(Bright())
    assert isinstance(reward, FrameReward)
    late, early, begun, single = reward.score(TASK, [Film(5, 90, 20), Film(5, 70, 75), Film(90, 5, 6), Film(90)])
    assert isinstance(late, Score)
    assert (late.value, late.success, late.saw) == (pytest.approx(90.0, abs=0.1), True, (1,))
    assert isinstance(early, Score)
    assert (early.success, early.saw) == (False, (2,))
    assert isinstance(begun, Score)
    assert not begun.success, "what was so before anything was done is no success"
    assert isinstance(single, Score)
    assert single.success
    assert isinstance(reward.score(replace(TASK, instruction="sing"), [Film(1)])[0], Failure)
    with pytest.raises(UserError, match="no single frames"):
        load_reward("frames:truth")
    assert load_reward("frames:clip").name == "frames:calibrated:clip"


def test_who_cannot_tell_gives_no_score() -> None:
    reward = Sure("sure", [Grey(least=80.0)])
    yes, doubted, half, no = reward.score(TASK, [Film(90), Film(60), Film(50), Film(10)])
    assert isinstance(yes, Score)
    assert (yes.value, yes.success, yes.by) == (90.0, True, "sure")
    assert doubted == Failure("grey can't tell: 60 of 100")
    assert isinstance(half, Score)
    assert isinstance(no, Score)
    assert not no.success
    (below,) = Sure("sure", [Grey(least=20.0)]).score(TASK, [Film(30)])
    assert below == Failure("grey can't tell: 30 of 100"), "called a success, though none is likelier"
    (out,) = Sure("sure", [Grey(least=None)]).score(TASK, [Film(1)])
    assert out == Failure("grey is out")
    assert load_reward("sure:truth").sees_truth

"""Doubt: how far the successes that a reward sees are believed, without ground truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agent.episode import Outcome, Start, Step
from agent.policy import Decision
from envs.action import Action
from envs.errors import UserError
from rewards.reward import VerifiedFootage
from rewards.score import Failure, Score
from tasks.curriculum import Curriculum
from tasks.task import Task
from training.data.episodes import Recorder
from training.improve import build
from training.improve.ask import ANSWERS, Question, answers_in, ask_person, choose
from training.improve.collect import Try
from training.improve.doubt import Evidence, believe
from training.improve.scoring import Judgement, Judges, by_truth, controls, judge_all


def record(folder: Path, brightness: list[int], size: int = 4) -> Path:
    """An episode of one-tick decisions whose frames are of these brightnesses; the last one is the final view."""
    recorder = Recorder(folder, durable=False)
    recorder.on_start(Start("light up", 0, {}, 35.0, (size, size), "policy"))
    frames = [np.full((size, size, 3), value, np.uint8) for value in brightness]
    for tick, frame in enumerate(frames[:-1]):
        decision = Decision((Action(),))
        recorder.on_step(Step(tick, frame, Action(), 0.0, "light up", "policy", False, decision, tick, tick, {}))
    recorder.on_end(Outcome(None, "", len(frames) - 1, 1.0, "lockstep", len(frames) - 1, 1.0, 0, 0, 0, 0, 0, 0),
                    frames[-1])  # fmt: skip
    return folder


class Lights:
    """Calls it a success where the last frame is bright, and so are at least `least` of all."""

    name, sees_truth = "lights", False

    def __init__(self, least: int = 1) -> None:
        self._least = least

    def score(self, task: Task, episodes: list[VerifiedFootage]) -> list[Score | Failure]:
        frames = [episode.decision_frames()[:, 0, 0, 0] for episode in episodes]
        done = [bool(one[-1] > 100 and (one > 100).sum() >= self._least) for one in frames]
        return [Score(100.0 * one, one, "", self.name) for one in done]


# What is believed


def test_a_verb_whose_claims_are_as_frequent_as_those_of_controls_is_not_believed() -> None:
    honest = believe(Evidence(tried=40, claimed=12, controls=80, false_claims=2))
    fooled = believe(Evidence(tried=40, claimed=12, controls=80, false_claims=24))
    assert honest.trust > 0.7
    assert fooled.trust < 0.3
    assert honest.low < honest.precision < honest.high
    assert honest.false_positive < 0.1 < fooled.false_positive


def test_the_intervals_hold_the_true_precision() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(40):
        pi, fp, fn, n = rng.uniform(0.1, 0.8), rng.uniform(0.02, 0.4), rng.uniform(0.1, 0.5), 60
        done = rng.random(n) < pi
        claimed = np.where(done, rng.random(n) > fn, rng.random(n) < fp)
        belief = believe(Evidence(n, int(claimed.sum()), n, int((rng.random(n) < fp).sum())))
        held.append(belief.low <= pi * (1 - fn) / (pi * (1 - fn) + (1 - pi) * fp) <= belief.high)
    assert np.mean(held) >= 0.85


def test_answers_tell_what_controls_do_not() -> None:
    evidence = Evidence(tried=20, claimed=8, controls=40, false_claims=2)
    assert believe(evidence).trust > 0.6
    assert believe(evidence + Evidence(no=5)).trust < 0.4
    doubted = Evidence(tried=20, claimed=8, controls=40, false_claims=14)
    assert believe(doubted).trust < 0.5 < believe(doubted + Evidence(yes=6)).trust


# Two views and controls


def test_a_success_counts_where_both_views_say_so(tmp_path: Path) -> None:
    task = Task("t", "light up", "my_game")
    flash = record(tmp_path / "flash", [0, 0, 0, 0, 200, 200])
    steady = record(tmp_path / "steady", [0, 0, 200, 200, 200, 200])
    dark = record(tmp_path / "dark", [0, 0, 0, 0])
    asked = [(task, folder, False) for folder in (flash, steady, dark)]
    said = judge_all(Judges("my_game", Lights(2)), asked)  # every second frame of the flash shows one bright one
    assert [(one.success, one.again, one.claimed) for one in said] == [
        (True, False, False), (True, True, True), (False, None, False),
    ]  # fmt: skip
    other = judge_all(Judges("my_game", Lights(2), second=Lights(1)), asked)
    assert [one.claimed for one in other] == [True, True, False]
    once = judge_all(Judges("my_game", Lights(2), twice=False), asked)
    assert [one.claimed for one in once] == [True, True, False]
    (backwards,) = judge_all(Judges("my_game", Lights(1)), [(task, steady, True)])
    assert backwards.claimed is False


class Broken:
    name, sees_truth = "broken", False

    def score(self, task: Task, episodes: list[VerifiedFootage]) -> list[Score | Failure]:
        return [Failure("no answer")] * len(episodes)


def test_a_reward_that_fails_says_nothing(tmp_path: Path) -> None:
    asked = [(Task("t", "light up", "my_game"), record(tmp_path / "steady", [0, 200, 200]), False)]
    (said,) = judge_all(Judges("my_game", Broken()), asked)
    assert said.claimed is None
    (said,) = judge_all(Judges("my_game", Lights(), second=Broken()), asked)
    assert (said.success, said.again, said.claimed) == (True, None, True)


def one_try(number: int, instruction: str, level: str = "a") -> Try:
    return Try(f"{level}-{number}", instruction, f"{level}-{number}", 10, False, False, 0, level)


def test_controls_are_of_the_same_level_and_another_goal() -> None:
    tries = [one_try(0, "open the door"), one_try(1, "go to the imp"), one_try(2, "Open the door!"),
             one_try(0, "go to the torch", "b"), one_try(1, "press the switch", "b")]  # fmt: skip
    held = controls("doom", tries, {"open", "press"}, 24, seed=0)
    found = {(one.instruction, one.episode, one.kind) for one in held}
    assert found == {
        ("open the door", "a-0", "backwards"), ("open the door", "a-1", "another try"),
        ("Open the door!", "a-2", "backwards"), ("Open the door!", "a-1", "another try"),
        ("press the switch", "b-1", "backwards"), ("press the switch", "b-0", "another try"),
    }  # fmt: skip
    assert len(controls("doom", tries, {"open", "press"}, 1, seed=0)) == 4


def test_ground_truth_in_place_of_a_reward_is_what_the_audit_says() -> None:
    tries = [one_try(0, "open the door"), one_try(1, "go to the imp"), one_try(2, "sing")]
    said = by_truth("doom", tries, {"a-0": True, "a-1": False, "a-2": None})
    assert [(one.claimed, one.verb) for one in said] == [(True, "open"), (False, "go_to"), (None, "sing")]


# What is learned from


def test_a_verb_whose_claims_are_mostly_false_teaches_nothing() -> None:
    tries = [one_try(i, "open the door") for i in range(20)] + [one_try(i, "press the switch", "b") for i in range(20)]
    judgements = {
        one.id: Judgement(True, 90.0, "", verb) if i % 20 < 8 else Judgement(False, 10.0, "", verb)
        for i, one in enumerate(tries)
        for verb in ["open" if i < 20 else "press"]
    }
    rows = [{"verb": "open", "claimed": i < 1} for i in range(40)]
    rows += [{"verb": "press", "claimed": i < 16} for i in range(40)]
    answers = {"a-0": False, "b-0": True}
    evidence = build.evidence_of(judgements, rows, answers)
    assert evidence["open"] == Evidence(20, 8, 40, 1, 0, 1)
    trust = build.Trust(build.beliefs_of(evidence), least=0.5)
    archive = Curriculum("doom", build.tried(tries, judgements, answers, 1))
    worth = {id_: build.worth(one, answers.get(id_), trust) for id_, one in judgements.items()}
    learned = {id_ for id_, value in worth.items() if value}
    assert learned == {"b-0", *(f"a-{i}" for i in range(1, 8))}  # what a person says goes before the doubt
    assert worth["b-0"] == 1.0
    assert 0.5 < worth["a-1"] < 1.0
    outcomes = {one.id: one.success for one in archive.tried}
    assert (outcomes["a-0"], outcomes["a-1"], outcomes["a-9"]) == (False, True, False)
    assert (outcomes["b-0"], outcomes["b-1"], outcomes["b-9"]) == (True, True, False)
    blind = build.Trust(None, 0.5)
    assert sum(build.worth(one, None, blind) for one in judgements.values()) == 16.0


# A person's answers


def test_questions_are_of_every_verb_in_turn() -> None:
    claims = {"open": [f"o{i}" for i in range(9)], "press": ["p0"], "face": []}
    chosen = choose(claims, 4, seed=3)
    assert sorted(one[0] for one in chosen) == ["o", "o", "o", "p"]
    assert len(set(chosen)) == 4
    assert chosen == choose(claims, 4, seed=3)
    assert len(choose(claims, 99, seed=3)) == 10


def test_answers_are_kept_and_no_question_comes_twice(tmp_path: Path) -> None:
    ids = ["a", "b", "c"]
    episodes = {one: record(tmp_path / "episodes" / one, [0, 50, 200]) for one in ids}
    instructions = dict.fromkeys(ids, "light up")
    asked: list[Question] = []

    def answer(question: Question, number: int, of: int) -> bool | None:
        if question.id == "c" and len(asked) < 3:
            raise EOFError
        asked.append(question)
        return {"a": True, "b": None, "c": False}[question.id]

    ask_person(tmp_path, ids, instructions, episodes, answer)
    assert answers_in(tmp_path) == {"a": True}
    ask_person(tmp_path, ids, instructions, episodes, answer)
    ask_person(tmp_path, ids, instructions, episodes, answer)
    assert [one.id for one in asked] == ["a", "b", "b", "c", "b"]
    assert answers_in(tmp_path) == {"a": True, "c": False}
    assert asked[0].picture.read_bytes().startswith(b"\x89PNG")
    (tmp_path / ANSWERS).write_text(json.dumps({"id": "a", "done": "yes"}))
    with pytest.raises(UserError, match="line 1"):
        answers_in(tmp_path)

"""Experience told anew: failed tries as what they did achieve, and steps as one episode of the whole goal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent import doom_codec as codec
from agent.episode import Outcome, Start, Step
from agent.policy import Context, Decision, PolicySpec
from envs.action import Action
from tasks.curriculum import Curriculum
from tasks.task import Task
from training.data.episode_weights import WEIGHTS
from training.data.episodes import Recorder, read_episode
from training.data.examples import Examples
from training.improve import hindsight
from training.improve.audit import audit_hindsight
from training.improve.build import Trust, beliefs_of
from training.improve.collect import Try
from training.improve.compose import compose, shares
from training.improve.doubt import Evidence
from training.improve.experience import write_experience
from training.improve.hindsight import Other
from training.improve.retell import Part, retell, rethink, thoughts_of
from training.improve.scoring import Judgement
from training.small.imitation import text_of

FORWARD = Action(frozenset({"KeyW"}))


def one_try(number: int, instruction: str, level: str = "a", *others: str, done: bool = True) -> Try:
    return Try(f"{level}-{number}", instruction, f"{level}-{number}", 12, done, False, 0, level, others)


def record(root: Path, one: Try, first: int, size: int = 8) -> None:
    """An episode of two decisions of four ticks, and one that says that it is done. Frames are of rising brightness."""
    recorder = Recorder(root / one.episode, policy="small", durable=False)
    recorder.on_start(Start(one.instruction, 3, {}, 35.0, (size, size), "agent"))

    def frame(number: int) -> np.ndarray:
        return np.full((size, size, 3), first + number, np.uint8)

    thoughts = [("look 0", f"ok {one.instruction}"), ("(40, 12)", ""), *([("done", "done")] if one.said_done else [])]
    for number, (thought, speech) in enumerate(thoughts):
        acts = (Action() if thought == "done" else FORWARD,) * codec.CHUNK
        decision = Decision(acts, thought, speech, thought == "done", tokens=(7, number))
        for tick in range(codec.CHUNK):
            seen = frame(number) if tick == 0 else None
            at = number * codec.CHUNK
            recorder.on_step(Step(at + tick, seen, acts[tick], 0.0, one.instruction, "agent", False, decision, number,
                                  at, {}, memory="did: much."))  # fmt: skip
    ticks = codec.CHUNK * len(thoughts)
    recorder.on_end(Outcome(None, "", ticks, 1.0, "lockstep", len(thoughts), 1.0, 0, 0, 0, 0, 0, 0,
                            done=one.said_done), frame(len(thoughts)))  # fmt: skip


# Telling


def test_two_steps_are_told_as_one_episode(tmp_path: Path) -> None:
    first, second = one_try(0, "pick up the blue key"), one_try(1, "unlock the blue door")
    record(tmp_path, first, 10)
    record(tmp_path, second, 13)
    episodes = [read_episode(tmp_path / one.episode) for one in (first, second)]
    parts = [Part(episodes[0], ["step 1 a", "step 1 b", "c"], "ok unlock blue door", whole=False),
             Part(episodes[1], ["step 2 look 0", "(40, 12)", "d"])]  # fmt: skip
    retell(parts, tmp_path / "told", Task("told", "unlock the blue door", "doom"))
    told = read_episode(tmp_path / "told")
    rows = told.steps.to_pylist()
    assert len(rows) == 20  # without the four ticks in which the first step was done
    assert {row["instruction"] for row in rows} == {"unlock the blue door"}
    starts = [row for row in rows if row["frame"] >= 0]
    assert [row["tick"] for row in starts] == [0, 4, 8, 12, 16]
    assert [row["thought"] for row in starts] == ["step 1 a", "step 1 b", "step 2 look 0", "(40, 12)", "done"]
    assert [row["speech"] for row in starts] == ["ok unlock blue door", "", "", "", "done"]
    assert [row["tokens"] for row in starts] == [None, None, None, [7, 1], [7, 2]]  # where nothing changed they stay
    assert [int(frame[0, 0, 0]) for frame in told.frames()] == [10, 11, 13, 14, 15, 16]
    assert told.actions() == [FORWARD] * 16 + [Action()] * 4
    assert (told.outcome["done"], told.success, told.meta["decisions"]) == (True, None, 5)
    assert told.task is not None
    assert told.task["instruction"] == told.instruction == "unlock the blue door"
    assert told.meta["told_from"] == ["a-0", "a-1"]
    with pytest.raises(ValueError, match="1 thoughts for 3 decisions"):
        retell([Part(episodes[0], ["a"])], tmp_path / "wrong", Task("wrong", "go", "doom"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-0", "a-1", "told"]  # nothing half is left


def test_a_told_episode_is_learned_as_it_is_told(tmp_path: Path) -> None:
    one = one_try(0, "pick up the red key")
    record(tmp_path / "from", one, 10)
    episode = read_episode(tmp_path / "from" / one.episode)
    told = Part(episode, ["look 3", "(7, 9)", ""], "ok go to imp")
    retell([told], tmp_path / "to" / "told", Task("told", "go to the imp", "doom"))
    examples = Examples([tmp_path / "to"], history=4)
    learned = sorted((examples[i] for i in range(3)), key=lambda example: len(example.context.actions))
    assert {example.context.instruction for example in learned} == {"go to the imp"}
    assert [example.decision.thought for example in learned] == ["look 3", "(7, 9)", "done"]
    assert [example.decision.done for example in learned] == [False, False, True]
    assert learned[1].context.thoughts == ("look 3",)
    texts = [text_of(replace(example, tokens=())) for example in learned]
    assert text_of(learned[0]).tokens == texts[0].tokens  # encoded: what it says is new


class Echo:
    """A policy whose thoughts tell what it was asked with."""

    spec = PolicySpec(history=2)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        self.batches.append(len(contexts))
        return [
            Decision((), f"{one.instruction} {one.frames[-1].max()} {len(one.actions)} {len(one.thoughts)}")
            for one in contexts
        ]


def test_a_failed_try_is_thought_over_under_what_it_did_achieve(tmp_path: Path) -> None:
    tries = [one_try(0, "pick up the red key"), one_try(1, "look up", done=False)]
    for one in tries:
        record(tmp_path, one, 10)
    found = [(read_episode(tmp_path / one.episode), text) for one, text in zip(tries, ("go", "stop"), strict=True)]
    policy = Echo()
    assert rethink(policy, found) == [["go 10 0 0", "go 11 1 1", "go 12 1 1"], ["stop 10 0 0", "stop 11 1 1"]]
    assert policy.batches == [2, 2, 1]
    assert thoughts_of(found[0][0]) == ["look 0", "(40, 12)", "done"]


# What is composed


def test_steps_that_succeeded_in_a_row_compose_the_goal_that_they_lead_to() -> None:
    key, door = one_try(0, "pick up the blue key"), one_try(1, "unlock the blue door")
    enter = one_try(2, "look up")
    (found,) = compose("doom", [key, door, enter], {"a-0": 0.8, "a-1": 0.5, "a-2": 1.0})
    assert (found.instruction, found.steps, found.worth) == ("unlock the blue door", (key, door), pytest.approx(0.4))
    assert compose("doom", [key, door], {"a-0": 0.0, "a-1": 0.5}) == []
    assert compose("doom", [key, door], {"a-0": 0.8, "a-1": 0.0}) == []
    assert compose("doom", [key, replace(door, level="b")], {"a-0": 0.8, "a-1": 0.5}) == []  # not one after the other
    failed = one_try(1, "look up")
    late = replace(door, id="a-2")
    assert compose("doom", [key, failed, late], {"a-0": 0.8, "a-1": 0.0, "a-2": 0.5}) == []
    again = one_try(1, "pick up the blue orb")
    assert compose("doom", [key, again], {"a-0": 1.0, "a-1": 1.0}) == []  # the same once more is no step towards it
    face = one_try(0, "face the blue key")
    three = [face, replace(key, id="a-1"), replace(door, id="a-2")]
    found_all = compose("doom", three, {"a-0": 1.0, "a-1": 1.0, "a-2": 1.0})
    assert [one.name for one in found_all] == ["a-0-to-1", "a-0-to-2"]
    assert shares(found_all) == {"a-0": 1 / 3, "a-1": 1 / 3, "a-2": 1 / 2}


def test_the_steps_of_a_plan_compose_its_goal_when_all_of_them_succeeded() -> None:
    plan = [replace(one_try(i, text), whole="go and look", step=i + 1, steps=3)
            for i, text in enumerate(("go to the imp", "look up", "look down"))]  # fmt: skip
    worth = {"a-0": 1.0, "a-1": 0.5, "a-2": 0.5}
    (found,) = compose("doom", plan, worth)
    assert (found.instruction, found.steps, found.worth) == ("go and look", tuple(plan), 0.25)
    assert compose("doom", plan, {**worth, "a-1": 0.0}) == []
    assert compose("doom", plan[1:], worth) == []
    assert compose("doom", plan[:2], worth) == []


# What is asked in hindsight


def test_hindsight_asks_about_failed_tries_and_doubts_what_is_claimed() -> None:
    tries = [
        one_try(i, "unlock the red door", "a", "open the door", "Unlock the red door!", "look up") for i in range(20)
    ]
    judgements = {one.id: Judgement(i == 0, 50.0, "", "unlock") for i, one in enumerate(tries)}
    asked = hindsight.others("doom", tries, judgements, 3, seed=0)
    assert len(asked) == 2 * 19  # not of the success, and not the same goal in other words
    assert len(hindsight.others("doom", tries, judgements, 1, seed=0)) == 19
    claims = [(one, Judgement(one.instruction == "look up" or one.id in ("a-3", "a-4", "a-5", "a-6", "a-7"), 9.0, "",
                              "look_up" if one.instruction == "look up" else "open")) for one in asked]  # fmt: skip
    errors = {"open": Evidence(controls=40), "look_up": Evidence(tried=9, controls=40, false_claims=38)}
    evidence = hindsight.evidence_of(claims, errors)
    assert evidence["open"] == Evidence(tried=19, claimed=5, controls=40)
    assert evidence["look_up"] == Evidence(tried=19, claimed=19, controls=40, false_claims=38)
    archive = Curriculum("doom")
    trust = Trust(beliefs_of({"open": Evidence(30, 12, 40, 0), "look_up": Evidence(9, 9, 40, 38)}), 0.5)
    found = hindsight.relabelled(claims, errors, trust, archive)
    assert {id_: text for id_, (text, _) in found.items()} == dict.fromkeys(
        ("a-3", "a-4", "a-5", "a-6", "a-7"), "open the door"
    )
    assert all(0.2 < weight < 0.5 for _, weight in found.values())
    doubted = Trust(beliefs_of({"open": Evidence(30, 12, 40, 20)}), 0.5)
    assert hindsight.relabelled(claims, errors, doubted, archive) == {}
    rare = [(one, replace(said, success=one.id == "a-3")) for one, said in claims if said.verb == "open"]
    assert hindsight.relabelled(rare, errors, trust, archive) == {}  # as rare as the reward's own errors may be
    assert len(hindsight.relabelled(claims, errors, Trust(None, 0.5), archive)) == 19


def test_the_audit_tells_how_much_of_hindsight_is_true() -> None:
    rows = [
        {"id": "a", "others": {"open the door": True}},
        {"id": "b", "others": {"open the door": False}},
        {"id": "c"},
    ]
    told = {"a": "open the door", "b": "open the door", "c": "open the door"}
    assert audit_hindsight(told, rows) == {**audit_hindsight(told, rows), "rate": 0.5, "n": 2}


# All together


def test_no_try_counts_twice_and_writing_again_writes_the_same(tmp_path: Path) -> None:
    tries = [one_try(0, "pick up the blue key"), one_try(1, "unlock the blue door"), one_try(2, "look up"),
             one_try(0, "go to the imp", "b", "face the torch"), one_try(1, "go to the torch", "b")]  # fmt: skip
    for number, one in enumerate(tries):
        record(tmp_path, one, 10 + 3 * number)
    worth = {"a-0": 0.8, "a-1": 0.5, "a-2": 1.0, "b-0": 0.0, "b-1": 0.0}
    archive = Curriculum("doom")  # every goal is new: half of it is left to learn
    for _ in range(2):
        weights = write_experience(
            tmp_path, "doom", tries, worth, archive, relabelled={"b-0": ("face the torch", 0.3), "a-2": ("go", 0.9)},
            compositions=compose("doom", tries, worth), player=Echo,
        )  # fmt: skip
        assert weights == {
            "a-0": 0.2, "a-1": 0.125, "a-2": 0.5, "hindsight/b-0": 0.3, "composed/a-0-to-1": 0.1,
        }  # fmt: skip
    assert json.loads((tmp_path / WEIGHTS).read_text()) == weights
    composed = read_episode(tmp_path / "composed" / "a-0-to-1").steps.to_pylist()
    said = [(row["thought"], row["speech"]) for row in composed if row["frame"] >= 0]
    assert said == [
        ("step 1 pick up blue key look 0", "ok unlock blue door"), ("step 1 pick up blue key (40, 12)", ""),
        ("step 2 unlock blue door look 0", ""), ("step 2 unlock blue door (40, 12)", ""), ("done", "done"),
    ]  # fmt: skip
    told = read_episode(tmp_path / "hindsight" / "b-0").steps.to_pylist()
    assert [row["thought"] for row in told if row["frame"] >= 0][:2] == [
        "face the torch 19 0 0",
        "face the torch 20 1 1",
    ]
    assert told[0]["speech"] == "ok face torch"
    examples = Examples([tmp_path], history=4)
    assert len(examples) == 3 + 3 + 3 + 3 + 5  # what failed is learned only as it is told
    assert Other("b-0", "face the torch") in hindsight.others(
        "doom", tries, {one.id: Judgement(False, 0.0, "", "x") for one in tries}, 3, 0
    )

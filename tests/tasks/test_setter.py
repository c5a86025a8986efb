"""Task setters: what is a proposal and what is not, a fixed suite, and the policy that ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from agent.policy import PolicySpec
from agent.view import View
from envs.errors import UserError
from tasks import world_tasks
from tasks.policy_setter import PolicySetter
from tasks.setter import Frame, Proposal, Rejected, SetterView, Tried, load_setter, propose
from tasks.suite import EVALUATION_SEEDS
from tasks.suite_setter import SuiteSetter

FRAME = np.zeros((240, 320, 3), np.uint8)
VIEW = SetterView("doom", (FRAME,))


class Says:
    """A setter that says what it is given."""

    def __init__(self, said: Any) -> None:
        self.said = said

    def propose(self, view: SetterView, n: int) -> Any:
        return self.said


class Speaks:
    """A policy that proposes texts in turn, and writes down the frames and seeds that it is given."""

    spec = PolicySpec(View.stretched((120, 160)))

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.asked: list[tuple[list[tuple[int, ...]], int]] = []

    def propose(self, frames: Sequence[Frame], seed: int = 0) -> list[str]:
        self.asked.append(([frame.shape for frame in frames], seed))
        return [self.texts[i % len(self.texts)] for i in range(len(frames))]


@pytest.mark.parametrize(
    ("instruction", "time_limit", "why"),
    [
        ("", 100, "empty"),
        (" \n", 100, "empty"),
        ("go\nto the imp", 100, "one line"),
        ("go " * 100, 100, "one line"),
        ("go to the imp", 0, "0 ticks"),
        ("go to the imp", 10**9, "ticks instead of"),
        ("go to the imp", 2.5, "whole number"),
        ("go to the imp", True, "whole number"),
    ],
)
def test_what_is_no_proposal_can_not_be_made(instruction: str, time_limit: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Proposal(instruction, time_limit)


def test_what_is_off_contract_is_rejected_and_counted() -> None:
    good = Proposal("go to the imp", 100)
    said = propose(Says([good, "go to the torch", None, Rejected("{", "no JSON"), good, good]), VIEW, 2)
    assert said.proposals == (good, good)
    assert [(one.text, one.why) for one in said.rejected] == [
        ("'go to the torch'", "it is no Proposal"),
        ("None", "it is no Proposal"),
        ("{", "no JSON"),
        ("go to the imp", "it is one more than the 2 that were asked for"),
    ]
    assert [one.why for one in propose(Says(7), VIEW, 2).rejected] == ["it is no list of proposals"]
    with pytest.raises(ValueError, match="1 or more"):
        propose(Says([]), VIEW, 0)


def test_a_view_has_no_ground_truth() -> None:
    known = {"world", "frames", "tried", "skills", "tick_hz", "seed", "kinds"}
    assert {field.name for field in fields(SetterView)} == known
    judged = {"id", "instruction", "success", "score", "task", "generation", "kind"}
    assert {field.name for field in fields(Tried)} == judged


def test_a_suite_is_proposed_in_turn_and_brings_its_levels() -> None:
    suite = world_tasks.suite("doom-room")
    setter = SuiteSetter("doom-room:4")
    view = SetterView("doom", seed=3)
    first = propose(setter, view, 3).proposals
    tasks = {task.id: task for task in (suite.task(0, index, evaluation=False) for index in range(4))}
    assert len({p.task for p in first}) == 3
    for p in first:
        task = tasks[p.task]
        assert (p.instruction, p.seed, p.options, p.time_limit) == (
            task.instruction, task.seed, task.options, task.time_limit,
        )  # fmt: skip
    orders = {tuple(p.task for p in propose(setter, SetterView("doom", seed=i), 4).proposals) for i in range(9)}
    assert len(orders) > 1  # players that choose at the same time do not all choose the same
    tried = tuple(Tried(str(i), p.instruction, True, 90.0, p.task) for i, p in enumerate(first))
    then = propose(setter, SetterView("doom", tried=tried, seed=3), 2).proposals
    (left,) = set(tasks) - {p.task for p in first}
    assert then[0].task == left  # the one that was not tried
    assert then[1].task in tasks
    assert len(propose(setter, view, 9).proposals) == 4
    vault = propose(load_setter("suite:doom-vault"), VIEW, 1).proposals
    assert vault[0].seed is not None
    assert vault[0].seed < EVALUATION_SEEDS  # no level of evaluation is practised
    with pytest.raises(UserError, match="suite:doom-room:64"):
        load_setter("suite:doom-room:few")
    with pytest.raises(UserError, match="'doom'"):
        setter.propose(SetterView("playroom"), 1)
    with pytest.raises(UserError, match="doom-vault"):
        load_setter("suite:doom-valt")


def test_a_policy_proposes_for_the_frames_in_view_and_what_the_grammar_does_not_read_is_rejected() -> None:
    both = "go to the imp and then face the torch"
    policy = Speaks("go to the imp", "at nothing was done", "go to the imp", "", both)
    said = propose(PolicySetter(policy), SetterView("doom", (FRAME, FRAME), tick_hz=20.0, seed=2), 5)
    assert [(p.instruction, p.time_limit) for p in said.proposals] == [
        ("go to the imp", 300),
        (both, 600),
    ]
    assert [one.text for one in said.rejected] == ["at nothing was done", ""] * 3
    assert policy.asked == [([(120, 160, 3)] * 5, 5 * (6 + number)) for number in range(3)]
    free = propose(PolicySetter(Speaks("wave", "")), SetterView("my_game", (FRAME,)), 2)
    assert [p.instruction for p in free.proposals] == ["wave"]
    assert {one.why for one in free.rejected} == {"the instruction is empty"}
    with pytest.raises(UserError, match="none is in view"):
        PolicySetter(policy).propose(SetterView("doom"), 1)


def test_wrong_names_are_told() -> None:
    with pytest.raises(UserError, match="did you mean 'suite'"):
        load_setter("suit")
    with pytest.raises(UserError, match="suite:doom-vault"):
        load_setter("suite")
    with pytest.raises(UserError, match="no TaskSetter"):
        load_setter("tests.tasks.test_setter:PolicySpec")

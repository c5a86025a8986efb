"""Capabilities: what the policies that come with Ludens can do, and what a user is told who asks for more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from agent.capabilities import (
    Answers,
    Captions,
    Judges,
    KnowsNouns,
    Proposes,
    Scripted,
    SpeakingPolicy,
    reads_labels,
    require,
    spec_of,
)
from agent.cli import run
from agent.policy import PolicySpec
from agent.random_policy import RandomPolicy
from agent.small import load_small
from agent.talk.chat_voice import voice_of
from envs.errors import UserError
from tasks.doom.guide import GuidePolicy
from tasks.expert_policy import ExpertPolicy

ROLES = (Answers, Captions, KnowsNouns, Proposes, Judges, SpeakingPolicy)


def test_what_the_policies_can_do() -> None:
    small: Any = load_small()
    for role in ROLES:
        assert isinstance(small, role)
        assert require(small, role, "small", "a test") is small if role is not SpeakingPolicy else True
    assert not isinstance(small, Scripted)
    assert voice_of(small)[0] is not None
    assert voice_of(small)[1] is None
    for player in (RandomPolicy(), ExpertPolicy(), GuidePolicy()):
        assert not any(isinstance(player, role) for role in ROLES)
        assert voice_of(player) == (None, None)
    assert not isinstance(RandomPolicy(), Scripted)
    assert isinstance(ExpertPolicy(), Scripted)
    assert isinstance(GuidePolicy(), Scripted)
    assert not reads_labels(small)
    assert not reads_labels(ExpertPolicy())


def test_a_script_needs_no_spec_and_may_ask_for_labels() -> None:
    class Script:
        labels = True

        def start(self, task: Any) -> Any: ...

    assert isinstance(Script(), Scripted)
    assert spec_of(Script()) == PolicySpec()
    assert spec_of(ExpertPolicy()) is ExpertPolicy.spec
    assert reads_labels(Script())


def test_a_missing_capability_is_told_with_its_method_and_what_to_take() -> None:
    with pytest.raises(UserError, match=r"--suite doom-judge needs a policy with the method judge\(.*--policy small"):
        require(RandomPolicy(), Judges, "random", "--suite doom-judge")


@pytest.mark.parametrize(
    ("suite", "method"),
    [
        ("doom-judge", "judge(instructions"),
        ("doom-answers", "answer(frames"),
        ("doom-proposals", "propose(frames"),
        ("doom-plans", "plan(goals"),
        ("doom-conversation", "answer(frames"),
    ],
)
def test_eval_refuses_a_policy_that_lacks_it(suite: str, method: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--suite", suite, "--policy", "random", "--episodes", "1"]) == 2
    error = capsys.readouterr().err
    assert method in error
    assert "'random'" in error


def test_capabilities_are_never_probed_by_attribute() -> None:
    root = Path(__file__).parents[2]
    names = "answer|caption|propose|plan|judge|known|start|labels|sample|spec"
    probe = re.compile(rf'(?:has|get)attr\((?!state,)[^()]*"(?:{names})"')  # a world's state has labels of its own
    for folder in ("agent", "tasks", "rewards", "training", "benchmarks"):
        for file in (root / folder).rglob("*.py"):
            assert not probe.search(file.read_text()), file

"""Exploration while tasks are collected: sampled and repeated decisions, several tries of a task, steps of a plan."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.policy import Context, Decision, PolicySpec
from envs.action import Action
from tasks import world_tasks
from tasks.curriculum import Curriculum
from tasks.setter import Proposal, SetterView, Tried
from training.data.episodes import read_episode
from training.improve.collect import Collector, CollectSettings, LevelPlayed, SampledPlay

BEFORE = (Action(frozenset({"KeyW"})),) * 4
NEW = Decision((Action(frozenset({"KeyA"})),) * 4, "imp (3, 4)", tokens=(1, 2), log_probabilities=(-0.1, -0.2))


class Draws:
    """A policy that always draws the same decision."""

    spec = PolicySpec()

    def __init__(self, decision: Decision = NEW) -> None:
        self.decision = decision

    def sample(self, contexts: Sequence[Context], **options: Any) -> list[Decision]:
        return [self.decision] * len(contexts)


def test_sticky_decisions_repeat_what_was_done_and_claim_no_tokens() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    context = Context((frame,), "go", actions=(BEFORE,), thoughts=("",))
    decided = SampledPlay(Draws(), 1.0, 0, sticky=0.5).act([replace(context, seed=number) for number in range(200)])
    again = [one for one in decided if one.actions == BEFORE]
    assert 60 < len(again) < 140
    assert all(one.tokens == one.log_probabilities == () and one.thought == NEW.thought for one in again)
    assert all(one == NEW for one in decided if one.actions != BEFORE)
    assert SampledPlay(Draws(), 1.0, 0).act([context]) == [NEW]
    first = Context((frame,), "go")
    assert SampledPlay(Draws(), 1.0, 0, sticky=0.99).act([first] * 20) == [NEW] * 20
    ends = replace(NEW, done=True)
    assert SampledPlay(Draws(ends), 1.0, 0, sticky=0.99).act([context] * 20) == [ends] * 20


class Gate:
    """A setter that proposes what nobody has done within half a second."""

    def propose(self, view: SetterView, n: int) -> list[Proposal]:
        return [Proposal("go to the imp then face the torch", 16), Proposal("look up", 16)]


def collect(
    out: Path, setter: str = f"{__name__}:Gate", archive: Curriculum | None = None, **options: Any
) -> LevelPlayed:
    (out / "levels").mkdir(parents=True)
    (archive or Curriculum("doom")).save(out / "curriculum.jsonl")
    settings = CollectSettings(
        out, 1, "doom", "small", setter, out / "curriculum.jsonl", tries=4, proposals=2, time_limit=16,
        temperature=0.7, seed=0, **options,
    )  # fmt: skip
    collector = Collector(settings)
    try:
        (played,) = collector.work([world_tasks.suite("doom-vault").practice(0, 0)])
    finally:
        collector.close()
    return played


@pytest.mark.slow
def test_a_task_is_tried_again_and_the_steps_of_a_plan_one_after_the_other(tmp_path: Path) -> None:
    played = collect(tmp_path, attempts=2, planner="small")
    assert len({one.id for one in played.tries}) == 4
    assert [one.id for one in played.tries] == [one.id for one in played.audited]
    steps = {
        "go to the imp": "go to the imp then face the torch",
        "face the torch": "go to the imp then face the torch",
    }
    for one in played.tries:
        assert one.whole == steps.get(one.instruction, "")
        assert len(one.others) == 1
        assert one.level == "001-doom-vault-0-0"
    for before, now in zip(played.tries, played.tries[1:], strict=False):
        if before.said_done and before.instruction == "go to the imp":
            assert now.instruction == "face the torch"  # the plan goes on
        if now.instruction == "face the torch":
            assert before.said_done or before.instruction == "face the torch"
    first, second = played.tries[:2]
    assert first.said_done or second.instruction == first.instruction  # a second attempt
    once = collect(tmp_path / "once", choose=False)
    assert {one.whole for one in once.tries} == {""}


@pytest.mark.slow
def test_a_task_of_a_suite_is_tried_in_its_own_level(tmp_path: Path) -> None:
    played = collect(tmp_path, "suite:doom-room")
    suite = world_tasks.suite("doom-room")
    assert len({one.level for one in played.tries}) == len(played.tries) == 4
    for one in played.tries:
        task = suite.task(0, int(one.task.rpartition("/")[2]), evaluation=False)
        episode = read_episode(tmp_path / "episodes" / one.episode)
        assert (one.instruction, one.others) == (task.instruction, ())
        assert json.dumps(episode.options) == json.dumps(task.options)
    assert [one.others for one in played.audited] == [{}] * 4
    assert all(one.success is not None for one in played.audited)  # verifiers know these tasks, in these levels


class Elsewhere:
    """A setter that asks for a new room, and then for something in the level where the player is."""

    def propose(self, view: SetterView, n: int) -> list[Proposal]:
        assert view.kinds == ("doom-room",)
        return [Proposal("press the switch", 16, kind="doom-room")] if view.seed % 2 == 0 else [Proposal("look up", 16)]


@pytest.mark.slow
def test_a_task_may_ask_for_a_new_level_and_what_follows_stays_there(tmp_path: Path) -> None:
    played = collect(tmp_path, f"{__name__}:Elsewhere", kinds=("doom-room",))
    first, second, third, fourth = played.tries
    assert [one.instruction for one in played.tries] == ["press the switch", "look up"] * 2
    assert {one.kind for one in played.tries} == {"doom-room"}
    assert first.level == second.level != third.level == fourth.level
    options = [read_episode(tmp_path / "episodes" / one.episode).options for one in played.tries]
    assert options[0] != options[2]
    assert json.dumps(options[0]) != json.dumps(world_tasks.suite("doom-vault").practice(0, 0).options)
    assert all(one.success is not None for one in played.audited)


@pytest.mark.slow
def test_goals_of_other_levels_are_proposed_beside_the_setters(tmp_path: Path) -> None:
    archive = Curriculum("doom", [Tried(str(i), "open the door", i % 2 == 0) for i in range(6)])
    played = collect(tmp_path, archive=archive, remembered=1)
    assert all("open the door" in (one.instruction, *one.others) for one in played.tries)

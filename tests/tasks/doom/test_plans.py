"""Plans: what has to be done first, and how it is measured."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from agent.cli import run
from agent.policy import Context, Decision, PolicySpec
from agent.small import load_small
from agent.small.token_ids import spell
from envs.doom.level import LOCKS
from tasks.doom import plans
from tasks.doom.goals import HELD_OUT_PAIRS
from tasks.doom.language import Meaning, plain, read
from training.evaluation.roles import evaluate_plans

BLUE, GATE = Meaning("unlock", "door", "blue"), Meaning("switch", "gate")


@pytest.mark.parametrize(("meaning", "deeds", "expected"), [
    (BLUE, (), ("pick up blue key", "open blue door")),
    (BLUE, ("pick up blue key",), ("open blue door",)),
    (BLUE, ("pick up red key",), ("pick up blue key", "open blue door")),
    (BLUE, ("pick up blue key", "open blue door"), ("unlock blue door",)),
    (GATE, (), ("press switch",)),
    (Meaning("open", "door"), (), ("open door",)),
    (Meaning("pick_up", "skull", "red", then=(BLUE,)), (), ("pick up red skull", "pick up blue key", "open blue door")),
])  # fmt: skip
def test_steps(meaning: Meaning, deeds: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert plans.steps(meaning, deeds) == expected


def test_lessons_are_read_written_and_name_nothing_held_out() -> None:
    rng = np.random.default_rng(3)
    drawn = [plans.draw(rng, "wide") for _ in range(600)]
    for one in drawn:
        meaning = read(one.goal)
        assert meaning is not None or {"purple", "white"} & set(one.goal.split()), one.goal  # no world has such locks
        if meaning is not None:
            assert set(one.steps) <= {*plans.steps(meaning), plain(meaning)}  # the latter where all of it is done
        spell(plans.THEN.join(one.steps))
        spell(one.memory.replace(" . ", " "))
        named = {tuple(step.split()[-2:]) for step in one.steps}
        assert not named & {(colour, kind) for kind, colour in HELD_OUT_PAIRS}
    assert len({one.goal for one in drawn}) > 500
    assert sum(len(one.steps) > 1 for one in drawn) > 200
    assert sum(bool(one.memory) for one in drawn) > 300


def test_who_knows_every_plan_has_all_right_and_who_forgets_the_memory_has_not() -> None:
    def knows(goals: list[str], memories: list[str]) -> list[tuple[str, ...]]:
        meanings = [read(goal) for goal in goals]
        done = [[line.replace("i ", "").replace(" the ", " ").replace("picked", "pick").replace("pressed", "press")
                 for line in memory.split(" . ")] for memory in memories]  # fmt: skip
        return [plans.steps(meaning, deeds) for meaning, deeds in zip(meanings, done, strict=True) if meaning]

    def forgets(goals: list[str], memories: list[str]) -> list[tuple[str, ...]]:
        return knows(goals, [""] * len(goals))

    right, wrong = evaluate_plans(knows, 150, 5), evaluate_plans(forgets, 150, 5)
    assert right["goals"] == 150
    assert right["exact"] > 0.95  # what was gone to or shot is told in other words than the plan's
    assert wrong["exact"] < 0.9
    assert wrong["mistakes"]
    goals = [plans.draw(np.random.default_rng(i), "training", tuple(LOCKS)).goal for i in range(60)]
    assert any("yellow" in goal and "door" in goal for goal in goals), "locks of all colours are asked for"


class PlansAll:
    """A policy that knows the plans of locks and gates, and no more."""

    spec = PolicySpec()

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        raise AssertionError("nothing is played")

    def plan(self, goals: Sequence[str], memories: Sequence[str] | None = None) -> list[tuple[str, ...]]:
        return [plans.steps(meaning) for goal in goals if (meaning := read(goal))]


def test_the_suite_is_measured_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    policy = f"{__name__}:PlansAll"
    assert run(["eval", "--suite", "doom-plans", "--policy", policy, "--episodes", "60", "--seed", "3"]) == 0
    assert "several steps" in capsys.readouterr().out
    assert run(["eval", "--suite", "doom-plans", "--policy", policy, "--episodes", "60", "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert 0.5 < told["exact"] < 1.0, "it forgets what the memory tells"
    assert told["goals"] == told["held_out_phrasings"]["goals"] == 60


def test_small_reads_the_end_of_a_long_goal() -> None:
    small = load_small()
    asked = "well " * 40 + "unlock the blue door"
    assert small.plan([asked]) == small.plan([asked[-150:]])
    assert len(small.plan([asked, "look up"], ["", "i picked up the red key"])) == 2

"""`small` as a planner: it takes goals apart, and looks elsewhere where the player does not get on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from agent.models import Reply
from agent.talk.planner import ALL_DONE, DONE, PASSED, Plan, Situation, SmallPlanner, load_planner

FRAME = np.zeros((120, 160, 3), np.uint8)


@pytest.fixture(scope="module")
def small() -> Iterator[SmallPlanner]:
    planner = load_planner("small")
    assert isinstance(planner, SmallPlanner)
    yield planner
    planner.close()


def test_small_takes_the_words_apart_and_proposes_where_the_player_does_not_get_on(small: SmallPlanner) -> None:
    goal = "take the key, then go to the torch"
    assert small.plan(Situation(goal)) == Plan(("take the key", "go to the torch"))
    assert small.plan(Situation(goal, PASSED, steps=("go to the torch",))).steps == ("go to the torch",)
    assert small.plan(Situation(goal, ALL_DONE, history=(("take the key", DONE),))).done
    missing = (("take the key", "i see no key here"),)
    why = f"the player says: {missing[0][1]}"
    plan = small.plan(Situation(goal, why, "", ("go to the torch",), missing, frames=(FRAME,)))
    assert plan.steps == ((plan.notes,) if plan.notes else ()) + ("take the key", "go to the torch")
    assert plan.notes == "" or plan.notes.startswith("face the ")
    gone = small.plan(Situation(goal, why, "", ("go to the torch",), missing * 3, frames=(FRAME,)))
    assert gone == Plan(done=True, say="i see no key here")


def test_what_small_proposes_changes_the_view_and_does_not_pile_up() -> None:
    class Proposes:
        name = "small"

        def chat(self, asked: Any, **how: Any) -> Any:
            return Reply("shoot the green demon", self.name)

    planner = SmallPlanner(Proposes())  # type: ignore[arg-type]
    stuck = "nothing has moved for 4 seconds"
    plan = planner.plan(Situation("look up", stuck, "", ("look up", "take the key"), frames=(FRAME,)))
    assert plan == Plan(("face the green demon", "look up", "take the key"), notes="face the green demon")
    assert planner.plan(Situation("look up", stuck, plan.notes, plan.steps, frames=(FRAME,))) == plan


class Knows:
    """A model that takes goals apart, some of them too far."""

    name = "small"
    plans = {  # noqa: RUF012
        "unlock the blue door": "pick up blue key then open blue door",
        "open the blue door and don't touch the imp": "pick up blue key then open blue door",
        "open the gate": "press switch",
        "press the switch near the imp": "press switch",
    }

    def chat(self, asked: Any, **how: Any) -> Any:
        assert not asked[0].images
        role, _, goal = asked[0].text.partition(": ")
        assert role == "plan"
        return Reply(self.plans.get(goal, "look up"), self.name)


@pytest.mark.parametrize(("goal", "steps"), [
    ("unlock the blue door", ("pick up blue key", "open blue door")),
    ("pick up the red key, then open the gate", ("pick up the red key", "press switch")),
    ("unlock the blue door, then unlock the blue door", ("pick up blue key", "open blue door")),
    ("look up, then look down, then look up", ("look up", "look down", "look up")),
    ("press the switch near the imp", ("press the switch near the imp",)),
    ("open the blue door and don't touch the imp", ("open the blue door and don't touch the imp",)),
])  # fmt: skip
def test_small_takes_apart_what_needs_something_first(goal: str, steps: tuple[str, ...]) -> None:
    assert SmallPlanner(Knows()).plan(Situation(goal)) == Plan(steps)  # type: ignore[arg-type]

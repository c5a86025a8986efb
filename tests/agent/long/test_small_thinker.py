"""`SmallThinker`: what in view comes before the user's own words."""

from __future__ import annotations

import pytest

from agent.long.critic import Opinion
from agent.long.goals import Ended, Pursuit
from agent.long.odometer import Pose
from agent.long.small import MOST_TRIES, SmallThinker
from agent.long.thinker import Desk
from agent.talk.planner import Situation

GOAL = "go to the green torch, then pick up the blue skull"
FIRST, SECOND = "go to the green torch", "pick up the blue skull"


class _Model:
    name = "small"

    def close(self) -> None:
        pass


@pytest.fixture
def thinker() -> SmallThinker:
    return SmallThinker(_Model())  # type: ignore[arg-type]


@pytest.fixture
def desk() -> Desk:
    made = Desk(tick_hz=35.0)
    made.goals.begin(GOAL, 0)
    made.places.at(Pose())
    return made


def think(thinker: SmallThinker, desk: Desk, caption: str = "", steps: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The steps of the next turn, which become the tertiary goals."""
    desk.turn += 1
    desk.tick += 105
    if caption:
        desk.places.saw(caption, desk.tick)
    plan = thinker.think(Situation(GOAL, steps=steps), desk)
    desk.goals.set("tertiary", plan.steps, desk.turn)
    desk.ended = ()
    return plan.steps


def came(desk: Desk, text: str, end: str) -> None:
    desk.ended = (Ended(Pursuit(text, "tertiary", 0, 9), end, desk.turn),)  # type: ignore[arg-type]


def test_the_users_parts_come_in_order_and_the_goal_ends_with_the_last(thinker: SmallThinker, desk: Desk) -> None:
    assert think(thinker, desk) == (FIRST,)
    came(desk, FIRST, "done")
    assert think(thinker, desk) == (SECOND,)
    came(desk, SECOND, "done")
    assert thinker.think(Situation(GOAL), desk).done


@pytest.mark.parametrize(
    ("caption", "wish"),
    [
        ("red key left and imp ahead", "pick up the red key"),
        ("switch ahead", "press the switch"),
        ("red door ahead", "pick up the red key"),  # it has none yet
        ("gate ahead", FIRST),  # what opens it has no colour to be known by
        ("green torch left and red key ahead", FIRST),  # what is asked for is in view
        ("blue torch left", FIRST),
        ("doorway ahead", FIRST),
    ],
)
def test_what_opens_a_way_comes_first(thinker: SmallThinker, desk: Desk, caption: str, wish: str) -> None:
    assert think(thinker, desk, caption)[0] == wish


def test_a_key_leads_to_its_door(thinker: SmallThinker, desk: Desk) -> None:
    assert think(thinker, desk, "red key ahead")[0] == "pick up the red key"
    came(desk, "pick up the red key", "done")
    assert think(thinker, desk, "blue door left and red door right")[0] == "open the red door"


def test_the_door_of_a_key_is_looked_for_until_it_is_open(thinker: SmallThinker, desk: Desk) -> None:
    assert think(thinker, desk, "red key ahead") == ("pick up the red key", "open the red door", FIRST)
    came(desk, "pick up the red key", "done")
    assert think(thinker, desk, "blue door ahead")[0] == "open the red door"  # before the key of another lock
    came(desk, "open the red door", "done")
    assert think(thinker, desk, "red door ahead")[0] == "pick up the blue key"


def test_a_false_belief_is_corrected_by_what_is_seen(thinker: SmallThinker, desk: Desk) -> None:
    """Poison: the summary says that the key was taken, and it was not."""
    key = "pick up the red key"
    think(thinker, desk, "red key ahead")
    came(desk, key, "done")
    desk.summary.note(f"{key}: done")
    assert think(thinker, desk, "red door right")[0] == "open the red door"
    came(desk, "open the red door", "failed")
    assert think(thinker, desk, "red key left")[0] == key
    assert desk.summary.text == f"{key}: not done, it is still there"


def test_a_door_that_is_seen_shut_was_not_opened(thinker: SmallThinker, desk: Desk) -> None:
    key, door = "pick up the red key", "open the red door"
    came(desk, key, "done")
    assert think(thinker, desk, "red door ahead")[0] == door
    desk.summary.note(f"{door}: done")
    came(desk, door, "done")
    assert think(thinker, desk) == (FIRST,)
    assert think(thinker, desk, "red door left")[0] == door
    assert desk.summary.text == f"{door}: not done, it is shut"


def test_what_the_goal_means_is_what_the_player_is_told(thinker: SmallThinker, desk: Desk) -> None:
    desk.goals.begin("Go back to the torch that you saw first, then shoot the imp", 1)
    desk.meant = {"the torch that you saw first": "red torch"}
    plan = thinker.think(Situation("Go back to the torch that you saw first, then shoot the imp"), desk)
    assert plan.parts == ("go to the red torch", "shoot the imp")
    assert plan.steps[0] == "go to the red torch"


def test_what_is_under_way_goes_on_and_what_failed_rests(thinker: SmallThinker, desk: Desk) -> None:
    steps = think(thinker, desk, "red key ahead")
    assert think(thinker, desk, "red key left and switch ahead", steps) == steps
    assert think(thinker, desk, "imp left", steps) == steps
    came(desk, "pick up the red key", "failed")
    assert think(thinker, desk, "red key ahead")[0] == FIRST, "it was tried here just now"
    desk.places.at(Pose(9.0, 9.0))
    assert think(thinker, desk, "red key ahead")[0] == "pick up the red key", "elsewhere it is tried again"


def test_what_it_looks_for_gives_way_to_what_is_there(thinker: SmallThinker, desk: Desk) -> None:
    steps = think(thinker, desk, "red door left")
    assert steps[0] == "pick up the red key"
    assert think(thinker, desk, "blue key ahead", steps)[0] == "pick up the blue key"


def test_a_key_is_not_looked_for_once_its_door_is_gone(thinker: SmallThinker, desk: Desk) -> None:
    steps = think(thinker, desk, "red door ahead")
    assert steps[0] == "pick up the red key"
    assert think(thinker, desk, steps=steps) == steps
    desk.places.forget("red door")
    assert think(thinker, desk, steps=steps) == (FIRST,)


def test_a_critic_that_is_not_pleased_sends_it_where_it_was_least(thinker: SmallThinker, desk: Desk) -> None:
    for _ in range(3):  # it was ahead often
        desk.places.at(Pose(1.2, 0.0))
        desk.places.at(Pose())
    desk.opinion = Opinion(False, "this is not working")
    assert think(thinker, desk, "imp ahead and barrel right", (FIRST,))[0] == "go to the barrel"


def test_a_part_that_no_judge_sees_done_is_not_tried_for_ever(thinker: SmallThinker, desk: Desk) -> None:
    think(thinker, desk)
    for _ in range(MOST_TRIES):
        assert desk.goals.secondary[0].text == FIRST
        came(desk, FIRST, "refuted")
        think(thinker, desk)
    assert desk.goals.secondary[0].text == SECOND

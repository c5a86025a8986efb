"""What lies on the desk: goals that end, a map with visit counts, a bounded summary, and the tools."""

from __future__ import annotations

import pytest

from agent.long.goals import LIVES, GoalStack
from agent.long.odometer import Pose
from agent.long.places import CELL, MISSES, Places, things_in
from agent.long.summary import WORDS, Summary, condense
from agent.long.tools import Tools


def test_only_the_user_sets_the_primary_goal() -> None:
    stack = GoalStack()
    stack.begin("take the key, then go home", 1)
    with pytest.raises(ValueError, match="only the user"):
        stack.set("primary", ("burn the house",), 2)
    assert stack.primary is not None
    assert stack.primary.expires is None


def test_goals_end_expire_or_are_dropped() -> None:
    stack = GoalStack()
    stack.begin("all", 0)
    stack.set("secondary", ("take the key", "go home"), 0)
    stack.set("tertiary", ("press the switch", "take the key"), 3)
    assert (
        stack.text
        == "primary: all; secondary: take the key, then go home; tertiary: press the switch, then take the key"
    )
    done = stack.end("press the switch", "done", 4, verified=True)
    assert done is not None
    assert done.verified
    stack.set("tertiary", ("take the key", "look up"), 5)  # one stays and keeps its age
    old = stack.expire(3 + LIVES["tertiary"])
    assert [goal.text for goal in old] == ["take the key"]
    stack.set("tertiary", (), 12)
    assert [(one.goal.text, one.end) for one in stack.ended] == [
        ("press the switch", "done"), ("take the key", "expired"), ("look up", "dropped"),
    ]  # fmt: skip
    assert [goal.text for goal in stack.secondary] == ["take the key", "go home"], "a part outlives a step of its name"
    assert len(stack.expire(LIVES["secondary"])) == 2
    assert stack.end("never set", "done", 9) is None


def test_captions_are_read() -> None:
    assert things_in("red key left and imp ahead") == [("red key", "left"), ("imp", "ahead")]
    assert things_in("nothing") == []


def test_the_map_counts_visits_and_measures() -> None:
    places = Places()
    for step in range(40):  # to and fro between two cells
        places.at(Pose(ahead=0.1 + CELL * (step // 4 % 2)))
    assert sum(places.visits.values()) == 10, "standing still is one visit"
    assert len(places.visits) == 2
    places.at(Pose(0.1, 0.0, 0.0))
    assert places.count(0.0) > places.count(180.0)
    places.saw("red key right and door ahead", 30)
    assert places.measure("red key").startswith("red key: about 1 s of walking away, ahead")
    assert places.measure("blue key") == ""
    places.at(Pose(0.1, 0.0, 180.0))
    assert places.measure("door").endswith("behind")
    assert (
        places.around()
        == "ahead: not looked; right: not looked; behind: red key right and door ahead; left: not looked"
    )
    places.forget("red key")
    assert places.measure("red key") == ""
    assert "door" in places.text()


def test_a_thing_that_is_seen_again_is_one_landmark() -> None:
    places = Places()
    places.at(Pose())
    for tick in (1, 2, 3):
        places.saw("imp ahead", tick)
    assert [mark.tick for mark in places.landmarks] == [3]


@pytest.mark.parametrize("looks_again", [True, False])
def test_what_is_not_seen_where_it_was_is_forgotten(looks_again: bool) -> None:
    places = Places(looks_again=looks_again)
    places.at(Pose())
    places.saw("white door ahead and imp left", 0)
    places.at(Pose(heading=180.0))
    assert [places.saw("nothing", tick) for tick in range(1, 9)] == [[]] * 8, "the door is behind"
    places.at(Pose())
    gone = [name for tick in range(9, 9 + MISSES) for name in places.saw("imp left", tick)]
    assert gone == ["white door"] * looks_again
    assert {mark.name for mark in places.landmarks} == {"imp", *["white door"] * (not looks_again)}


def test_a_thing_that_shows_again_is_not_given_up() -> None:
    places = Places()
    places.at(Pose())
    for tick in range(4 * MISSES):  # the eyes miss it now and then
        places.saw("nothing" if tick % MISSES else "white door ahead", tick)
    assert [mark.name for mark in places.landmarks] == ["white door"]


def test_repetitions_are_condensed_and_words_are_bounded() -> None:
    assert condense(["a b", "c", "a b"], 10) == "c; a b (x2)"
    assert len(condense([f"line {n} of many" for n in range(500)], 40).split()) <= 40


def test_a_summary_of_any_length_stays_short_and_keeps_what_came_early() -> None:
    summary = Summary(every=10, again=3)
    summary.note("took the red key")
    for turn in range(1000):
        summary.note(f"looked {turn % 7}")
        summary.turn()
    assert len(summary.text.split()) <= 3 * WORDS + 4
    assert len(summary.lines) < 10
    assert len(summary.parts) < 3


def test_a_wrong_line_is_corrected_wherever_it_stands() -> None:
    summary = Summary(every=1, again=2)
    for line in ("the red door is open", "saw an imp", "saw a torch"):
        summary.note(line)
        summary.turn()
    assert "the red door is open" in summary.text
    assert summary.correct("the red door is open", "the red door is shut")
    assert "is open" not in summary.text
    assert not summary.correct("never said", "x")


@pytest.mark.parametrize(
    ("goal", "meant"),
    [
        ("go back to the torch that you saw first", {"the torch that you saw first": "red torch"}),
        ("go to the torch you saw last, then shoot the imp", {"the torch you saw last": "blue torch"}),
        ("touch the first torch we passed", {"the first torch we passed": "red torch"}),
        ("take the skull key you have seen before", {"the skull key you have seen before": "yellow skull key"}),
        ("go to the skull that you saw first", {}),  # no such thing was seen, though its word was read
        ("go to the red torch", {}),
    ],
)
def test_what_is_named_by_when_it_was_seen(goal: str, meant: dict[str, str]) -> None:
    tools = Tools(Places(), 35.0)
    try:
        tools.keep(10, "green torch left")  # seen once alone: eyes err
        for tick in (80, 94, 108):
            tools.keep(tick, "red torch left and yellow skull key right")
        for tick in (700, 714):
            tools.keep(tick, "blue torch ahead")
        assert tools.meant(goal) == meant
    finally:
        tools.close()


def test_tools_answer_from_what_was_seen() -> None:
    places = Places()
    places.at(Pose())
    tools = Tools(places, 35.0)
    try:
        tools.keep(350, "red key left and imp ahead")
        tools.keep(700, "blue torch ahead")
        assert tools.ask("recall the red key", 800) == "0:00:10 saw: red key left and imp ahead"
        assert tools.ask("recall yellow skull", 800) == "nothing about yellow skull"
        assert "[1]" in tools.ask("map", 800)
        assert tools.ask("measure red key", 800) == "no red key was seen"
        assert tools.ask("mark start", 800) == "this place is called start"
        places.at(Pose(3.0, 0.0, 0.0))
        assert tools.ask("measure start", 900) == "start: about 3 s of walking away, behind"
        assert tools.ask("look around", 900).startswith("ahead: not looked")
        assert tools.ask("delete everything", 900) == "there is no tool for 'delete everything'"
    finally:
        tools.close()


def walked(places: Places, *poses: tuple[float, float], heading: float = 0.0) -> None:
    """The player walks from pose to pose."""
    for ahead, right in poses:
        start = places.here
        steps = max(1, round(10 * max(abs(ahead - start.ahead), abs(right - start.right))))
        for i in range(1, steps + 1):
            share = i / steps
            places.at(
                Pose(start.ahead + share * (ahead - start.ahead), start.right + share * (right - start.right), heading)
            )


def test_the_way_to_what_was_seen_leads_where_the_player_walked() -> None:
    places = Places()
    places.at(Pose())
    places.saw("red torch left", 0)
    walked(places, (3.0, 0.0), (3.0, 3.0))  # ahead, and then right round a corner
    assert places.way("red torch".__eq__, 1) == "left", "back along the way that it came, not across"
    assert places.way("red torch".__eq__, 0) == "", "it is in view"
    assert places.way("blue torch".__eq__, 1) == ""
    walked(places, (3.0, 0.0), (0.6, -0.3))
    assert places.way("red torch".__eq__, 1) == "", "it should be in view from here"


def test_who_comes_to_a_place_again_and_again_is_told_an_exit_that_nobody_took() -> None:
    places = Places()
    places.at(Pose())
    places.saw("doorway ahead", 0)
    places.at(Pose(heading=90.0))
    places.saw("doorway ahead", 1)
    assert places.way("red torch".__eq__, 9) == "", "it is here for the first time"
    walked(places, (2.4, 0.0), (0.0, 0.0), (2.4, 0.0), (0.0, 0.0))
    assert places.way("red torch".__eq__, 9) == "right", "ahead it was"
    for _ in range(100):
        places.way("red torch".__eq__, 9)
    assert places.way("red torch".__eq__, 9) == "", "an exit that leads nowhere is given up"


def test_once_a_switch_is_pressed_a_gate_may_be_a_way_until_it_is_seen_again() -> None:
    places = Places()
    walked(places, (0.9, 0.0), (0.0, 0.0), (0.9, 0.0), (0.0, 0.0))
    places.at(Pose(heading=180.0))
    places.saw("gate ahead", 2)
    places.at(Pose(heading=270.0))
    assert places.way("red torch".__eq__, 9) == ""
    places.gates_may_be_open()
    assert places.way("red torch".__eq__, 9) == "left", "of where it looks now: the gate is behind where it began"
    places.at(Pose(heading=180.0))
    places.saw("gate ahead", 4)
    assert places.way("red torch".__eq__, 9) == ""

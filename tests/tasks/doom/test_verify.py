"""Verifiers, on states that are written down: each rule's two sides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from envs.doom.level import Door, Level, Rect, Room, Thing
from envs.doom.levels import THEMES
from envs.doom.world import DoomState
from tasks import world_tasks
from tasks.doom.planning import Unsolvable, errand, opened, start_state, walk_through
from tasks.task import Task, VerifierSpec

ROOMS = (Room(Rect(0, 0, 600, 600), THEMES["base"]), Room(Rect(632, 0, 1000, 600), THEMES["base"]))
THINGS = (Thing("key", "red", 300, 300), Thing("key", "blue", 300, 100), Thing("imp", None, 500, 500))
LOCKED = Door(Rect(600, 240, 632, 336), "locked", "red")


def state(*, gone: tuple[int, ...] = (), **changes: object) -> DoomState:
    first = start_state(Level(ROOMS, (100, 300, 0), THINGS, (LOCKED,)))
    objects = tuple(o for o in first.objects if o.id not in gone)
    return replace(first, objects=objects, **changes)  # type: ignore[arg-type]


def judge(name: str, *states: DoomState, **args: object) -> bool | None:
    watch = world_tasks.of("doom").verifier(VerifierSpec(name, dict(args)))
    assert watch is not None
    for s in states:
        verdict = watch.update(s)
        if verdict is not None:
            return verdict.success
    return None


def test_go_to_needs_84_units_and_30_degrees() -> None:
    assert judge("go_to", state(), state(x=215), targets=[0]) is None
    assert judge("go_to", state(), state(x=217), targets=[0]) is True
    assert judge("go_to", state(), state(x=217, angle=31), targets=[0]) is None


def test_face_needs_16_ticks() -> None:
    assert judge("face", state(tick=0), state(tick=15), targets=[0]) is None
    assert judge("face", state(tick=0), state(tick=16), targets=[0]) is True
    assert judge("face", state(tick=0), state(tick=28), targets=[1]) is False


def test_taking_counts_for_the_right_thing_alone() -> None:
    assert judge("pick_up", state(), state(gone=(0,)), targets=[0]) is True
    assert judge("pick_up", state(), state(gone=(1,)), targets=[0]) is False
    assert judge("pick_up", state(), state(gone=(1,)), state(gone=(0, 1)), targets=[0], allowed=[1]) is True


def test_standing_at_a_wrong_thing_fails_after_12_ticks() -> None:
    at = {"x": 240.0, "y": 100.0}
    assert judge("pick_up", state(**at), state(tick=11, **at), targets=[0]) is None
    assert judge("pick_up", state(**at), state(tick=12, **at), targets=[0]) is False


def test_three_wasted_shots_fail() -> None:
    shots = [state(tick=4 * i, ammo=50 - i, angle=-20 * i) for i in range(4)]
    assert judge("shoot", *shots[:3], targets=[2]) is None
    assert judge("shoot", *shots, targets=[2]) is False


def test_what_is_to_be_avoided_must_not_be_touched() -> None:
    beside = state(x=500 - 16 - 20 - 9, y=500)
    assert judge("pick_up", state(), beside, targets=[0], avoid=[2]) is False
    assert judge("pick_up", state(), beside, targets=[0]) is None
    assert judge("touch", state(), beside, targets=[2]) is True


def test_steps_are_done_in_order() -> None:
    steps = [{"name": "pick_up", "args": {"targets": [i]}} for i in (1, 0)]
    assert judge("sequence", state(), state(gone=(1,)), state(gone=(0, 1)), steps=steps) is True
    assert judge("sequence", state(), state(gone=(0,)), steps=steps) is False
    assert judge("sequence", state(), state(gone=(1,)), state(gone=(1, 2)), steps=steps) is False


def test_open_enter_and_look() -> None:
    assert judge("open", state(), state(doors=(55.0,)), doors=[0]) is None
    assert judge("open", state(), state(doors=(56.0,)), doors=[0]) is True
    assert judge("open", state(), state(doors=(1.0,)), doors=[]) is False
    assert judge("open", state(), state(doors=(1.0,)), doors=[], also=[0]) is None
    assert judge("enter", state(), state(x=650), room=1) is None
    assert judge("enter", state(), state(x=657), room=1) is True
    assert judge("look", state(pitch=13), state(tick=8, pitch=13), direction="up") is True
    assert judge("look", state(), state(tick=4, pitch=13), direction="down") is False
    assert judge("look", state(pitch=13), state(tick=4, pitch=10), direction="down") is None  # it did so before


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (VerifierSpec("fly"), "unknown verifier 'fly'; this world knows .*face"),
        (VerifierSpec("go_to", {"target": 1}), "verifier go_to: wrong arguments"),
        (VerifierSpec("sequence", {"steps": []}), "a sequence needs steps"),
        (VerifierSpec("look", {"direction": "left"}), "verifier look: wrong arguments"),
    ],
)
def test_a_wrong_specification_is_refused(spec: VerifierSpec, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        world_tasks.of("doom").verifier(spec)
    assert world_tasks.verifier_of(Task("a", "sing", "doom")) is None


def test_a_plan_fetches_the_key_before_the_locked_door() -> None:
    first = errand(state(), (800.0, 300.0))
    assert first is not None
    assert first.thing == 0
    after = walk_through(state(), (800.0, 300.0))
    assert {o.id for o in after.objects} == {1, 2}
    assert opened(state(), 0).doors[0] > 0


def test_a_level_whose_key_is_behind_its_own_lock_cannot_be_solved() -> None:
    inside = (Thing("key", "red", 800, 300), *THINGS[1:])
    start = start_state(Level(ROOMS, (100, 300, 0), inside, (LOCKED,)))
    with pytest.raises(Unsolvable, match="door 0 bars the way"):
        walk_through(start, (800.0, 100.0))

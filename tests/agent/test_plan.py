"""Plans and ticks: the same plan at any tick rate, and recorded actions as plans."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.codec import Codec
from agent.plan import Plan, Stretch, actions_of, plan_of
from envs.action import KEYS, NEUTRAL, Action, KeyboardMouse
from envs.browser.keys import key_event
from tests.support.action_spaces import codecs, plans, recordings

HERTZ = (1.0, 7.0, 10.0, 30.0, 35.0, 60.0, 144.0, 240.0)
ALL = Codec(KeyboardMouse(pointer=True, wheel=True))


def presses(actions: tuple[Action, ...]) -> list[str]:
    """What goes down, in order."""
    down, out = frozenset[str](), []
    for action in actions:
        now = action.keys | action.buttons
        out += sorted(now - down)
        down = now
    return out


@given(data=st.data(), hertz=st.sampled_from(HERTZ))
@settings(deadline=None)
def test_a_plan_takes_its_time_at_any_tick_rate(data: st.DataObject, hertz: float) -> None:
    codec = data.draw(codecs())
    plan = data.draw(plans(codec, taps=False))
    actions = codec.actions(plan, hertz)
    ticks = plan.milliseconds * hertz / 1000.0
    assert len(actions) >= math.floor(ticks)
    still = all(s.look == (0.0, 0.0) and not s.wheel for s in plan.stretches)
    if still:
        assert len(actions) <= ticks + len(plan.stretches)
    if codec.space.max_look >= 20.0:
        for axis in (0, 1):
            wanted = math.fsum(s.look[axis] for s in plan.stretches)
            assert math.fsum(a.look[axis] for a in actions) == pytest.approx(wanted, abs=1e-6)
    assert math.fsum(a.wheel for a in actions) == pytest.approx(math.fsum(s.wheel for s in plan.stretches))


@pytest.mark.parametrize("hertz", HERTZ)
def test_every_tap_is_seen_and_let_go_of(hertz: float) -> None:
    plan = ALL.read("hold KeyW tap Space Space ControlLeft+KeyC click left left then tap Space")
    actions = ALL.actions(plan, hertz, last=Action(frozenset({"Space"})))
    assert presses(actions) == ["KeyW", "Space", "Space", "ControlLeft", "KeyC", "left", "left", "Space"]
    assert "Space" not in actions[0].keys  # it was down: it goes up before it is pressed
    assert actions[-1] == NEUTRAL
    assert len(list(itertools.groupby("KeyW" in a.keys for a in actions))) == 2  # held throughout, then no more


@pytest.mark.parametrize("hertz", [10.0, 30.0, 60.0])
def test_typed_text_arrives_as_it_was_written(hertz: float) -> None:
    """By the events of a browser, which presses the keys of a tick in the order of their names."""
    text, written = 'Hello "World"!!\n1+1=2 aa', ""
    down: set[str] = set()
    for action in ALL.actions(ALL.read("type " + '"Hello \\"World\\"!!\\n1+1=2 aa"'), hertz):
        down -= down - action.keys
        for key in sorted(action.keys - down):
            down.add(key)
            written += key_event(key, True, down).get("text", "")
    assert written.replace("\r", "\n") == text


@pytest.mark.parametrize("hertz", HERTZ)
def test_a_drag_presses_where_it_begins_and_lets_go_where_it_ends(hertz: float) -> None:
    actions = ALL.actions(ALL.read("drag 100 200 500 0 for 500ms"), hertz)
    held = [action.pointer for action in actions if "left" in action.buttons]
    assert held[0] == (0.1, 0.2)
    assert held[-1] == (0.5, 0.0)
    assert len(held) >= 3
    assert (actions[0].pointer, actions[0].buttons) == ((0.1, 0.2), frozenset())
    assert (actions[-1].pointer, actions[-1].buttons) == ((0.5, 0.0), frozenset())


def test_the_pointer_is_there_before_it_clicks() -> None:
    actions = ALL.actions(ALL.read("click right 420 310"), 30.0)
    assert (actions[0].pointer, actions[0].buttons) == ((0.42, 0.31), frozenset())
    assert actions[1].buttons == {"right"}


def test_a_slow_world_gets_more_time_to_turn() -> None:
    codec = Codec(KeyboardMouse(max_look=10.0))
    actions = codec.actions(codec.read("look 90 0"), 35.0)
    assert len(actions) == 9
    assert math.fsum(a.look[0] for a in actions) == pytest.approx(90.0)
    still = Codec(KeyboardMouse(max_look=0.001))
    assert len(still.actions(still.read("look 90 0"), 35.0)) < 400


@given(data=st.data(), hertz=st.sampled_from(HERTZ))
@settings(deadline=None)
def test_recorded_actions_come_back(data: st.DataObject, hertz: float) -> None:
    """Tick by tick what was held, and the sums of what moved."""
    codec = data.draw(codecs())
    actions = data.draw(recordings(codec))
    heard = [a.keys - codec.space.ignored | a.buttons - codec.space.ignored for a in actions]
    plan = codec.plan_of(actions, hertz)
    assert codec.read(codec.write(plan)) == plan
    if not any(a.wheel or max(map(abs, a.look)) > 30 for a in actions):
        back = codec.actions(plan, hertz)
        assert [a.keys | a.buttons for a in back] == heard
        if codec.looks:
            for axis in (0, 1):
                assert math.fsum(a.look[axis] for a in back) == pytest.approx(
                    math.fsum(a.look[axis] for a in actions), abs=0.005 * len(plan.stretches) + 1e-9
                )


def test_a_drag_by_hand_keeps_its_way() -> None:
    way = [Action(buttons=frozenset({"left"}) if 2 <= i < 9 else frozenset(), pointer=(i / 20, 0.5)) for i in range(12)]
    back = actions_of(plan_of(way, 60.0), 60.0)
    assert [(a.pointer, a.buttons) for a in back if a.buttons] == [(a.pointer, a.buttons) for a in way if a.buttons]


def test_a_short_press_reads_as_a_tap() -> None:
    jump = [Action(frozenset({"KeyW", "Space"} if i in (2, 3) else {"KeyW"})) for i in range(8)]
    assert ALL.write(ALL.plan_of(jump, 35.0)) == "hold KeyW for 57ms then hold KeyW Space for 57ms then hold KeyW"
    assert ALL.write(ALL.plan_of(jump, 35.0, taps=True)) == "hold KeyW tap Space for 229ms"
    for plan in ("tap Space", "hold KeyW tap Space KeyE", "click left"):
        actions = ALL.actions(ALL.read(plan), 35.0)
        assert ALL.write(ALL.plan_of(actions, 35.0, taps=True)).split(" for ")[0] == plan.replace(" KeyE", " tap KeyE")


def test_a_long_recording_is_cut_where_it_moves() -> None:
    actions = [Action(look=(float(i % 3), 0.0)) for i in range(40)]
    plan = plan_of(actions, 35.0)
    assert len(plan.stretches) == 10
    assert len(plan_of([NEUTRAL] * 35 * 25, 35.0).stretches) == 3


def test_what_is_no_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one action"):
        plan_of([], 30.0)
    with pytest.raises(ValueError, match="1 to 64"):
        Plan(())
    with pytest.raises(ValueError, match="no key 'KeyÄ'"):
        Stretch(hold=frozenset({"KeyÄ"}))
    for one, two in itertools.combinations((KEYS[0], "left"), 2):
        with pytest.raises(ValueError, match="is held"):
            Stretch(hold=frozenset({one}), events=(frozenset({one, two}),))

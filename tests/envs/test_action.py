"""Actions and their space: what goes to JSON comes back, and what is malformed is refused by name."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.action import BUTTONS, KEYS, NEUTRAL, Action, KeyboardMouse

number = st.floats(-1000, 1000)
actions = st.builds(
    Action,
    keys=st.frozensets(st.sampled_from(KEYS), max_size=5),
    buttons=st.frozensets(st.sampled_from(BUTTONS)),
    look=st.tuples(number, number),
    pointer=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
    wheel=number,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(actions)
def test_an_action_survives_json(action: Action):
    assert Action.from_json(json.loads(json.dumps(action.to_json()))) == action


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(json_values | st.dictionaries(st.sampled_from(["keys", "buttons", "look", "pointer", "wheel"]), json_values))
def test_any_json_is_an_action_or_a_value_error(data: object):
    try:
        action = Action.from_json(data)  # type: ignore[arg-type]
    except ValueError:
        return
    assert KeyboardMouse(max_look=1e308, pointer=True, wheel=True).contains(action)


def test_neutral_is_an_empty_object():
    assert NEUTRAL.to_json() == {}
    assert Action.from_json({}) == NEUTRAL


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"kees": []}, "unknown field 'kees'"),
        ({"keys": ["KeyÄ"]}, "action.keys: unknown name 'KeyÄ'"),
        ({"keys": "KeyW"}, "action.keys: expected a list of names"),
        ({"buttons": ["fourth"]}, "action.buttons: unknown name 'fourth'"),
        ({"look": [1]}, "action.look: expected two numbers"),
        ({"look": [math.nan, 0]}, "action.look: expected a finite number"),
        ({"look": [True, 0]}, "action.look: expected a number"),
        ({"pointer": [0.5, 1.01]}, "action.pointer: expected a point of the unit square"),
        ({"wheel": 10**400}, "action.wheel: expected a finite number"),
        (["keys"], "action: expected an object"),
        ({"wheel": "up"}, "action.wheel: expected a number"),
    ],
)
def test_a_malformed_action_is_refused_by_field(data: dict, says: str):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the text is compared below
        Action.from_json(data)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "space",
    [
        KeyboardMouse(seed=1),
        KeyboardMouse((), (), seed=1),
        KeyboardMouse(["KeyW"], ["left"], max_look=0.5, pointer=True, wheel=True, seed=1),
    ],
)
def test_samples_are_in_the_space_and_the_same_for_the_same_seed(space: KeyboardMouse):
    samples = [space.sample() for _ in range(200)]
    assert all(space.contains(sample) for sample in samples)
    assert space.from_jsonable(json.loads(json.dumps(space.to_jsonable(samples)))) == samples
    space.seed(1)
    assert [space.sample() for _ in range(200)] == samples
    assert len(set(samples)) > 50


@pytest.mark.parametrize(
    "outside",
    [
        Action(keys=frozenset({"KeyZ"})),
        Action(buttons=frozenset({"right"})),
        Action(look=(0.0, -10.5)),
        Action(look=(math.nan, 0.0)),
        Action(look=(0.0,)),  # type: ignore[arg-type]
        Action(pointer=(0.5, 0.5)),
        Action(wheel=1.0),
        {"keys": []},
        None,
    ],
)
def test_what_the_world_does_not_listen_to_is_outside(outside: object):
    space = KeyboardMouse(["KeyW"], ["left"], max_look=10.0)
    assert space.contains(Action(keys=frozenset({"KeyW"}), buttons=frozenset({"left"}), look=(-10.0, 10.0)))
    assert not space.contains(outside)


def test_spaces_compare_by_what_they_take():
    assert KeyboardMouse(["KeyW", "KeyA"]) == KeyboardMouse(["KeyA", "KeyW"])
    assert hash(KeyboardMouse(["KeyW"])) == hash(KeyboardMouse(["KeyW"]))
    assert KeyboardMouse(["KeyW"]) != KeyboardMouse(["KeyW"], pointer=True)
    with pytest.raises(ValueError, match="unknown name 'KeyÖ'"):
        KeyboardMouse(["KeyÖ"])

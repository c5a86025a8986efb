"""Key maps: what keyboard and mouse mean for every kind of action space, and where a picture is found."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from envs.action import KEYS, Action
from envs.errors import UserError
from envs.gymnasium.defaults import default_keys
from envs.gymnasium.keymap import KeyMap, dump
from envs.gymnasium.pixels import Rendered, find_picture


def hold(*names: str, look: tuple[float, float] = (0.0, 0.0)) -> Action:
    return Action(frozenset(names) & frozenset(KEYS), frozenset(names) - frozenset(KEYS), look)


class Bare(gymnasium.Env[Any, Any]):
    """An environment that is nothing but its action space, and what it tells of it."""

    def __init__(self, space: gymnasium.Space[Any], **told: Any) -> None:
        self.action_space = space
        for name, value in told.items():
            setattr(self, name, value)


def test_of_two_choices_the_one_that_holds_more_wins_then_the_first() -> None:
    rows = [{"hold": "KeyW", "do": 1}, {"hold": "KeyA", "do": 2}, {"hold": ["KeyA", "Space"], "do": 3}]
    keys = KeyMap(spaces.Discrete(4), {"none": 0, "press": rows})
    read = [keys.read(hold(*held)) for held in ((), ("KeyW",), ("KeyA", "KeyW"), ("KeyA", "Space", "KeyW"), ("Space",))]
    assert read == [0, 1, 1, 3, 0]
    assert keys.keys == {"KeyW", "KeyA", "Space"}
    assert KeyMap(spaces.Discrete(4), {"press": rows}).read(hold("left")) is None  # it waits


def test_a_mouse_movement_adds_up_to_whole_steps_and_comes_later_where_a_key_was_first() -> None:
    rows = [{"hold": "Space", "do": 9}, {"look": "right", "degrees": 10, "do": 1}, {"look": "down", "do": 2}]
    keys = KeyMap(spaces.Discrete(10), {"none": 0, "press": rows})
    moves = [(4.0, 0.0), (4.0, 0.0), (0.0, 0.0), (7.0, 0.0), (0.0, -14.0), (0.0, 0.0)]
    assert [keys.read(hold(look=look)) for look in moves] == [0, 1, 0, 1, 2, 0]
    assert [keys.read(hold("Space", look=(20.0, 0.0))), keys.read(hold()), keys.read(hold()), keys.read(hold())] == [
        9, 1, 1, 0,
    ]  # fmt: skip
    keys.read(hold("Space", look=(20.0, 0.0)))
    keys.reset()
    assert keys.read(hold()) == 0


def test_bits_are_set_side_by_side() -> None:
    space = spaces.MultiBinary((2, 2))
    rows = [{"hold": "KeyW", "do": 0}, {"hold": "left", "do": 3}, {"look": "left", "degrees": 2, "do": 2}]
    keys = KeyMap(space, {"press": rows})
    read = keys.read(hold("KeyW", "left", look=(-2.0, 0.0)))
    assert read.tolist() == [[1, 0], [1, 1]]
    assert space.contains(read)
    assert keys.read(hold()).tolist() == [[0, 0], [0, 0]]
    assert keys.buttons == {"left"}


def test_axes_take_two_keys_or_the_mouse_and_stay_within_their_bounds() -> None:
    space = spaces.Box(np.array([-2, 0, -9], np.float32), np.array([2, 1, 9], np.float32))
    axes = [
        {"more": "KeyD", "less": "KeyA", "low": -1},
        {"more": "KeyW", "none": 0.25},
        {"look": "pitch", "per_degree": -0.5},
    ]
    keys = KeyMap(space, axes)
    assert keys.read(hold()).tolist() == [0.0, 0.25, 0.0]
    assert keys.read(hold("KeyD", "KeyW", look=(3.0, 4.0))).tolist() == [2.0, 1.0, -2.0]
    assert keys.read(hold("KeyA", look=(0.0, -90.0))).tolist() == [-1.0, 0.25, 9.0]
    assert keys.read(hold("KeyA", "KeyD")).tolist() == [0.0, 0.25, 0.0]
    assert space.contains(keys.read(hold("KeyA")))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5, start=2),
        spaces.MultiBinary(40),
        spaces.MultiDiscrete([3, 3, 2, 90], start=[0, 1, 0, 0]),
        spaces.Box(-1, 1, (3, 9)),
        spaces.Box(0, 255, (2,), np.uint8),
        spaces.Box(-np.inf, np.inf, (2,)),
        spaces.Box(np.float32([-1, 0, 2]), np.float32([1, 1, 3])),
        spaces.Dict({"walk": spaces.Discrete(3), "arm": spaces.Box(-1, 1, (2,)), "grip": spaces.MultiBinary(1)}),
        spaces.Tuple([spaces.Discrete(2), spaces.Tuple([spaces.Box(-1, 1, (1,)), spaces.Discrete(3)])]),
    ],
    ids=str,
)
def test_a_default_map_gives_actions_of_its_space_and_uses_no_key_twice(space: gymnasium.Space[Any]) -> None:
    data = default_keys(Bare(space))
    keys = KeyMap(space, data)
    rng = np.random.default_rng(0)
    seen = []
    names = sorted(keys.keys)
    assert names
    for held in ((), *((name,) for name in names), *(rng.permutation(names)[:3] for _ in range(20))):
        action = keys.read(hold(*held))
        assert action is None or space.contains(action), (held, action)
        seen.append(str(action))
    assert len(set(seen[: 1 + len(names)])) == 1 + len(names)  # every key makes a difference of its own
    assert dump(data) == dump(default_keys(Bare(space)))


def test_names_of_actions_choose_the_keys() -> None:
    import ale_py  # noqa: F401
    import vizdoom.gymnasium_wrapper  # noqa: F401

    with gymnasium.make("ALE/Breakout-v5") as breakout:
        assert default_keys(breakout) == {
            "none": 0,
            "press": [
                {"name": "FIRE", "hold": "Space", "do": 1},
                {"name": "RIGHT", "hold": "KeyD", "do": 2},
                {"name": "LEFT", "hold": "KeyA", "do": 3},
            ],
        }
    with gymnasium.make("ALE/Boxing-v5") as boxing:
        keys = KeyMap(boxing.action_space, default_keys(boxing))
        meanings = boxing.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
        assert meanings[keys.read(hold("KeyW", "KeyA", "Space"))] == "UPLEFTFIRE"
        assert meanings[keys.read(hold("KeyS"))] == "DOWN"
        assert meanings[keys.read(hold())] == "NOOP"
    with gymnasium.make("VizdoomDeathmatch-v1") as doom:
        keys = KeyMap(doom.action_space, default_keys(doom))
        read = keys.read(hold("KeyW", look=(3.0, -2.0)))
        assert read["continuous"].tolist() == [-2.0, 3.0, 0.0]
        assert read["binary"] == keys.read(hold("KeyW"))["binary"] != keys.read(hold())["binary"]
    with gymnasium.make("VizdoomDefendCenter-MultiBinary-v1") as doom:
        keys = KeyMap(doom.action_space, default_keys(doom))
        names = [button.name for button in doom.unwrapped.game.get_available_buttons()]  # type: ignore[attr-defined]
        on = keys.read(hold("left", "ArrowLeft"))
        assert {name for name, bit in zip(names, on, strict=True) if bit} == {"ATTACK", "TURN_LEFT"}


@pytest.mark.parametrize(
    ("space", "data", "said"),
    [
        (spaces.Discrete(2), {"press": [{"hold": "W", "do": 0}]}, r"keys\.press\[0\]\.hold: unknown key 'W'; expected"),
        (spaces.Discrete(2), {"press": [{"do": 0}]}, r"keys\.press\[0\]: expected hold or look, one of the two"),
        (spaces.Discrete(2), {"press": [{"hold": "KeyW", "do": 2}]}, r"keys\.press\[0\]\.do: 2 is no action; .*to 1"),
        (spaces.Discrete(2), {"press": [{"hold": "KeyW"}]}, r"keys\.press\[0\]\.do: is missing"),
        (spaces.Discrete(2), {"press": [], "none": 5}, r"keys\.none: 5 is no action"),
        (spaces.Discrete(2), {"press": [], "idle": 0}, r"keys\.idle: unknown key"),
        (spaces.Discrete(2), [1], r"keys: input should be"),
        (spaces.Discrete(2), {"press": [{"look": "left", "degrees": 0, "do": 0}]}, r"keys\.press\[0\]\.degrees: "),
        (spaces.MultiBinary(2), {"press": [{"hold": "KeyW", "do": 2}]}, r"keys\.press\[0\]\.do: 2 is no action"),
        (spaces.MultiDiscrete([2, 2]), [{"press": []}], r"keys: expected a list of 2 parts, got a list of 1"),
        (spaces.MultiDiscrete([2]), [{"press": []}], r"keys\[0\]\.none: expected a number"),
        (spaces.Box(-1, 1, (2,)), [{"more": "KeyW"}, {"les": "KeyS"}], r"keys\[1\]\.les: unknown key"),
        (spaces.Box(-1, 1, (1,)), {"more": "KeyW"}, r"keys: expected a list of 1 axes, got dict"),
        (spaces.Dict({"a": spaces.Discrete(2)}), {"b": {}}, r"keys: expected a map with 'a'"),
        (
            spaces.Dict({"a": spaces.Tuple([spaces.Discrete(2)])}),
            {"a": [{"none": 0, "press": [{"hold": 1, "do": 0}]}]},
            r"keys\.a\[0\]\.press\[0\]\.hold: ",
        ),
        (spaces.Text(3), None, r"keys: an action space Text\(.*\) can't be played"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_map_is_said_with_its_place(space: gymnasium.Space[Any], data: Any, said: str) -> None:
    with pytest.raises(UserError, match=rf"^{said}") as caught:
        KeyMap(space, data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "newest"),
    [
        ((30, 40, 3), lambda x: x),
        ((3, 30, 40), lambda x: x.transpose(1, 2, 0)),
        ((30, 40), lambda x: x[..., None].repeat(3, -1)),
        ((30, 40, 1), lambda x: x.repeat(3, -1)),
        ((4, 30, 40), lambda x: x[-1][..., None].repeat(3, -1)),
        ((30, 40, 6), lambda x: x[..., 3:]),
        ((2, 30, 40, 3), lambda x: x[-1]),
        ((2, 3, 30, 40), lambda x: x[-1].transpose(1, 2, 0)),
    ],
)
def test_pictures_of_every_layout_become_rgb(shape: tuple[int, ...], newest: Any) -> None:
    space = spaces.Box(0, 255, shape, np.uint8, seed=0)
    picture = find_picture(space)
    assert picture is not None
    x = space.sample()
    frame = picture(x)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous
    assert not np.shares_memory(frame, x)
    assert (frame == newest(x)).all()


def test_the_right_entry_of_a_dict_is_the_picture_and_symbols_are_none() -> None:
    def image(n: int) -> spaces.Box:
        return spaces.Box(0, 255, (n, n, 3), np.uint8)

    observation = {"depth": np.zeros((30, 30, 3), np.uint8), "screen": np.full((30, 30, 3), 7, np.uint8)}
    space = spaces.Dict({"depth": image(30), "screen": image(30), "health": spaces.Discrete(3)})
    for key, value in ((None, 7), ("depth", 0)):
        picture = find_picture(space, key)
        assert picture is not None
        assert picture(observation).max() == value
    assert find_picture(space, "health") is None
    assert find_picture(spaces.Dict({"image": image(7), "direction": spaces.Discrete(4)})) is None
    assert find_picture(spaces.Box(0, 1, (30, 30, 3), np.float32)) is None
    assert find_picture(spaces.Box(0, 255, (128,), np.uint8)) is None
    with pytest.raises(ValueError, match=r"render\(\) gave NoneType; expected an RGB array"):
        Rendered().frame(None)
    assert Rendered().frame(np.ones((2, 3, 4), np.uint8)).shape == (2, 3, 3)

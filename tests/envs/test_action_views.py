"""Keyboard and mouse as Discrete and Box: what each number means is declared, and is what the world gets."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

from envs.action import NEUTRAL, Action, KeyboardMouse
from envs.action_views import BoxActions, DiscreteActions, action_table
from envs.instructions import LENGTH, WORDS, InstructionIds, Words, word_ids
from tests.support.worlds import ArrowsWorld, SquareWorld


class Menu(SquareWorld):
    """A world with a pointer and a wheel, in which looking does nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = KeyboardMouse(("KeyW",), ("left",), pointer=True, wheel=True, ignored=("look",))


def test_the_table_has_every_key_button_and_turn() -> None:
    table = action_table(SquareWorld().action_space, turn=3.0)
    walk = frozenset({"KeyW"})
    assert table == (
        NEUTRAL, *(Action(frozenset({f"Key{c}"})) for c in "ADSW"), Action(buttons=frozenset({"left"})),
        Action(look=(-3.0, 0.0)), Action(look=(3.0, 0.0)), Action(look=(0.0, 3.0)), Action(look=(0.0, -3.0)),
        Action(walk, look=(-3.0, 0.0)), Action(walk, look=(3.0, 0.0)),
    )  # fmt: skip
    assert action_table(ArrowsWorld().action_space) == (
        NEUTRAL, Action(frozenset({"ArrowLeft"})), Action(frozenset({"ArrowRight"}))
    )  # fmt: skip
    assert all(action in SquareWorld().action_space for action in action_table(SquareWorld().action_space, turn=900.0))


def test_a_number_does_what_the_table_says() -> None:
    world = SquareWorld()
    env = DiscreteActions(world)
    assert env.action_space == gymnasium.spaces.Discrete(12)
    env.reset(seed=1)
    for number, action in enumerate(env.table):
        env.step(np.int64(number))
        assert world.down == action
    with pytest.raises(ValueError, match="expected a number below 12, got 12"):
        env.step(12)
    own = DiscreteActions(SquareWorld(), [NEUTRAL, Action(frozenset({"KeyW", "KeyD"}))])
    assert own.action_space == gymnasium.spaces.Discrete(2)
    with pytest.raises(ValueError, match=r"expected actions of KeyboardMouse.*ArrowUp"):
        DiscreteActions(SquareWorld(), [Action(frozenset({"ArrowUp"}))])


def test_a_vector_does_what_its_columns_say() -> None:
    world = SquareWorld()
    env = BoxActions(world, turn=10.0)
    assert env.columns == ("key.KeyA", "key.KeyD", "key.KeyS", "key.KeyW", "button.left", "look.yaw", "look.pitch")
    env.reset(seed=1)
    env.step(np.array([1.0, -1.0, 0.0, 0.2, 0.5, -0.5, 0.25], np.float32))
    assert world.down == Action(frozenset({"KeyA", "KeyW"}), frozenset({"left"}), (-5.0, 2.5))
    for wrong in ([0.0] * 6, [np.nan] * 7):
        with pytest.raises(ValueError, match="expected 7 finite numbers"):
            env.step(wrong)
    menu = BoxActions(Menu())
    assert menu.columns == ("key.KeyW", "button.left", "pointer.x", "pointer.y", "wheel")
    assert menu.translate([-1, -1, -1, 0.5, 0.5]) == Action(pointer=(0.0, 0.75), wheel=1.0)
    assert menu.translate([-1, -1, 1, 1, -0.2]) == Action(pointer=(1.0, 1.0))


def test_every_sample_of_a_view_is_an_action_of_the_world() -> None:
    for make in (DiscreteActions, BoxActions):
        for world in (SquareWorld(), ArrowsWorld(), Menu()):
            env = make(world)
            env.action_space.seed(0)
            assert all(env.translate(env.action_space.sample()) in world.action_space for _ in range(50))


def test_only_keyboard_and_mouse_have_these_views() -> None:
    with pytest.raises(ValueError, match="expected an environment with the actions of a KeyboardMouse, got Discrete"):
        DiscreteActions(gymnasium.make("CartPole-v1"))


def test_words_are_numbers_that_stay() -> None:
    ids = word_ids("Go to the RED torch, to the torch!")
    assert (ids.shape, ids.dtype) == ((LENGTH,), np.int32)
    assert ids.max() < WORDS
    assert (ids[:8] > 0).all()
    assert not ids[8:].any()
    assert ids[1] == ids[5] == word_ids("to")[0]
    assert ids[3] == word_ids("red")[0] == 1696  # the same in every process and version
    assert len(set(word_ids("red blue green key torch orb face shoot")[:8].tolist())) == 8
    assert word_ids("a " * 99).all()
    assert Words.fit("türkis " * 99) in Words()


def test_what_has_no_instruction_has_no_words() -> None:
    with pytest.raises(ValueError, match="expected observations with an instruction"):
        InstructionIds(SquareWorld())

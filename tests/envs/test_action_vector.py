"""Actions of any world as vectors with the same columns, and back."""

from __future__ import annotations

import numpy as np
import pytest

from envs.action import KEYS, Action, KeyboardMouse
from envs.action_vector import COLUMNS, from_vectors, to_vectors


def test_actions_come_back() -> None:
    space = KeyboardMouse(pointer=True, wheel=True, seed=3)
    actions = [space.sample() for _ in range(200)] + [Action(), Action(frozenset(KEYS), frozenset({"left"}))]
    vectors = to_vectors(actions)
    assert vectors.dtype == np.float32
    assert vectors.shape == (202, len(COLUMNS))
    back = from_vectors(vectors)
    for action, other in zip(actions, back, strict=True):
        assert (other.keys, other.buttons, other.wheel) == (action.keys, action.buttons, action.wheel)
        assert other.look == pytest.approx(action.look, abs=1e-5)
        assert other.pointer == (None if action.pointer is None else pytest.approx(action.pointer, abs=1e-6))
    assert np.array_equal(to_vectors(back), vectors)


def test_columns_have_names_and_places() -> None:
    (row,) = to_vectors([Action(frozenset({"Space"}), frozenset({"right"}), (3.0, -1.0), (0.5, 0.25), -1.0)])
    named = {name: float(value) for name, value in zip(COLUMNS, row, strict=True) if value}
    assert named == {
        "key.Space": 1.0, "button.right": 1.0, "look.yaw": 3.0, "look.pitch": -1.0, "pointer.x": 0.5, "pointer.y": 0.25,
        "pointer.there": 1.0, "wheel": -1.0,
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((2, 3)), np.full((1, len(COLUMNS)), np.nan)])
def test_what_is_no_vector_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="action vectors: expected"):
        from_vectors(wrong)

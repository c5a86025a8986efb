"""The action codec: every token quadruple survives the way to actions and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import codec
from envs.action import NEUTRAL, Action

tokens = st.tuples(*(st.integers(0, size - 1) for size in codec.SIZES))


@given(tokens)
def test_round_trip(quadruple: codec.Tokens) -> None:
    decision = codec.decode(quadruple)
    assert len(decision.actions) == codec.CHUNK
    assert codec.encode(decision.actions, decision.done) == quadruple


@given(
    st.lists(
        st.builds(
            Action,
            keys=st.frozensets(st.sampled_from(["KeyW", "KeyA", "KeyS", "KeyD", "KeyE", "Space"])),
            buttons=st.frozensets(st.sampled_from(["left", "right"])),
            look=st.tuples(st.floats(-45, 45), st.floats(-45, 45)),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_chunk_has_tokens(actions: list[Action]) -> None:
    quadruple = codec.encode(actions)
    assert codec.encode(codec.decode(quadruple).actions) == quadruple


def test_noop_does_nothing() -> None:
    assert codec.decode(codec.NOOP).actions == (NEUTRAL,) * codec.CHUNK


def test_use_is_pressed_anew_in_every_decision() -> None:
    held = ["KeyE" in action.keys for action in codec.decode(codec.tokens_of(hand="use")).actions]
    assert held[0]
    assert not held[-1]


@pytest.mark.parametrize("bad", [(0, 0, 0), (17, 0, 0, 0), (0, 0, 0, -1)])
def test_what_is_no_decision_is_refused(bad: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected four"):
        codec.decode(bad)

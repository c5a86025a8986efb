"""The action codec: every token quadruple survives the way to actions and back."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import doom_codec as codec
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


@given(tokens)
def test_text_round_trip(quadruple: codec.Tokens) -> None:
    assert codec.from_text(codec.to_text(quadruple)) == quadruple


def test_every_decision_has_a_text_of_its_own() -> None:
    texts = {codec.to_text(quadruple) for quadruple in itertools.product(*map(range, codec.SIZES))}
    assert len(texts) == math.prod(codec.SIZES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("turn 16 look 0 forward left attack", codec.tokens_of(16, 0, 1, -1, "attack")),
        ("turn -4 look 12", codec.tokens_of(-4, 12)),
        ("BACK use\n", codec.tokens_of(forth=-1, hand="use")),
        ("turn -90.5 look 3", codec.tokens_of(-32, 4)),
        ("turn 0 look 0 done", codec.tokens_of(hand="done")),
    ],
)
def test_text_as_people_write_it(text: str, expected: codec.Tokens) -> None:
    assert codec.from_text(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("jump", "unknown word 'jump'"),
        ("turn left", "turn takes degrees, not 'left'"),
        ("look", "look takes degrees"),
        ("turn nan", "turn takes degrees"),
        ("forward back", "'back' beside another 'forth'"),
        ("turn 1 turn 2", "'turn' beside another 'turn'"),
    ],
)
def test_text_that_is_no_action_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as error:
        codec.from_text(text)
    assert "expected 'turn DEGREES" in str(error.value)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        quadruple = codec.from_text(text)
    except ValueError:
        return
    codec.decode(quadruple)

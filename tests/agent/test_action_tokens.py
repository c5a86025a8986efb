"""The token form: every decision that the masks allow is a plan, and comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.action_tokens import (
    DEGREES,
    DONE,
    END,
    MOST_KEYS,
    MOST_STRETCHES,
    SIZE,
    TIMES,
    VOCABULARY,
    State,
    decode,
    encode,
    token_names,
)  # fmt: skip
from agent.codec import Codec
from agent.plan import Plan, Stretch
from envs.action import KEYS, KeyboardMouse
from tests.support.action_spaces import Refusing, codecs, plans


@given(data=st.data())
@settings(deadline=None)
def test_whatever_the_masks_allow_is_a_decision_of_the_world(data: st.DataObject) -> None:
    codec = data.draw(codecs())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    state, tokens = State(), []
    while not state.over:
        allowed = np.flatnonzero(state.allowed(codec))
        assert len(allowed)
        tokens.append(int(rng.choice(allowed)))
        state = state.after(tokens[-1])
    plan = decode(tokens)
    assert encode(plan) == tuple(tokens)
    assert all(codec.space.contains(action) for action in codec.actions(plan, 30.0))
    assert codec.read(codec.write(plan)) == plan


@given(data=st.data())
@settings(deadline=None)
def test_a_plan_comes_back_within_the_bins(data: st.DataObject) -> None:
    plan = data.draw(plans(Codec(KeyboardMouse(pointer=True, wheel=True)), taps=False))
    back = decode(encode(plan))
    assert (len(back.stretches), back.done) == (len(plan.stretches), plan.done)
    owed = 0.0  # milliseconds that the bins are behind
    for one, two in zip(plan.stretches, back.stretches, strict=True):
        names = set(one.hold)
        assert two.hold <= names
        assert len(names - two.hold) == max(0, len(names & set(KEYS)) - MOST_KEYS)
        for x, y in zip(one.look, two.look, strict=True):
            assert abs(x - y) == min(abs(x - bin) for bin in DEGREES)
        wanted = one.milliseconds + owed
        assert abs(wanted - two.milliseconds) == min(abs(wanted - time) for time in TIMES)
        owed = min(max(wanted - two.milliseconds, -60.0), 60.0)
        if one.pointer is not None and two.pointer is not None:
            assert max(abs(a - b) for a, b in zip(one.pointer, two.pointer, strict=True)) <= 5


def test_one_vocabulary_holds_all_keys_and_no_name_twice() -> None:
    assert [value for name, value in VOCABULARY if name == "key"] == list(KEYS)
    assert len(set(token_names())) == SIZE < 512


def test_a_recording_in_doom_has_no_loss_in_keys() -> None:
    codec = Codec(KeyboardMouse())
    actions = codec.actions(codec.read("hold KeyW look 16 -4 tap Space"), 35.0)
    tokens = encode(codec.plan_of(actions, 35.0))
    back = codec.actions(decode(tokens), 35.0)
    assert [a.keys for a in back] == [a.keys for a in actions]
    assert len(tokens) < 12


@pytest.mark.parametrize("tokens", [[], [END], [SIZE, END], [-1], [0], [DONE, END]])
def test_what_is_no_decision_is_refused(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="action tokens"):
        decode(tokens)


def test_what_tokens_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Codec\.plan_of"):
        encode(Plan((Stretch(events=("hello",)),)))
    with pytest.raises(ValueError, match="at most 6"):
        encode(Plan((Stretch(),) * (MOST_STRETCHES + 1)))


def test_no_mask_allows_a_forbidden_combination() -> None:
    state = State()
    held = ("ControlLeft", "KeyW")
    first, second = (VOCABULARY.index(("key", key)) for key in sorted(held, key=KEYS.index))
    codec = Codec(Refusing(KEYS, ("left",)))
    assert state.allowed(codec)[first]
    assert not state.after(first).allowed(codec)[second]

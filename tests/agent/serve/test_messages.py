"""The messages of a policy server: what arrives is what was sent, and nonsense is a MessageError."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.policy import Context, Decision, PolicySpec, Sent
from agent.serve.messages import (
    MessageError,
    of_context,
    of_decision,
    of_spec,
    packed,
    to_context,
    to_decision,
    to_spec,
    unpacked,
)
from agent.view import View
from envs.action import NEUTRAL, Action
from tests.support.policy_server import picture


@settings(max_examples=60)
@given(st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["frames", "instruction", "actions", "keys", "height", "rgb", "picture", "dialogue"]), inner),
))  # fmt: skip
def test_nothing_that_is_sent_raises_but_a_message_error(data: Any) -> None:
    good = of_context(Context((picture(),), "go"))
    for tried in (data, {**good, **data} if isinstance(data, dict) else [data]):
        try:
            to_context(tried)
        except MessageError:
            continue


@given(st.binary(max_size=40))
def test_no_bytes_raise_but_a_message_error(body: bytes) -> None:
    try:
        unpacked(body)
    except MessageError:
        return


def test_a_context_arrives_as_it_was_sent() -> None:
    rng = np.random.default_rng(1)
    frames = tuple(rng.integers(0, 256, (4, 6, 3), np.uint8) for _ in range(2))
    context = Context(
        frames, "go to the tórch", ((NEUTRAL, Action(frozenset({"KeyW"}), frozenset({"left"}), (1.5, -0.1))), ()),
        ("red torch left", ""), frames[0][::-1, ::2], (("user", "hi"),), "did: nothing.", 2**32 - 1, 3, (4, 8), "look",
    )  # fmt: skip
    arrived = to_context(unpacked(packed({"type": "act", "context": of_context(context)}))["context"])
    assert all((a == b).all() for a, b in zip(arrived.frames, frames, strict=True))
    assert arrived.picture is not None
    assert (arrived.picture == context.picture).all()
    assert replace(arrived, frames=(), picture=None) == replace(context, frames=(), picture=None)


def test_a_decision_arrives_as_it_was_sent() -> None:
    sent = Sent(((4, 6), (8, 12)), 100, None)
    action = Action(pointer=(0.25, 1.0), wheel=-1.0)
    decision = Decision((NEUTRAL, action), "a door", "hello", True, (3, 4), (-0.1, 0.0), sent)
    assert to_decision(unpacked(packed({"type": "d", "d": of_decision(decision)}))["d"]) == decision


@pytest.mark.parametrize(
    "view", [View(), View((720, 1280), exactly=False, frames=4, apart=500.0, earlier=(180, 320), tokens=8192)]
)
def test_what_a_policy_wants_arrives_as_it_was_sent(view: View) -> None:
    spec = PolicySpec(view, history=4, chunk=7, tick_hz=60.0, codec="keys1", starved="release", whole=True)
    assert to_spec(unpacked(packed({"type": "s", "s": of_spec(spec)}))["s"]) == spec


@pytest.mark.parametrize(
    "wrong",
    [{"chunk": 0}, {"chunk": 10**9}, {"tick_hz": 0.0}, {"starved": "explode"}, {"view": {"size": [10**6, 10**6]}}, 3],
)
def test_a_policy_wants_nothing_beyond_measure(wrong: Any) -> None:
    data = {**of_spec(PolicySpec()), **wrong} if isinstance(wrong, dict) else wrong
    with pytest.raises(MessageError, match="spec"):
        to_spec(data)

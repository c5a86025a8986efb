"""A decision of `act_invariant` is the same, bit for bit, whatever else is decided in the same batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from agent.policy import Context, Decision
from agent.small import load_small
from agent.small.decoder import Decoder
from agent.small.policy import SmallPolicy
from agent.small.prompt import Prompt
from envs.action import Action

WALK = (Action(keys=frozenset({"KeyW"})),) * 4


@pytest.fixture(scope="module")
def small() -> SmallPolicy:
    return load_small()


def contexts() -> list[Context]:
    """Contexts of many shapes: short and long instructions, with and without a past, stuck, and with a picture."""
    rng = np.random.default_rng(4)
    made = []
    texts = ("go to the red torch", "pick up the blue key", "shoot the imp and then go to the barrel", "press it")
    for number in range(11):
        frame = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        past = number % 4
        actions = ((Action(),) * 4,) * 8 if number == 7 else (WALK,) * past
        made.append(
            Context(
                frames=(frame,), instruction=texts[number % 4], actions=actions,
                thoughts=("torch (12, 9)",) * len(actions), seed=number,
            )
        )  # fmt: skip
    made[3] = replace(made[3], instruction=" and then ".join(["go to the red torch"] * 8))
    made[5] = replace(made[5], picture=rng.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    return made


def scored(
    small: SmallPolicy, monkeypatch: pytest.MonkeyPatch, decide: Callable[[Sequence[Context]], list[Decision]]
) -> Callable[[Sequence[Context]], list[tuple[Decision, list[float]]]]:
    """Decisions with the log-probabilities of their tokens, in which any difference shows."""
    seen: dict[bytes, list[float]] = {}
    write, memory = Decoder.write, SmallPolicy._encode
    keys: list[bytes] = []
    mine = threading.get_ident()  # a thread that another test left behind may still decide

    def remember(self: SmallPolicy, frames: Sequence[np.ndarray], asked: Sequence[Prompt], words: int = 0) -> object:
        if threading.get_ident() == mine:
            keys[:] = [frame.tobytes() for frame in frames]
        return memory(self, frames, asked, words)

    def note(self: Decoder, *args: object, **kwargs: object) -> list[list[float]]:
        scores = write(self, *args, **kwargs)  # type: ignore[arg-type]
        if threading.get_ident() == mine:
            for key, score in zip(keys, scores, strict=False):
                seen.setdefault(key, score)
        return scores

    monkeypatch.setattr(SmallPolicy, "_encode", remember)
    monkeypatch.setattr(Decoder, "write", note)

    def decided(batch: Sequence[Context]) -> list[tuple[Decision, list[float]]]:
        seen.clear()
        return [(one, seen[context.frames[-1].tobytes()]) for one, context in zip(decide(batch), batch, strict=True)]

    return decided


def test_neighbours_and_their_number_change_nothing(small: SmallPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    made = contexts()
    decide = scored(small, monkeypatch, small.act_invariant)
    alone = [decide([one])[0] for one in made]
    rng = np.random.default_rng(0)
    for size in (2, 3, 5, 8, 11):
        for _ in range(3):
            chosen = rng.permutation(len(made))[:size].tolist()
            assert decide([made[i] for i in chosen]) == [alone[i] for i in chosen]


def test_it_decides_as_the_plain_way_does(small: SmallPolicy) -> None:
    made = contexts()
    assert small.act_invariant(made) == [small.act([one])[0] for one in made]


def test_guidance_and_a_task_that_is_not_ended_are_invariant_too(
    small: SmallPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    guided = SmallPolicy(small.model, guidance=1.0)
    calls: list[int] = []
    rows = Decoder.write

    def note(self: Decoder, encoded: object, *args: object, **kwargs: object) -> list[list[float]]:
        calls.append(encoded.text.shape[0])  # type: ignore[attr-defined]
        return rows(self, encoded, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Decoder, "write", note)
    monkeypatch.setattr(
        "agent.small.policy.without_unlikely_ends",
        lambda turns, scores: {1: replace(turns[1], tokens=[], done=False, said=-1, went=-1, avoided_end=0.5)},
    )
    made = contexts()[:2]
    assert guided.act_invariant(made)[0] == guided.act_invariant(made[:1] * 2)[0]
    assert set(calls) == {16}

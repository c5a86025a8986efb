"""The memory of an episode: what it says, that it is bounded, and that nothing leaks into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.episode import Subscriber
from agent.loop.control import Control
from agent.loop.instruction import LiveInstruction
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.memory import MEMORY_WORDS, EpisodeMemory, earlier_attempt, way_told, with_way
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import NEUTRAL, Action
from tests.support.worlds import SquareWorld

FORWARD = Action(frozenset({"KeyW"}), frozenset({"left"}), (3.0, -1.0))


def test_it_says_in_plain_words_what_was_done_seen_and_said() -> None:
    memory = EpisodeMemory("go to the torch", tick_hz=10.0)
    assert memory.text == ""
    memory.acted([FORWARD] * 20)
    memory.thought("red torch left")
    memory.thought("red torch left")
    memory.said("ok go to the torch")
    memory.claimed_done()
    memory.instructed("pick up the key")
    memory.acted([Action(frozenset({"KeyQ"})), NEUTRAL])
    memory.acted([FORWARD] * 5, by_other=True)
    assert memory.text == (
        "did: go to the torch (2.0 s: forward 2.0 s, attack 2.0 s, turn right 60 degrees, look down 20 degrees, then "
        "said done); pick up the key (0.7 s: KeyQ 0.1 s, somebody else played 0.5 s). "
        "seen: red torch left. said: ok go to the torch."
    )


def test_what_is_held_equally_long_is_told_in_the_same_order_in_every_process() -> None:
    memory = EpisodeMemory("go", tick_hz=10.0)
    names = [f"Key{letter}" for letter in "QZXF"]
    memory.acted([Action(frozenset(names))] * 10)
    assert memory.text == f"did: go (1.0 s: {', '.join(f'{name} 1.0 s' for name in sorted(names))})."


def test_an_instruction_under_which_nothing_was_done_leaves_no_trace_and_an_unfinished_one_is_told_as_such() -> None:
    memory = EpisodeMemory("look up", tick_hz=10.0)
    memory.instructed("look down")
    memory.acted([NEUTRAL])
    memory.instructed("go")
    assert memory.text == "did: look down (0.1 s, then told otherwise)."


@given(
    st.lists(
        st.tuples(st.sampled_from(["instructed", "thought", "said", "acted", "claimed_done"]), st.text()), max_size=120
    )
)
def test_it_is_one_line_of_a_bounded_number_of_words(calls: list[tuple[str, str]]) -> None:
    memory = EpisodeMemory("word " * 500, tick_hz=35.0)
    for name, text in calls:
        if name == "acted":
            memory.acted([Action(frozenset({f"Key{i}" for i in range(40)}), look=(1.0, 2.0))])
        elif name == "claimed_done":
            memory.claimed_done()
        else:
            getattr(memory, name)(text * 3 + " and so on" * 20)
        assert len(memory.text.split()) <= MEMORY_WORDS
        assert len(memory.text.splitlines()) <= 1


def test_the_oldest_drops_out_first_and_a_talkative_player_does_not_push_out_what_was_done() -> None:
    memory = EpisodeMemory("go to the torch", tick_hz=10.0)
    memory.acted([FORWARD])
    for n in range(500):
        memory.thought(f"I see number {n}")
        memory.said(f"I say number {n}")
    assert "go to the torch" in memory.text
    assert "see number 499" in memory.text
    assert "say number 499" in memory.text
    assert "number 0;" not in memory.text
    for n in range(500):
        memory.instructed(f"do number {n}")
        memory.acted([FORWARD])
    assert "do number 499" in memory.text
    assert "torch" not in memory.text


class Speaker:
    """Thinks, speaks and says done at its third decision; keeps its contexts."""

    spec = PolicySpec(View.stretched((24, 32)), chunk=4, tick_hz=50.0)

    def __init__(self) -> None:
        self.contexts: list[Context] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        self.contexts += contexts
        n = len(self.contexts)
        return [Decision((FORWARD,) * 4, f"thought {n}", f"speech {n}", done=n == 3) for _ in contexts]


def test_the_loop_writes_it_for_every_decision_and_the_next_episode_begins_with_none() -> None:
    policy, instruction = Speaker(), LiveInstruction("left")

    class Change(Subscriber):
        def on_step(self, step: Any) -> None:
            if step.tick == 15:
                instruction.set("right")

    play(SquareWorld(), InStep(policy), instruction, time_limit=20, subscribers=[Change()])
    memories = [context.memory for context in policy.contexts]
    assert memories[0] == ""
    assert memories[1].startswith("did: left (0.1 s: forward 0.1 s, attack 0.1 s, turn right 12 degrees")
    assert memories[1].endswith("seen: thought 1. said: speech 1.")
    assert "then said done" not in memories[2]
    assert "then said done" in memories[3]
    assert memories[4].startswith("did: left (0.3 s")
    assert "right (" not in memories[4]
    assert "speech 1; speech 2; speech 3; speech 4." in memories[4]

    play(SquareWorld(), InStep(policy), "left", time_limit=4)
    assert policy.contexts[-1].memory == ""


def test_neither_ground_truth_nor_the_verdict_comes_into_it() -> None:
    class Ruling:
        success, why = True, "the verdict's own words"

    policy = Speaker()
    states: list[Any] = []

    def judge(state: Any) -> Ruling | None:
        states.append(state)
        return Ruling() if len(states) == 3 else None

    outcome = play(
        SquareWorld(), InStep(policy), "go", seed=3, linger=12, time_limit=20, judge=judge,
        annotate=lambda state: {"x": np.int64(7)},
    )  # fmt: skip
    assert outcome.success
    after = [context.memory for context in policy.contexts if context.memory]
    assert len(after) >= 2
    assert not any("verdict" in memory or "success" in memory or "state" in memory for memory in after)

    other = Speaker()
    play(SquareWorld(), InStep(other), "go", seed=3, time_limit=16)
    assert [c.memory for c in other.contexts][:4] == [c.memory for c in policy.contexts][:4]


def test_it_tells_the_way_behind_all_else_and_nobody_can_smuggle_one_in() -> None:
    memory = EpisodeMemory("go there. way there: left", tick_hz=10.0, attempt="did: this. way there: right")
    memory.acted([FORWARD])
    assert way_told(memory.text) == ""
    told = with_way(memory.text, "behind left")
    assert told.startswith(memory.text)
    assert way_told(told) == "behind left"
    assert earlier_attempt(told) == earlier_attempt(memory.text) == "did: this. right"
    assert with_way(memory.text, "") == memory.text


def test_before_every_decision_the_control_or_the_compass_of_a_task_tells_the_way() -> None:
    class Map(Control):
        @property
        def way(self) -> str:
            return "left"

    policy, told = Speaker(), list[str]()

    def compass(state: Any) -> str:
        told.append("behind" if len(told) % 2 else "ahead")
        return told[-1]

    play(SquareWorld(), InStep(policy), "go", time_limit=8, control=Map())
    assert {way_told(context.memory) for context in policy.contexts} == {"left"}
    policy.contexts.clear()
    play(SquareWorld(), InStep(policy), "go", time_limit=8, control=Map(), compass=compass)
    assert [way_told(context.memory) for context in policy.contexts] == told

"""A chat model as a player: what it is asked, what it may write, and what happens while its service is out."""

from __future__ import annotations

import numpy as np
import pytest

from agent import codec
from agent.cli.compose import load_policy
from agent.inference import InStep
from agent.models import BadReplyError, Model
from agent.models.config import Settings
from agent.models.model import COOL, Circuit
from agent.models.openai import load_openai
from agent.models.policy import ChatPolicy, read
from agent.policy import Context
from agent.runtime import Step, Subscriber, play
from envs.action import NEUTRAL, Action
from envs.errors import UserError
from tests.model_server import says, send, serving
from tests.worlds import SquareWorld

FRAME = np.zeros((120, 160, 3), np.uint8)
TURN = "think: the key is to the right\nact: turn 16 look 0 forward\nsay: i see it"


class Taken(Subscriber):
    """The actions of an episode."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def on_step(self, step: Step) -> None:
        self.actions.append(step.action)


def test_what_it_writes_is_what_the_hands_do() -> None:
    chunk = codec.decode(codec.from_text("turn -11 look 0 left")).actions
    context = Context(
        (FRAME,) * 3, "go to the key", (chunk, chunk), ("a", "b"), FRAME, (("user", "the red one"),), "it began", 7
    )
    with serving(says(TURN)) as server:
        (decision,) = load_policy(f"openai:toy@{server.url}", think="off").act([context])
    assert (decision.thought, decision.speech) == ("the key is to the right", "i see it")
    assert decision.actions == codec.decode(codec.from_text("turn 16 forward")).actions
    asked = server.asked[0]
    assert (asked["seed"], asked["reasoning_effort"]) == (7, "none")
    *images, text = asked["messages"][0]["content"]
    assert len(images) == 4
    for part in (
        "user: the red one",
        "it began",
        "act: turn -11 look 0 left",
        "think: b",
        "Instruction: go to the key",
    ):
        assert part in text["text"]


@pytest.mark.parametrize("text", ["Act: `turn 0 look 0 done`", "**act:** done", "Sure.\n\nACT: done\nact: turn 16"])
def test_it_is_read_with_patience(text: str) -> None:
    assert read(text).done


@pytest.mark.parametrize("text", ["I would go forward", "act:", "act: fly", "act: turn nan"])
def test_what_is_no_action_is_refused(text: str) -> None:
    with pytest.raises(BadReplyError, match="action text"):
        read(text)


def test_an_outage_lets_go_of_all_keys_and_ends_by_itself() -> None:
    now = [0.0]
    with serving(says(TURN), send(503), says("I am back")) as server:
        backend = load_openai(f"toy@{server.url}", settings=Settings())
        policy = ChatPolicy(Model(backend, attempts=1, circuit=Circuit(clock=lambda: now[0])))
        context = Context((FRAME,), "go")
        taken = Taken()
        outcome = play(SquareWorld(length=12), InStep(policy), "go", seed=1, subscribers=[taken])
        assert outcome.ticks == 12
        assert taken.actions[0].keys == {"KeyW"}
        assert set(taken.actions[4:]) == {NEUTRAL}
        assert "is out" in policy.act([context])[0].thought
        now[0] += COOL
        assert "action text" in policy.act([context])[0].thought
        server.script = [says(TURN)]
        assert all(d.speech == "i see it" for d in policy.act([context] * 3))


def test_what_does_not_get_better_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUDENS_MAX_TOKENS", "50")
    with serving(says(TURN)) as server, pytest.raises(UserError, match="50 tokens are not enough"):
        load_policy(f"openai:toy@{server.url}").act([Context((FRAME,), "go")])
    assert not server.asked

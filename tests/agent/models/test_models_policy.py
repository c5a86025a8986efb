"""A chat model as a player: what it is asked, what it may write, and what happens while its service is out."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import numpy as np
import pytest

from agent.cli.compose import load_policy
from agent.codec import ActionTextError
from agent.episode import Step, Subscriber
from agent.loop.players import Beside, InStep
from agent.loop.runtime import play
from agent.models import Model
from agent.models.config import Settings
from agent.models.model import COOL, Circuit
from agent.models.openai import load_openai
from agent.models.policy import ChatPolicy
from agent.policy import Context
from agent.prompted import USUAL, Setting
from envs.action import NEUTRAL, Action
from envs.errors import UserError
from envs.wrappers import RealTime
from tests.support.model_server import hang, says, send, serving
from tests.support.worlds import SquareWorld

FRAME = np.zeros((120, 160, 3), np.uint8)
TURN = "think: the key is to the right\nact: turn 16 look 0 forward\nsay: i see it"


class Taken(Subscriber):
    """The actions of an episode."""

    def __init__(self) -> None:
        self.actions: list[Action] = []

    def on_step(self, step: Step) -> None:
        self.actions.append(step.action)


def test_what_it_writes_is_what_the_hands_do() -> None:
    chunk = USUAL.actions(USUAL.read("turn -11 look 0 left tap use"), 35.0)
    context = Context(
        (FRAME,) * 3, "go to the key", (chunk, chunk), ("a", "b"), FRAME, (("user", "the red one"),), "it began", 7
    )
    with serving(says(TURN)) as server:
        (decision,) = load_policy(f"openai:toy@{server.url}", think="off").act([context])
    assert (decision.thought, decision.speech) == ("the key is to the right", "i see it")
    assert decision.actions == (Action(frozenset({"KeyW"}), look=(4.0, 0.0)),) * 4
    asked = server.asked[0]
    assert (asked["seed"], asked["reasoning_effort"]) == (7, "none")
    *images, text = asked["messages"][0]["content"]
    assert len(images) == 4
    for part in (
        "user: the red one",
        "it began",
        "act: hold KeyA tap KeyE look -11 0",
        "KeyW: forward",
        "Example: act: look -16 0 hold KeyW",
        "think: b",
        "Instruction: go to the key",
    ):
        assert part in text["text"]


def test_the_memory_that_the_loop_writes_is_in_the_next_prompt() -> None:
    with serving(says(TURN)) as server:
        play(SquareWorld(), InStep(load_policy(f"openai:toy@{server.url}")), "go to the key", time_limit=8)
    first, second = (request["messages"][0]["content"][-1]["text"] for request in server.asked)
    assert "What happened so far" not in first
    line = next(line for line in second.splitlines() if line.startswith("What happened so far: "))
    assert "did: go to the key (0.1 s: forward 0.1 s, turn right 16 degrees)." in line
    assert "seen: the key is to the right. said: i see it." in line


@pytest.mark.parametrize(
    "text",
    [
        "Act: `turn 0 look 0 done`",
        "**act:** done",
        "Sure.\n\nACT: done\nact: turn 16",
        "`done`",
        'Here: {"think": "x", "act": "done"}',
    ],
)
def test_it_is_read_with_patience(text: str) -> None:
    assert Setting().read(text).plan.done


@pytest.mark.parametrize("text", ["I would go forward", "act:", "act: fly", "act: turn nan"])
def test_what_is_no_action_is_refused(text: str) -> None:
    with pytest.raises(ActionTextError, match="action text"):
        Setting().read(text)


def test_what_can_not_be_read_is_asked_for_once_more() -> None:
    with serving(says("act: fly"), says(TURN), says("I won't")) as server:
        policy = load_policy(f"openai:toy@{server.url}")
        (decision,) = policy.act([Context((FRAME,), "go")])
        assert decision.speech == "i see it"
        assert "unexpected word 'fly'" in server.asked[1]["messages"][-1]["content"]
        (decision,) = policy.act([Context((FRAME,), "go")])
        assert decision.thought.startswith('no answer: action text "I won\'t"')
        assert decision.actions == (NEUTRAL,) * 4
        assert len(server.asked) == 4


def test_in_a_world_that_does_not_wait_it_is_not_asked_again() -> None:
    with serving(says("act: fly")) as server:
        policy = load_policy(f"openai:toy@{server.url}").for_world(RealTime(SquareWorld()))
        assert "unexpected word 'fly'" in policy.act([Context((FRAME,), "go")])[0].thought
        assert len(server.asked) == 1
        assert "It goes on while you think" in server.asked[0]["messages"][0]["content"][-1]["text"]


@pytest.mark.parametrize("hertz", [10.0, 35.0, 60.0])
def test_it_plays_worlds_of_any_tick_rate(hertz: float) -> None:
    world = SquareWorld(length=200)
    world.tick_hz = hertz
    with serving(says("act: hold KeyD for 500ms then tap KeyS"), says("act: done")) as server:
        taken = Taken()
        policy = load_policy(f"openai:toy@{server.url}").for_world(world)
        assert policy.spec.tick_hz == hertz
        outcome = play(world, InStep(policy), "go", seed=1, subscribers=[taken], end_on_done=True)
    assert sum("KeyD" in action.keys for action in taken.actions) == round(0.5 * hertz)
    assert any("KeyS" in action.keys for action in taken.actions)
    assert outcome.decisions == 2  # the long one was played whole
    assert outcome.starved == 0


def test_a_slow_answer_is_played_whole_from_when_it_is_there() -> None:
    """The ticks until then are starved, and nothing of it is lost."""

    def slow(handler: Any) -> None:
        time.sleep(0.25)
        says("act: tap KeyS then hold KeyD")(handler)

    with serving(slow) as server:
        taken = Taken()
        player = Beside(load_policy(f"openai:toy@{server.url}").for_world(RealTime(Slow())))
        outcome = play(RealTime(Slow()), player, "go", seed=1, time_limit=25, subscribers=[taken])
        player.close()
    names = ["".join(sorted(action.keys)) for action in taken.actions]
    assert outcome.starved > 4
    assert any(names[i : i + 3] == ["KeyS", "", "KeyD"] for i in range(len(names)))
    assert outcome.decisions >= 2


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


class Slow(SquareWorld):
    """A world with ticks that are long enough for an answer, which tells its time."""

    tick_hz = 10.0

    def __init__(self) -> None:
        super().__init__(length=10**9)


def refuse(handler: Any) -> None:
    """Closes the connection without a word."""
    handler.connection.close()


@pytest.mark.parametrize("outage", [send(503), refuse, hang], ids=["503", "refuse", "hang"])
def test_in_a_world_that_does_not_wait_an_outage_is_neutral_and_soon_over(outage: Any) -> None:
    """From the end of the last chunk until the service is back, and less than two seconds after that."""
    back: list[float] = []
    played: list[tuple[float, Action]] = []

    class Outage(Subscriber):
        def on_step(self, step: Step) -> None:
            played.append((time.monotonic(), step.action))
            if step.tick == 12:
                server.script = [outage]
            elif step.tick == 35:
                server.script = [says(TURN)]
                back.append(time.monotonic())

    with serving(says(TURN)) as server:
        model = Model(load_openai(f"toy@{server.url}", settings=Settings()), attempts=1)
        player = Beside(ChatPolicy(model).for_world(RealTime(Slow())))
        outcome = play(RealTime(Slow()), player, "go", seed=1, time_limit=65, subscribers=[Outage()])
        player.close()
    walks = [action.keys == {"KeyW"} for _, action in played]
    last = max(i for i in range(36) if walks[i])
    assert last < 12 + 8  # the end of what was asked for before the outage, if the answer was not late
    assert {action for _, action in played[last + 1 : 36]} == {NEUTRAL}
    again = next(at for (at, _), walks in zip(played[36:], walks[36:], strict=True) if walks)
    assert again - back[0] < 2.0
    assert outcome.ticks == 65


def test_what_takes_far_longer_than_usual_is_given_up_but_may_become_usual() -> None:
    with serving(says(TURN), hang) as server:
        policy = ChatPolicy(Model(load_openai(f"toy@{server.url}", settings=Settings()), attempts=1), deadline=3.0)
        assert policy._patience == 3.0
        policy.act([Context((FRAME,), "go")])
        policy._took[0] = 0.1  # whatever this machine takes
        assert policy._patience == pytest.approx(0.8)
        assert "gave no whole answer in 0.8 s" in policy.act([Context((FRAME,), "go")])[0].thought
        assert policy._patience == pytest.approx(1.2)
        assert "is out" in policy.act([Context((FRAME,), "go")])[0].thought
        assert policy._patience == pytest.approx(1.2)


def test_a_service_is_asked_to_keep_to_the_form_and_one_that_fails_at_it_is_asked_without() -> None:
    def strict(handler: Any) -> None:
        """Refuses what it can't compile, in words that name no field."""
        (send(500, {"error": "grammar"}) if "response_format" in handler.body else says(TURN))(handler)

    with serving(strict) as server:
        policy = load_policy(f"openai:toy@{server.url}")
        for _ in range(2):
            assert policy.act([Context((FRAME,), "go")])[0].speech == "i see it"
        assert ["response_format" in body for body in server.asked] == [True, False, False]
        schema = server.asked[0]["response_format"]["json_schema"]["schema"]
    pattern = schema["properties"]["act"]["pattern"]
    assert re.fullmatch(pattern, "look -16 0 hold KeyW") is None  # the canonical order has the keys first
    assert re.fullmatch(pattern, "hold KeyW look -16 0")
    turn = json.dumps({"think": "a", "act": "hold KeyW look -16 0", "say": "b"})
    with serving(says(turn)) as server:
        (decision,) = load_policy(f"openai:toy@{server.url}").act([Context((FRAME,), "go")])
    assert (decision.thought, decision.speech) == ("a", "b")
    with serving(send(500, {"error": "out"})) as server:  # it was not the form
        policy = load_policy(f"openai:toy@{server.url}")
        policy.act([Context((FRAME,), "go")])
        assert ["response_format" in body for body in server.asked] == [True, False]

"""A chat model that plays a square and talks, in a thread; its server on the loopback says what it is told."""

from __future__ import annotations

import json
import threading
from typing import Any

from agent.loop.players import Beside
from agent.loop.runtime import play
from agent.models.policy import load_openai_policy
from agent.talk.chat_voice import voice_of
from agent.talk.conversation import Conversation
from envs.wrappers import RealTime
from tests.support.talk_server import TalkServer, text_of
from tests.support.talks import wait_for
from tests.support.worlds import SquareWorld

HEAR, ASKS = "The user says now: ", " asks: "


def heard(kind: str, *text: str, goal: int = 0) -> str:
    return json.dumps({"kind": kind, "text": list(text), "goal": goal}, ensure_ascii=False)


class Model:
    """What a server says: to listen, the answer for the user's words in `hears`; to answer `answer`; to act `act`."""

    def __init__(self, answer: str = "a white square", act: str = "act: hold KeyW", **hears: str) -> None:
        self.answer, self.act, self.hears = answer, act, hears
        self.go = threading.Event()  # it listens, and answers
        self.go.set()

    def __call__(self, prompt: str) -> str:
        if HEAR in prompt:
            assert self.go.wait(20)
            return self.hears.get(prompt.partition(HEAR)[2].partition("\n")[0], "what?")
        return self.answer if ASKS in prompt.splitlines()[-1] else self.act


class Chatty(SquareWorld):
    """A square for ever, with a chat."""

    def __init__(self) -> None:
        super().__init__(length=10**9)
        self.controls = {**self.controls, "KeyD": "jump"}
        self.sent: list[str] = []
        self.chat = self

    def read(self) -> list[tuple[str, str]]:
        return []

    def send(self, text: str) -> None:
        self.sent.append(text)


class Playing:
    """`agent chat` with a chat model as its player, in a thread."""

    def __init__(self, server: TalkServer, world: Chatty | None = None, **how: Any) -> None:
        self.world, self.server = world or Chatty(), server
        policy = load_openai_policy(f"toy@{server.url}", think="off").for_world(self.world)
        voice, listener = voice_of(policy)
        self.talk = Conversation(voice, listener=listener, keep=True, **how)
        self.talk.attach(self.world)
        self.talk.begin()
        self._player = Beside(policy)
        self.watchers: list[Any] = [self.talk]
        what = {"control": self.talk, "subscribers": self.watchers, "time_limit": 10**9, "end_on_done": True, "seed": 1}
        self._thread = threading.Thread(
            target=play, args=(RealTime(self.world), self._player, self.talk.instruction), kwargs=what
        )

    def __enter__(self) -> Playing:
        self._thread.start()
        assert self.talk.started.wait(30)
        return self

    def __exit__(self, *error: object) -> None:
        self.talk.quit()
        self._thread.join(30)
        self._player.close()
        self.talk.close()

    def say(self, text: str) -> None:
        """Say something, and wait until it was understood and answered."""
        self.talk.user(text)
        wait_for(lambda: not self.talk.answering)

    @property
    def goals(self) -> list[str]:
        return [goal.text for goal in self.talk.goals]

    def requests(self, mark: str) -> list[Any]:
        return [body for body in self.server.asked if mark in text_of(body["messages"][-1])]

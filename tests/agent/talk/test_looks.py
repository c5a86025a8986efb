"""What did it see? The episode tells which frames the planner, the voice and captions were shown, and how large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from agent.episode import Look
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.talk.conversation import Conversation
from agent.talk.looks import Looks
from agent.talk.planned_conversation import PlannedConversation
from agent.talk.planner import Plan, Situation
from agent.talk.voice import PolicyVoice
from agent.view import View, shown
from tests.support.talks import At, Walk, wait_for
from tests.support.worlds import SquareWorld
from training.data.episodes import Recorder, read_episode


class Planner:
    """Wants to see two pictures, a fifth of a second apart, the earlier one smaller."""

    name = "planner"
    view = View((24, 32), exactly=False, frames=2, apart=200.0, earlier=(12, 16))

    def __init__(self) -> None:
        self.asked: list[Situation] = []

    def plan(self, now: Situation) -> Plan:
        self.asked.append(now)
        return Plan(("go on",))

    def close(self) -> None:
        """There is nothing to release."""


def recorded(talk: Conversation, folder: Path, acts: dict[int, Any]) -> Any:
    """An episode of a square that walks, with what models were shown."""
    world, policy, recorder = SquareWorld(length=60), Walk(), Recorder(folder)
    talk.looks.listeners.append(recorder.on_look)
    talk.attach(world)
    talk.begin("go")
    play(world, InStep(policy), talk.instruction, subscribers=[talk, recorder, At(acts)], control=talk, seed=1)
    talk.close()
    return read_episode(folder)


def test_a_planner_is_shown_its_own_choice(tmp_path: Path) -> None:
    planner = Planner()
    talk = PlannedConversation(planner, None, every=0.4, waits=True, paced=False)
    episode = recorded(talk, tmp_path / "episode", {})
    frames = episode.frames()
    looks = [look for look in episode.looks if look.who == "planner"]
    assert len(looks) == len(planner.asked) > 1
    assert looks[-1].sizes == ((12, 16), (24, 32))
    assert abs(int(np.diff(looks[-1].frames)[0]) - 10) <= 1  # 200 ms of 50 ticks a second
    for look, asked in zip(looks, planner.asked, strict=True):
        for index, size, picture in zip(look.frames, look.sizes, asked.frames, strict=True):
            assert np.array_equal(shown(frames[index], size, "stretch"), picture)
    players = [look for look in episode.looks if look.who == "player"]
    assert {look.sizes for look in players} >= {((24, 32),) * 3}
    assert [look.decision for look in players] == sorted({look.decision for look in players})


def test_a_voice_and_captions_are_noted(tmp_path: Path) -> None:
    talk = Conversation(PolicyVoice(Walk()), paced=False)
    acts = {
        10: lambda: (talk.user("is it red?"), wait_for(lambda: not talk.answering)),
        20: lambda: talk.user("the other one"),
    }
    episode = recorded(talk, tmp_path / "episode", acts)
    (voice,) = [look for look in episode.looks if look.who == "voice"]
    assert (voice.tick, voice.frames, voice.sizes, voice.decision) == (10, (10,), ((24, 32),), -1)
    captions = [look for look in episode.looks if look.who == "captions"]
    assert captions
    assert all(look.tick == 20 for look in captions)


def test_what_the_loop_did_not_see_is_no_look() -> None:
    looks, told = Looks(), list[Look]()
    looks.listeners.append(told.append)
    looks.note("voice", [np.zeros((4, 4, 3), np.uint8)], None)
    assert not told

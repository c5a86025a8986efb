"""A voice with the memory of earlier runs: who answers what, and that a chat model is told a bounded part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.models.base import Delta, Message
from agent.recall.prompt import PROMPT_WORDS
from agent.recall.store import SAW, Event, Store
from agent.recall.voice import RememberingVoice, is_of_earlier
from agent.talk.chat_voice import ChatVoice
from agent.talk.voice import Asked, PolicyVoice
from tests.support.talks import Walk

FRAME = np.zeros((24, 32, 3), np.uint8)


class Eyes:
    """Believes every description."""

    name = "eyes"

    def known(self, noun: str) -> str:
        return noun

    def shows(self, frames: Any, thing: str) -> list[bool]:
        return [True] * len(frames)


class Model:
    """A chat model that keeps what it is told."""

    name = "model"

    def __init__(self) -> None:
        self.told: list[str] = []

    def stream(self, messages: list[Message], **options: Any) -> Iterator[Delta]:
        self.told.append(messages[-1].text)
        yield Delta("yes")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    with Store(tmp_path / "events.sqlite", Eyes.name) as store:
        one = store.begin("yesterday", "/yesterday", "", tick_hz=10.0, ticks=9000)
        events = [Event(one.id, SAW, i, i, f"blue lamp ahead and thing {i} left") for i in range(2000)]
        store.add(one.id, [*events, Event(one.id, SAW, 5000, 5004, "red key left", looks=2, frame=3)], whole=True)
    return tmp_path / "events.sqlite"


def remembering(voice: Any, file: Path) -> RememberingVoice:
    return RememberingVoice(voice, lambda: Store(file, Eyes.name), Eyes(), lambda source, frame: FRAME)  # type: ignore[arg-type]


def test_a_policy_is_asked_of_now_and_the_memory_of_earlier(file: Path) -> None:
    voice = remembering(PolicyVoice(Walk()), file)
    (earlier,) = voice.answer(Asked("when did you last see the red key?", (FRAME,)))
    assert earlier.startswith("Last seen: the red key left, at 0:08:20 (tick 5000) of yesterday")
    assert list(voice.answer(Asked("what is nearest?", (FRAME,)))) == ["24 seen"]
    assert list(voice.answer(Asked("did you pick up the key?", (FRAME,), deeds="i picked up the key"))) == [
        "24 i picked up the key"
    ]
    assert voice.describe(FRAME) == PolicyVoice(Walk()).describe(FRAME)


def test_a_chat_model_is_told_a_bounded_part_of_the_past(file: Path) -> None:
    model = Model()
    voice = remembering(ChatVoice(model), file)  # type: ignore[arg-type]
    assert list(voice.answer(Asked("where was the red key?", (FRAME,), memory="did: look around."))) == ["yes"]
    assert "did: look around." in model.told[0]
    assert "red key left" in model.told[0]
    assert len(model.told[0].split()) <= PROMPT_WORDS + 80


@pytest.mark.parametrize(
    ("question", "earlier"),
    [
        ("have you ever seen a skull?", True), ("how often did you see the imp?", True),
        ("when did you last see the red key?", True), ("did you see a lamp yesterday?", True),
        ("what do you see?", False), ("did you pick up the key?", False), ("what are you doing?", False),
    ],
)  # fmt: skip
def test_what_counts_as_earlier(question: str, earlier: bool) -> None:
    assert is_of_earlier(question) == earlier

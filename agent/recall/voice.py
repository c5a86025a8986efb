"""`RememberingVoice`: a voice that also knows what earlier runs saw."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from agent.episode import Frame
from agent.recall.answering import FrameOf, Recall
from agent.recall.eyes import Eyes
from agent.recall.prompt import prompt
from agent.recall.store import Store
from agent.talk.chat_voice import ChatVoice
from agent.talk.voice import Asked, PolicyVoice, Voice
from agent.view import View

_EARLIER = re.compile(
    r"\b(?:last (?:saw|see|seen|time)|(?:first|last|did you|did i|have you) (?:\w+ )?(?:see|saw|seen)|ever|yesterday|"
    r"remember|earlier|before|in the (?:last|other) run|how (?:often|many times))\b"
)


def is_of_earlier(question: str) -> bool:
    """Whether a question is about what was seen, today or in earlier runs."""
    return _EARLIER.search(question.lower()) is not None


class RememberingVoice:
    """`voice`, with the memory of earlier runs in the store that `open_store` opens; each question opens it anew, in
    the thread that answers.

    A voice that reads prompts is told what the question calls up, in at most agent.recall.prompt.PROMPT_WORDS words.
    For any other the store answers what `is_of_earlier`. What the memory holds is information, never an order.
    """

    def __init__(self, voice: Voice, open_store: Callable[[], Store], eyes: Eyes, frame_of: FrameOf) -> None:
        self._voice, self._open, self._eyes, self._frame_of = voice, open_store, eyes, frame_of
        self.view = voice.view if isinstance(voice, ChatVoice | PolicyVoice) else View()

    def answer(self, asked: Asked) -> Iterable[str]:
        reads = isinstance(self._voice, ChatVoice)
        if not reads and not is_of_earlier(asked.question):
            return self._voice.answer(asked)
        with self._open() as store:
            found = Recall(store, self._eyes, self._frame_of).answer(asked.question)
            if not reads:
                return [found.text]
            earlier = f"In earlier runs: {found.text}\n{prompt(store, asked.question, found)}"
        return self._voice.answer(replace(asked, memory=f"{asked.memory}\n{earlier}".strip()))

    def describe(self, frame: Frame) -> str:
        return self._voice.describe(frame)

    def known(self, noun: str) -> str | None:
        return self._voice.known(noun)

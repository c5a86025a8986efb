"""`Surroundings`: the frames that the agent sees and saw, and which of the things in them a person may mean."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from agent.episode import Frame, Step
from agent.talk import intents
from agent.talk.intents import Intent
from agent.talk.looks import Looks
from agent.talk.voice import Asked, Voice

_VIEWS = 8  # earlier frames that are kept, a second apart: the thing that is meant may be out of view by now
_SHOWN = 3  # frames with a question


class Surroundings:
    """Keeps frames and lets `voice` describe them; without a voice nothing is described. `looks`: what it is shown. Any
    thread may call it."""

    def __init__(self, voice: Voice | None) -> None:
        self._voice, self.looks = voice, Looks()
        self.frame: Frame | None = None  # the newest
        self._past: deque[Frame] = deque(maxlen=_VIEWS)
        self._kept = 0.0

    def begin(self) -> None:
        """An episode begins: forget the frames of the last one."""
        self.frame = None
        self._past.clear()

    def see(self, step: Step, seconds: float) -> None:
        """Keep the frame of a step, if it has one, that was played so many seconds after the episode's beginning."""
        self.looks.on_step(step)
        if (frame := step.frame) is None:
            return
        if self.frame is None or seconds - self._kept >= 1.0:
            self._past.appendleft(frame)
            self._kept = seconds
        self.frame = frame

    @property
    def latest(self) -> tuple[Frame, ...]:
        """The newest frames, oldest first, about a second apart; the last one is now."""
        if self.frame is None:
            return ()
        earlier = [frame for frame in tuple(self._past) if frame is not self.frame]
        return (*reversed(earlier[: _SHOWN - 1]), self.frame)

    @property
    def view(self) -> str:
        """What is in view, in words; "" where nobody can tell."""
        return "" if self.frame is None else self.describe(self.frame)

    def known(self, noun: str) -> str | None:
        """The plain name of the thing that a noun names; None if the agent does not know the noun."""
        return self._voice.known(noun) if self._voice else noun

    def kind(self, instruction: str) -> str:
        """The plain name of the thing that an instruction is about."""
        noun = intents.kind_of(instruction)
        return self.known(noun) or noun

    def answer(self, asked: Asked) -> Iterable[str]:
        """What the voice answers, in pieces, see Voice."""
        if self._voice is None:
            return ["i can't answer: this policy only plays"]
        if self.frame is None:
            return ["i see nothing yet"]
        self.looks.note("voice", asked.frames, self._voice)
        return self._voice.answer(asked)

    def describe(self, frame: Frame) -> str:
        """What the voice says is in a frame that was seen, from left to right; "" without a voice."""
        if self._voice is None:
            return ""
        self.looks.note("captions", (frame,), self._voice)
        return self._voice.describe(frame)

    def meant(self, message: Intent, goal: str) -> list[str]:
        """The colours of the things that a message may mean.

        For an instruction that names a thing without its colour: the colours of such things in view, if there are
        several. For a correction of the instruction `goal`: the other colours of its kind of thing, in the newest frame
        that shows any.
        """
        frame = self.frame
        if self._voice is None or frame is None:
            return []
        if message.kind == "instruction":
            first = intents.steps(message.text)[0]
            found = intents.others(self.describe(frame), self.kind(first), None) if intents.unclear(first) else []
            return found if len(found) > 1 else []
        if message.kind == "choice" and goal:
            for seen in (frame, *self._past):
                found = intents.others(self.describe(seen), self.kind(goal), intents.colour_of(goal))
                if found:
                    return found
        return []

"""`Surroundings`: what the agent sees, and saw a moment ago, in words: which things a person may mean."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from agent import messages
from agent.messages import Message
from agent.runtime import Frame
from agent.voice import Voice

_VIEWS = 8  # earlier frames that are kept, a second apart: what is meant may be out of view by now


class Surroundings:
    """Frames as they come, and what `voice` says of them; without one there is nothing to say. From any thread."""

    def __init__(self, voice: Voice | None) -> None:
        self._voice = voice
        self.frame: Frame | None = None  # the newest
        self._past: deque[Frame] = deque(maxlen=_VIEWS)
        self._kept = 0.0

    def begin(self) -> None:
        """An episode begins: nothing was seen of it yet."""
        self.frame = None
        self._past.clear()

    def see(self, frame: Frame, seconds: float) -> None:
        """A frame, uint8 RGB (H, W, 3), that was seen so many seconds after the beginning."""
        if self.frame is None or seconds - self._kept >= 1.0:
            self._past.appendleft(frame)
            self._kept = seconds
        self.frame = frame

    def known(self, noun: str) -> str | None:
        """The plain name of what a noun names, None where the agent does not know the word."""
        return self._voice.known(noun) if self._voice else noun

    def kind(self, instruction: str) -> str:
        """The plain name of what an instruction is about."""
        noun = messages.kind_of(instruction)
        return self.known(noun) or noun

    def strange(self, texts: Iterable[str]) -> str:
        """The first noun in some texts that the agent does not know; "" where it knows all."""
        for text in texts:
            thing = messages.thing_of(text)
            if thing and thing.noun and not thing.pointer and self.known(thing.noun) is None:
                return thing.noun
        return ""

    def meant(self, message: Message, goal: str) -> list[str]:
        """The colours of the things that a message leaves open: of an instruction that names a thing without its
        colour, where several such are in view; of a correction of `goal`, those of its kind in other colours, looking
        back as far as it takes to find one."""
        frame, voice = self.frame, self._voice
        if voice is None or frame is None:
            return []
        if message.kind == "instruction":
            first = messages.steps(message.text)[0]
            found = messages.others(voice.describe(frame), self.kind(first), None) if messages.unclear(first) else []
            return found if len(found) > 1 else []
        if message.kind == "choice" and goal:
            for seen in (frame, *self._past):
                found = messages.others(voice.describe(seen), self.kind(goal), messages.colour_of(goal))
                if found:
                    return found
        return []

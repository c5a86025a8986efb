"""`LiveInstruction`: what the player is told to do, which any thread may change while an episode runs."""

from __future__ import annotations

import threading
from typing import NamedTuple

from agent.episode import Frame
from envs.text import encodable


class Instruction(NamedTuple):
    """What the player is told to do.

    `text`: the instruction in words. `picture`: what the text shows instead of naming it, uint8 RGB of any size.
    `version` counts the changes. `purpose` counts those changes that are more than a step towards the same end.
    """

    text: str
    picture: Frame | None
    version: int
    purpose: int = 0


class LiveInstruction:
    """The instruction of a running episode. Any thread may call `set`; the next decision follows it."""

    def __init__(self, text: str, picture: Frame | None = None) -> None:
        self._now = Instruction(encodable(text), picture, 0)
        self._lock = threading.Lock()

    def set(self, text: str, picture: Frame | None = None, *, step: bool = False) -> None:
        """Change the instruction. `step`: the new one is a step towards the same end."""
        with self._lock:
            self._now = Instruction(encodable(text), picture, self._now.version + 1, self._now.purpose + (not step))

    @property
    def now(self) -> Instruction:
        """The current instruction, read in one piece."""
        return self._now

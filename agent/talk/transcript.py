"""`Dialogue`: what is said in a run, line by line."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

LINES = 1000  # kept; older ones are dropped


@dataclass(frozen=True)
class Line:
    """One thing that was said. `who`: "user", "agent", "planner", "player NAME", or "note" for an event.
    `revision` counts changes of the whole dialogue; a line that grows gets a new revision and keeps its `number`.
    `tick`: when it was said. `picture`: whether the user showed a picture with it. `whole`: no more of it is to come.
    """

    number: int
    who: str
    text: str
    tick: int
    revision: int
    picture: bool = False
    whole: bool = True


class Dialogue:
    """Keeps the lines, and calls `listeners` with each new or changed line. Any thread may use it."""

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=LINES)
        self.revision = 0
        self.listeners: list[Callable[[Line], None]] = []
        self.tick = 0
        self._lock = threading.RLock()
        self._number = 0

    def news(self, since: int) -> list[Line]:
        """The lines that came or changed after revision `since`, in that order."""
        with self._lock:
            return [line for line in self.lines if line.revision > since]

    def _add(
        self, who: str, text: str, *, picture: bool = False, again: Line | None = None, whole: bool = True
    ) -> Line:
        with self._lock:
            self.revision += 1
            if again is not None:
                line = replace(again, text=text, revision=self.revision, whole=whole)
                self.lines.remove(again)
            else:
                line = Line(self._number, who, text, self.tick, self.revision, picture, whole)
                self._number += 1
            self.lines.append(line)
            self._said()
        for listener in tuple(self.listeners):
            listener(line)
        return line

    def _note(self, text: str) -> None:
        self._add("note", text)

    def _said(self) -> None:
        """A line came or changed; the caller holds the lock. For subclasses."""

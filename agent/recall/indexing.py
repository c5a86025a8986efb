"""Footage into a store: pictures are described and embedded, and alike ones in a row become one event."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from agent.capabilities import Frames
from agent.recall.eyes import BATCH, Eyes, changed
from agent.recall.store import SAW, Event, Look, Source, Store

LOOKS_A_SECOND = 4.0  # a thing that shows for half a second is looked at twice
COMMIT = 64  # looks in a commit: what a crash loses
NOTHING = "nothing"  # a description of it is no event

Drawn = tuple[Frames, int, int]  # a frame, its tick, its index in the video


def every(tick_hz: float) -> int:
    """Ticks from look to look."""
    return max(1, round(tick_hz / LOOKS_A_SECOND))


def index(
    store: Store,
    source: Source,
    footage: Iterable[Drawn],
    eyes: Eyes,
    on_look: Callable[[int], None] = lambda tick: None,
) -> None:
    """Look at the footage of a source and store it. `footage`: the frames to look at, in order of time, those behind
    `source.looked`. `on_look`: is told the tick of each frame. A frame that looks like the one before
    is not described again."""
    looker = _Looker(store, source, eyes)
    for drawn in footage:
        looker.look(drawn)
        on_look(drawn[1])
    looker.commit(whole=True)


class _Looker:
    def __init__(self, store: Store, source: Source, eyes: Eyes) -> None:
        self._store, self._source, self._eyes = store, source, eyes
        self._waiting: list[tuple[Drawn, bool]] = []  # frames, and whether each differs from the one before
        self._before: Frames | None = None
        self._said = ""
        self._tick: int | None = None
        self._looks: list[Look] = []
        self._events: list[Event] = []

    def look(self, drawn: Drawn) -> None:
        self._waiting.append((drawn, changed(self._before, drawn[0])))
        self._before = drawn[0]
        if len(self._waiting) == BATCH:
            self._describe()
            if len(self._looks) >= COMMIT:
                self.commit()

    def commit(self, *, whole: bool = False) -> None:
        """Store what was looked at. The event that is going on ends here: the next commit begins another one."""
        self._describe()
        self._store.add(self._source.id, self._events, self._looks, looked=self._tick, whole=whole)
        self._looks, self._events = [], []

    def _describe(self) -> None:
        fresh = [frame for (frame, _, _), new in self._waiting if new]
        said = iter(self._eyes.describe(fresh) if fresh else ())
        vectors = iter(self._eyes.embed(fresh) if fresh else ())
        for (_, tick, frame), new in self._waiting:
            if new:
                self._said = next(said)
                self._looks.append(Look(tick, frame, next(vectors)))
            self._note(tick, frame)
            self._tick = tick
        self._waiting = []

    def _note(self, tick: int, frame: int) -> None:
        if self._said in ("", NOTHING):
            return
        last = self._events[-1] if self._events else None
        if last is not None and last.text == self._said and tick - last.last <= 2 * every(self._source.tick_hz):
            self._events[-1] = replace(last, last=tick, looks=last.looks + 1)
        else:
            self._events.append(Event(self._source.id, SAW, tick, tick, self._said, looks=1, frame=frame))

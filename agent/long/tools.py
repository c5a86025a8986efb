"""Tools that a thinker may ask before it plans; they read what the player itself saw and did, and change nothing but
the thinker's own map."""

from __future__ import annotations

import re
from datetime import timedelta

from agent.long.places import CELL, Landmark, Places, cell_of
from agent.recall.sightings import any_of
from agent.recall.store import SAW, Event, Store

MOST = 3  # answers to one question
_REACH = 4  # cells that the map shows on each side
TOLD = """\
"recall WORDS": when that was seen, done or said in this run; "map": the cells around the player with the number of \
visits; "measure NAME": how far a thing that was seen is, and where; "look around": what was in view from here in each \
direction; "mark NAME": give this place a name, to be measured later"""


class Tools:
    """The tools of one run. Use it in one thread, and close it."""

    def __init__(self, places: Places, tick_hz: float) -> None:
        self._places, self._tick_hz = places, tick_hz
        self._store = Store(":memory:", "live")
        self._source = self._store.begin("run", "live", "", tick_hz=tick_hz, ticks=0).id

    def keep(self, tick: int, text: str, kind: str = SAW) -> None:
        """Something that happened, for `recall`."""
        self._store.add(self._source, [Event(self._source, kind, tick, tick, text)])

    def ask(self, text: str, tick: int) -> str:
        """The answer to one question; what no tool can do is said."""
        verb, _, rest = " ".join(text.lower().split()).partition(" ")
        if verb == "recall" and rest:
            return self._recall(rest)
        if verb == "map":
            return self._map()
        if verb == "measure" and rest:
            return self._places.measure(rest) or f"no {rest} was seen"
        if verb == "look":
            return self._places.around()
        if verb == "mark" and rest:
            here = self._places.here
            self._places.landmarks = [*self._places.landmarks, Landmark(rest, here, here, tick)]
            return f"this place is called {rest}"
        return f"there is no tool for {text!r}"

    def close(self) -> None:
        self._store.close()

    def _recall(self, words: str) -> str:
        asked = [word for word in re.findall(r"\w+", words) if len(word) > 2]
        found = self._store.matching(any_of(asked), most=MOST, order="best") if asked else []
        lines = [f"{timedelta(seconds=event.first // self._tick_hz)} {event.kind}: {event.text}" for event in found]
        return "; ".join(lines) or f"nothing about {words}"

    def _map(self) -> str:
        """Rows of visit counts, from what was ahead at the start to what was behind; the player's cell in brackets."""
        row, column = cell_of(self._places.here)
        lines = []
        for ahead in range(row + _REACH, row - _REACH - 1, -1):
            counts = [self._places.visits[ahead, right] for right in range(column - _REACH, column + _REACH + 1)]
            cells = [str(n) if n else "." for n in counts]
            if ahead == row:
                cells[_REACH] = f"[{cells[_REACH]}]"
            lines.append(" ".join(cells))
        return f"a cell is {CELL:g} s of walking: " + " / ".join(lines)

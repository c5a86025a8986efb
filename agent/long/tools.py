"""Tools that a thinker may ask before it plans; they read what the player itself saw and did, and change nothing but
the thinker's own map. Where the world offers snapshots, it may also save a place and go back there."""

from __future__ import annotations

import re
from datetime import timedelta

from agent.long.odometer import Pose
from agent.long.places import CELL, Landmark, Places, cell_of, things_in
from agent.recall.sightings import any_of, phrases
from agent.recall.store import SAW, Event, Store
from envs.snapshots import Rewindable

MOST = 3  # answers to one question
_REACH = 4  # cells that the map shows on each side
_TWICE = 1.5  # seconds within which a name that is read twice is believed
_SIGHTINGS = 400  # of a thing that are looked through
_SEEN_BEFORE = re.compile(
    r"\bthe (?:(?P<early>first|last) )?(?P<noun>[a-z]+(?: (?!that|which)[a-z]+)?)(?: that| which)?"
    r" (?:you|we|i)(?: have|'ve)? (?:saw|seen|passed|met)(?: (?P<late>first|last|before|earlier))?\b"
)
TOLD = """\
"recall WORDS": when that was seen, done or said in this run; "map": the cells around the player with the number of \
visits; "measure NAME": how far a thing that was seen is, and where; "look around": what was in view from here in each \
direction; "mark NAME": give this place a name, to be measured later"""

TOLD_SNAPSHOTS = """\
"save NAME": keep this moment of the game under a name; "back NAME": go back to that moment, as if what came since had \
not been; you still know it"""


class Tools:
    """The tools of one run. Use it in one thread, and close it. `snapshots`: the world, where it can go back."""

    def __init__(self, places: Places, tick_hz: float, snapshots: Rewindable | None = None) -> None:
        self._places, self._tick_hz, self._snapshots = places, tick_hz, snapshots
        self.poses: dict[str, Pose] = {}  # where the player was at the moments that it saved
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
        if self._snapshots is not None and verb == "save" and rest:
            self._snapshots.keep(rest)
            self.poses[rest] = self._places.here
            return f"this moment is kept as {rest}"
        if self._snapshots is not None and verb == "back" and rest:
            if self._snapshots.go_back(rest):
                return f"the game goes back to {rest}"
            return f"no moment is called {rest}; kept: {', '.join(self._snapshots.kept) or 'none'}"
        return f"there is no tool for {text!r}"

    def meant(self, goal: str) -> dict[str, str]:
        """What a goal names by when it was seen, and its name: {"the torch that you saw first": "red torch"}. Without
        "first", the last one is meant. What was never seen is left out."""
        found = {}
        for said in _SEEN_BEFORE.finditer(goal.lower()):
            if name := self._name(said["noun"], first="first" in (said["early"], said["late"])):
                found[said[0]] = name
        return found

    def _name(self, noun: str, *, first: bool) -> str:
        """What the first or last thing of a kind was called: the name that was read twice in a row, since eyes err."""
        order = "oldest" if first else "newest"
        events = self._store.matching(phrases((noun,)), kinds=(SAW,), most=_SIGHTINGS, order=order)
        seen: dict[str, int] = {}
        for event in events:
            for name, _ in things_in(event.text):
                if name.split()[-len(noun.split()) :] != noun.split():
                    continue
                if abs(event.first - seen.get(name, -(10**9))) <= _TWICE * self._tick_hz:
                    return name
                seen[name] = event.first
        return next(iter(seen), "")

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

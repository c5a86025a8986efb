"""`Sighting`: a stretch of time in which things were in view, made of the events that describe them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.recall.store import SAW, Event, Store

GAP = 2.0  # seconds out of view within one sighting
MOST = 100_000  # events that one question looks through


@dataclass(frozen=True)
class Sighting:
    """From tick `first` to `last` of a source the events, oldest first, describe the things."""

    source: int
    first: int
    last: int
    events: tuple[Event, ...]

    @property
    def clearest(self) -> Event:
        """The event that was seen longest."""
        return max(self.events, key=lambda event: event.looks)


def sightings(
    store: Store, things: Sequence[str], *, order: Literal["newest", "oldest"] = "newest", most: int = MOST
) -> list[Sighting]:
    """When all of some things were in view together, in this order; from the first `most` events that name them."""
    found = store.matching(phrases(things), kinds=(SAW,), most=most, order=order)
    hz = {source.id: source.tick_hz for source in store.sources()}
    made: list[list[Event]] = []
    for event in sorted(found, key=lambda event: (event.source, event.first)):
        last = made[-1][-1] if made else None
        if last is not None and last.source == event.source and event.first - last.last <= GAP * hz[event.source]:
            made[-1].append(event)
        else:
            made.append([event])
    whole = [Sighting(e[0].source, e[0].first, max(one.last for one in e), tuple(e)) for e in made]
    return whole if order == "oldest" else whole[::-1]


def phrases(things: Iterable[str]) -> str:
    """An FTS5 query for texts that hold every thing as a phrase."""
    return " AND ".join(f'"{_quoted(thing)}"' for thing in things)


def any_of(words: Iterable[str]) -> str:
    """An FTS5 query for texts that hold any of some words."""
    return " OR ".join(f'"{_quoted(word)}"' for word in words)


def _quoted(text: str) -> str:
    return text.replace('"', '""')

"""Answers to questions about the past, made from a store alone; no chat model is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.capabilities import Frames
from agent.recall import question as questions
from agent.recall.eyes import Eyes
from agent.recall.indexing import every
from agent.recall.question import Question
from agent.recall.sightings import Sighting, any_of, phrases, sightings
from agent.recall.similar import Pictures
from agent.recall.store import KINDS, SAW, TOLD, Event, Source, Store

CHECKED = 24  # sightings of which pictures are looked at again, at most
_AROUND = 1.0  # seconds between two pictures that are different moments
_PICTURES = 2  # of a sighting that are looked at again
_AT_ONCE = 8  # events of one moment in an answer
_NAMED = 5  # events or moments in an answer

FrameOf = Callable[[Source, int], Frames | None]  # the picture of a source at an index of its video


@dataclass(frozen=True)
class Moment:
    """When and where in a run something was: `seconds` from the beginning of the source, `frame` the index of a picture
    in its video, -1 for none. `sure`: a second look at the picture agreed, None where nobody looked again."""

    source: Source
    kind: str
    tick: int
    seconds: float
    frame: int
    text: str
    sure: bool | None = None


@dataclass(frozen=True)
class Answer:
    """`text`: the answer in a sentence or two. `found`: whether the store holds what was asked for. `moments`: what it
    is made from, the one that is meant first. `checked`: how many pictures were looked at again. `value`: what a
    program wants to know: a number, a name, yes or no."""

    text: str
    found: bool
    moments: tuple[Moment, ...] = ()
    checked: int = 0
    value: str = ""


class Recall:
    """Answers from a store. `frame_of`: gets a picture again, for a second look at what the descriptions claim; without
    it the descriptions are believed."""

    def __init__(self, store: Store, eyes: Eyes, frame_of: FrameOf | None = None) -> None:
        self._store, self._eyes, self._frame_of = store, eyes, frame_of
        self._sources = {source.id: source for source in store.sources()}
        self._checked = 0

    def answer(self, text: str) -> Answer:
        """The answer to a question in plain English."""
        self._checked = 0
        asked = questions.read(text, self._eyes.known)
        ways: dict[str, Callable[[Question], Answer]] = {
            "last": self._one, "first": self._one, "ever": self._one, "count": self._count, "beside": self._beside,
            "order": self._order, "at": self._at, "words": self._words,
        }  # fmt: skip
        return ways[asked.asks](asked)

    def alike(self, picture: Frames, most: int = _NAMED) -> Answer:
        """When something was seen that looks like a picture, uint8 RGB (H, W, 3)."""
        near = Pictures(self._store.blocks()).nearest(self._eyes.embed([picture])[0], 40 * most)
        moments: list[Moment] = []
        for one in near:
            source = self._sources[one.source]
            apart = _AROUND * source.tick_hz
            if all(m.source != source or abs(m.tick - one.tick) > apart for m in moments):
                said = f"likeness {one.likeness:.2f}: {self._view(source, one.tick) or 'nothing named'}"
                moments.append(_moment(source, SAW, one.tick, one.frame, said))
            if len(moments) == most:
                break
        if not moments:
            return Answer("Nothing was looked at.", False)
        return Answer(f"Most like it: {_when(moments[0])}, {moments[0].text}.", True, tuple(moments))

    # One way for each thing that is asked.

    def _one(self, asked: Question) -> Answer:
        """The last or first time; whether ever."""
        order: Literal["newest", "oldest"] = "oldest" if asked.asks == "first" else "newest"
        moments = self._sure(sightings(self._store, asked.things, order=order), asked, enough=1)
        if not moments:
            return self._never(asked)
        one = moments[0]
        sure = one.sure is not False
        ever = "Yes. Last seen" if sure else "Probably not. Perhaps"
        word = {"first": "First seen", "last": "Last seen", "ever": ever}[asked.asks]
        doubt = "" if sure else " A second look at the picture does not confirm it."
        value = ("yes" if sure else "no") if asked.asks == "ever" else one.text
        return Answer(
            f"{word}: {self._where(one, asked.things)}, {_when(one)}.{self._doing(one)}{doubt}", True,
            tuple(moments), self._checked, value,
        )  # fmt: skip

    def _count(self, asked: Question) -> Answer:
        every = sightings(self._store, asked.things)
        moments = self._sure(every, asked, enough=CHECKED)
        if not moments:
            return self._never(asked)
        unchecked = max(0, len(every) - CHECKED) if self._frame_of else 0
        count = len([one for one in moments if one.sure is not False]) + unchecked
        times = {0: "never for sure", 1: "once"}.get(count, f"{count} times")
        rest = f" {unchecked} of them are not looked at again." if unchecked else ""
        shown = tuple(moments[:_NAMED])
        return Answer(
            f"{_named(asked.things)} came into view {times}, last {_when(moments[0])}.{rest}", True, shown,
            self._checked, str(count),
        )  # fmt: skip

    def _beside(self, asked: Question) -> Answer:
        moments = self._sure(sightings(self._store, asked.things), asked, enough=1)
        if not moments:
            return self._never(asked)
        one = moments[0]
        others = [part for part in _parts(one.text) if not any(_names(part, thing) for thing in asked.things)]
        beside = " and ".join(others) or "nothing that i can name"
        text = f"Beside {_named(asked.things)}: {beside}, {_when(one)}.{self._doing(one)}"
        return Answer(text, True, tuple(moments), self._checked, " and ".join(others) or "nothing")

    def _order(self, asked: Question) -> Answer:
        firsts = [
            (thing, found[0])
            for thing in asked.things
            if (found := self._sure(sightings(self._store, (thing,), order="oldest"), asked, enough=1, things=(thing,)))
        ]
        if not firsts:
            return self._never(asked)
        firsts.sort(key=lambda pair: (pair[1].source.id, pair[1].tick))
        told = "; then ".join(f"{_named((thing,))} {_when(one)}" for thing, one in firsts)
        missing = [thing for thing in asked.things if thing not in dict(firsts)]
        never = f" {_named(missing)} was not seen." if missing else ""
        moments = tuple(one for _, one in firsts)
        return Answer(f"First {told}.{never}", True, moments, self._checked, firsts[0][0])

    def _at(self, asked: Question) -> Answer:
        lengths = [(source, source.ticks / source.tick_hz) for source in self._sources.values()]
        total = sum(seconds for _, seconds in lengths)
        at = total - asked.at if asked.ago else asked.at
        if not lengths or not 0.0 <= at <= total:
            return Answer(f"The recording has no such moment: it lasts {clock(total)}.", False)
        for source, seconds in lengths:
            if at <= seconds or source is lengths[-1][0]:
                break
            at -= seconds
        # A person names whole seconds: the second that begins then, and a look to either side.
        tick = round((at + 0.5) * source.tick_hz)
        around = round(0.5 * source.tick_hz) + every(source.tick_hz)
        events = self._store.between(source.id, tick - around, tick + around)
        events.sort(key=lambda event: (event.kind != SAW, max(event.first - tick, tick - event.last, 0)))
        if not events:
            return Answer(f"Nothing is noted of {clock(at)} in {source.name}.", False)
        moments = tuple(self._of(event, max(event.first, min(tick, event.last))) for event in events[:_AT_ONCE])
        told = "; ".join(f"{moment.kind}: {moment.text}" for moment in moments)
        return Answer(f"At {clock(at)} of {source.name}: {told}.", True, moments, value=moments[0].text)

    def _words(self, asked: Question) -> Answer:
        if not asked.things:
            found = self._store.newest(_NAMED, kinds=asked.kinds or (TOLD,))[::-1]
        else:
            kinds = asked.kinds or KINDS
            found = self._store.matching(phrases(asked.things), most=_NAMED, kinds=kinds)
            found = found or self._store.matching(any_of(asked.things), most=_NAMED, order="best", kinds=kinds)
        if not found:
            return self._never(asked)
        moments = tuple(self._of(event, event.first) for event in found)
        one = moments[0]
        return Answer(f"{one.kind}: {one.text} ({_when(one)}).", True, moments, value=one.text)

    # What they share.

    def _sure(
        self, found: Sequence[Sighting], asked: Question, *, enough: int, things: Sequence[str] = ()
    ) -> list[Moment]:
        """The moments of the sightings that a second look confirms, until there are `enough`; the first one, as unsure,
        where none is."""
        if self._frame_of is None:
            return [self._seen(one, None) for one in found]
        confirmed: list[Moment] = []
        for one in found[:CHECKED]:
            if self._confirmed(one, things or asked.things):
                confirmed.append(self._seen(one, True))
            if len(confirmed) == enough:
                break
        return confirmed or [self._seen(one, False) for one in found[:1]]

    def _confirmed(self, one: Sighting, things: Sequence[str]) -> bool:
        assert self._frame_of is not None
        for event in sorted(one.events, key=lambda event: -event.looks)[:_PICTURES]:
            frame = self._frame_of(self._sources[one.source], event.frame)
            if frame is None:
                return True
            self._checked += 1
            if all(self._eyes.shows([frame], thing)[0] for thing in things):
                return True
        return False

    def _seen(self, one: Sighting, sure: bool | None) -> Moment:
        event = one.clearest
        return _moment(self._sources[event.source], event.kind, event.first, event.frame, event.text, sure)

    def _of(self, event: Event, tick: int) -> Moment:
        source = self._sources[event.source]
        frame = event.frame
        if frame < 0:
            near = self._store.between(source.id, tick, tick + round(source.tick_hz), kinds=(SAW,), most=1)
            frame = near[0].frame if near else -1
        return _moment(source, event.kind, tick, frame, event.text)

    def _view(self, source: Source, tick: int) -> str:
        found = self._store.between(source.id, tick, tick, kinds=(SAW,), most=1)
        return found[0].text if found else ""

    def _where(self, moment: Moment, things: Sequence[str]) -> str:
        """Where in the picture the things were, and what else was in it."""
        parts = _parts(moment.text)
        mine = [part for part in parts if any(_names(part, thing) for thing in things)]
        if not mine:
            return f"{_named(things)} ({moment.text})"
        others = [part for part in parts if part not in mine]
        return f"the {' and the '.join(mine)}" + (f", with {' and '.join(others)}" if others else "")

    def _doing(self, moment: Moment) -> str:
        told = self._store.between(moment.source.id, moment.tick, moment.tick, kinds=(TOLD,), most=1)
        return f" The instruction then: {told[0].text}." if told else ""

    def _never(self, asked: Question) -> Answer:
        what = _named(asked.things) if asked.things else "such a thing"
        verb = "Nothing was noted of" if asked.asks == "words" else "Never seen:"
        return Answer(f"{verb} {what}.", False, checked=self._checked, value="no")


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _moment(source: Source, kind: str, tick: int, frame: int, text: str, sure: bool | None = None) -> Moment:
    return Moment(source, kind, tick, tick / source.tick_hz, frame, text, sure)


def _when(moment: Moment) -> str:
    return f"at {clock(moment.seconds)} (tick {moment.tick}) of {moment.source.name}"


def _named(things: Sequence[str]) -> str:
    return " and ".join(f"the {thing}" for thing in things)


def _parts(text: str) -> list[str]:
    return [part for part in re.split(r" and |, ", text) if part]


def _names(part: str, thing: str) -> bool:
    return re.search(rf"\b{re.escape(thing)}\b", part) is not None

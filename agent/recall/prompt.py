"""What a model is told of the past, in a bounded number of words: a summary, what a question calls up, the last
events."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agent.recall.answering import Answer, clock
from agent.recall.sightings import any_of
from agent.recall.store import DID, SAID, SAW, TOLD, Event, Source, Store

SUMMARY_WORDS, CALLED_WORDS, LAST_WORDS = 80, 160, 80  # at most, each without its heading
PROMPT_WORDS = SUMMARY_WORDS + CALLED_WORDS + LAST_WORDS + 12  # at most in the whole text
_EVENTS = 64  # that are read for a part
_LINE_WORDS = 30  # of one event; the rest is cut off
_QUESTION_WORDS = 12  # of a question that are looked up


def prompt(store: Store, question: str, answer: Answer | None = None) -> str:
    """The past in at most PROMPT_WORDS words, however long it was. `answer`: what Recall found, called up first."""
    sources = {source.id: source for source in store.sources()}
    found = [] if answer is None else [f"{_place(m.source, m.tick)} {m.kind}: {m.text}" for m in answer.moments]
    words = list(dict.fromkeys(re.findall(r"\w+", question.lower())))
    query = any_of([word for word in words if len(word) > 2][:_QUESTION_WORDS])
    more = store.matching(query, most=_EVENTS, order="best") if query else []
    called = _fitting([*found, *_lines(more, sources)], CALLED_WORDS)
    summary = _fitting(_lines(reversed(store.newest(_EVENTS, kinds=(DID,))), sources), SUMMARY_WORDS)[::-1]
    last = _fitting(_lines(reversed(store.newest(_EVENTS, kinds=(TOLD, SAID, SAW))), sources), LAST_WORDS)[::-1]
    parts = (("What was done", summary), ("What the question calls up", called), ("What came last", last))
    return "\n".join(f"{name}:\n" + "\n".join(lines) for name, lines in parts if lines)


def _lines(events: Iterable[Event], sources: dict[int, Source]) -> list[str]:
    return [f"{_place(sources[event.source], event.first)} {event.kind}: {event.text}" for event in events]


def _place(source: Source, tick: int) -> str:
    return f"[{source.name} {clock(tick / source.tick_hz)}]"


def _fitting(lines: Sequence[str], most: int) -> list[str]:
    """The first lines that have at most `most` words together, none twice."""
    kept: list[str] = []
    for line in dict.fromkeys(lines):
        words = line.split()
        cut = " ".join(words[:_LINE_WORDS]) + (" ..." if len(words) > _LINE_WORDS else "")
        most -= len(cut.split())
        if most < 0:
            break
        kept.append(cut)
    return kept

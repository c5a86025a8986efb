"""Outcomes of the playroom: captions for looking at, going to and lifting things, and for where they lie."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from envs.playroom.state import PlayroomState
from envs.playroom.things import CLASSES, COLOURS, KINDS
from tasks.outcomes import Shown
from tasks.playroom import language
from tasks.playroom.language import Meaning
from tasks.playroom.suites import HELD_OUT_PAIRS, PLACES
from tasks.playroom.verify import is_at, looks_at
from tasks.task import Pair, thing_name

# What is said of a thing {x}, by how it stands to the player.
AT = "standing right in front of the {x}"
MIDDLE = "the {x} is in the middle of the view"
HELD = "holding the {x}"
FLOOR = "the {x} lies on the floor"
FAR = "the {x} is far away"
LEFT = "the {x} is on the left"
RIGHT = "the {x} is on the right"
NONE = "there is no {x} in view"
ON = "the {x} lies on the {y}"
IN = "the {x} lies in the {y}"

_CAPTIONS = {"look_at": MIDDLE, "go_to": AT, "lift": HELD, "put_on": ON, "put_in": IN, "push_to": ON}
_CONTRASTS = {
    "look_at": (LEFT, RIGHT, NONE), "go_to": (FAR, NONE), "lift": (FLOOR, FAR, NONE),
    "put_on": (HELD, FLOOR, NONE), "put_in": (HELD, FLOOR, NONE), "push_to": (HELD, FLOOR, NONE),
}  # fmt: skip
_THINGS = (AT, MIDDLE, HELD, FLOOR, FAR, LEFT, RIGHT, NONE)
_SURFACES = (*PLACES["put_on"], "shelf")
_LYING = (*(f"the {{x}} lies on the {place}" for place in (*_SURFACES, "rug")), "the {x} lies in the bin")
_SEEN = 3  # pixels of a thing that is in view
_FAR = 2.8  # metres
_ALL = [(kind, colour) for kind in KINDS for colour in COLOURS if (kind, colour) not in HELD_OUT_PAIRS]


def caption(instruction: str) -> str | None:
    """See tasks.outcomes.Outcomes."""
    meaning = _single(instruction)
    return None if meaning is None else _said(meaning)


def contrasts(instruction: str) -> list[str]:
    """See tasks.outcomes.Outcomes."""
    meaning = _single(instruction)
    if meaning is None:
        return []
    return [said.format(x=_thing(meaning)) for said in _CONTRASTS[meaning.verb]]


def others(instruction: str) -> list[str]:
    """See tasks.outcomes.Outcomes."""
    mine = _single(instruction)
    if mine is None:
        return []
    return [
        said for said, goal in _meanings().items()
        if goal.kind != mine.kind or mine.colour not in (None, goal.colour)
    ]  # fmt: skip


@functools.cache
def goals() -> tuple[str, ...]:
    """See tasks.outcomes.Outcomes."""
    return tuple(_meanings())


def sentence(rng: np.random.Generator, caption: str) -> str | None:
    """See tasks.outcomes.Outcomes."""
    meaning = _meanings().get(caption)
    return None if meaning is None else language.sentence(rng, meaning)


def shown(state: PlayroomState) -> Shown:
    """See tasks.outcomes.Outcomes."""
    if state.labels is None:
        raise ValueError("captions need labels: make the world with labels=True")
    counts = np.bincount(state.labels.ravel(), minlength=256)
    pairs = [(thing.kind, thing.colour) for thing in state.room.things]
    seen = {pair for pair in pairs if counts[CLASSES[pair]] >= _SEEN}
    true = {NONE.format(x=thing_name(*pair)) for pair in _ALL if pair not in seen}
    false: set[str] = set()
    for pair in seen - HELD_OUT_PAIRS:
        if pairs.count(pair) > 1:
            continue  # nobody knows which of them is in view
        holds = set(_holding(state, pairs.index(pair)))
        alone = sum(kind == pair[0] for kind, _ in pairs) == 1
        for name in {thing_name(*pair), pair[0]} if alone else {thing_name(*pair)}:
            true |= {said.format(x=name) for said in holds}
            false |= {said.format(x=name) for said in (*_THINGS, *_LYING)}
        false |= {said.format(x=thing_name(*other)) for other in _alike(pair) if other not in seen for said in holds}
    return Shown(tuple(sorted(true)), tuple(sorted(false - true)))


def _single(instruction: str) -> Meaning | None:
    """The meaning of what one picture can show."""
    meaning = language.read(instruction)
    if meaning is None or meaning.kind is None or meaning.other is not None or meaning.verb not in _CAPTIONS:
        return None
    return meaning


def _thing(meaning: Meaning) -> str:
    assert meaning.kind is not None
    return thing_name(meaning.kind, meaning.colour)


def _said(meaning: Meaning) -> str:
    return _CAPTIONS[meaning.verb].format(x=_thing(meaning), y=meaning.place)


@functools.cache
def _meanings() -> dict[str, Meaning]:
    """The goal of each caption that is one's."""
    found = [Meaning(verb, *pair) for pair in _ALL for verb in ("look_at", "go_to", "lift")]
    found += [
        Meaning(verb, *pair, place) for pair in _ALL for verb in ("put_on", "put_in", "push_to")
        for place in PLACES[verb]
    ]  # fmt: skip
    return {_said(meaning): meaning for meaning in found}


def _holding(state: PlayroomState, thing: int) -> Iterator[str]:
    """What holds of a thing in view, {x} still open. The verifiers' own limits decide."""
    right, _ = state.bearing(thing)
    if looks_at(state, thing):
        yield MIDDLE
    elif abs(right) > 10.0:
        yield RIGHT if right > 0 else LEFT
    if is_at(state, thing):
        yield AT
    if state.distance(thing) > _FAR:
        yield FAR
    if state.held == thing:
        if not any(one == thing for one, _ in state.on):
            yield HELD
        return
    if state.is_in(thing):
        yield _LYING[-1]
        return
    for place in _SURFACES:
        if state.room.piece(place) is not None and state.lies_on(thing, place):
            yield _LYING[_SURFACES.index(place)]
    if state.lies_on(thing, "rug"):
        yield _LYING[-2]
    elif state.lies_on(thing, "floor"):
        yield FLOOR


def _alike(pair: tuple[str, str]) -> list[Pair]:
    """Things of the same kind or the same colour."""
    return [other for other in _ALL if other != pair and (other[0] == pair[0] or other[1] == pair[1])]

"""Outcomes of Doom: captions for going to, facing and touching things, and for looking up and down."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from envs.doom.things import ACTORS, CLASSES, KINDS
from envs.doom.world import DoomObject, DoomState
from tasks.doom import language
from tasks.doom.geometry import REACH, REACH_ANGLE, bearing, distance, face_tolerance, gap
from tasks.doom.goals import HELD_OUT_PAIRS
from tasks.doom.language import Meaning
from tasks.doom.verify import LOOK_ANGLE, TOUCH_GAP
from tasks.outcomes import Shown
from tasks.task import Pair, thing_name

# What is said of a thing {x}, by how it stands to the player.
AT = "standing right in front of the {x}"
MIDDLE = "the {x} is in the middle of the view"
TOUCHING = "touching the {x}"
NEAR = "close to the {x} without touching it"
FAR = "the {x} is far away"
LEFT = "the {x} is on the left"
RIGHT = "the {x} is on the right"
NONE = "there is no {x} in view"
UP, DOWN, LEVEL = "looking up", "looking down", "looking straight ahead"

_CAPTIONS = {"go_to": AT, "face": MIDDLE, "touch": TOUCHING}
_CONTRASTS = {"go_to": (FAR, NONE), "face": (LEFT, RIGHT, NONE), "touch": (NEAR, FAR, NONE)}
_LOOKS = {"look_up": UP, "look_down": DOWN}
_THINGS = (AT, MIDDLE, TOUCHING, NEAR, FAR, LEFT, RIGHT)
_SEEN = 3  # pixels of a thing that is in view


def _name(pair: Pair) -> str:
    return thing_name(*pair)


_NAMES = {_name(pair): pair for pair in ACTORS if pair not in HELD_OUT_PAIRS}


def caption(instruction: str) -> str | None:
    """See tasks.outcomes.Outcomes."""
    meaning = _single(instruction)
    if meaning is None:
        return None
    return _LOOKS.get(meaning.verb) or _CAPTIONS[meaning.verb].format(x=_thing(meaning))


def contrasts(instruction: str) -> list[str]:
    """See tasks.outcomes.Outcomes."""
    meaning = _single(instruction)
    if meaning is None:
        return []
    if meaning.verb in _LOOKS:
        return [said for said in (UP, DOWN, LEVEL) if said != _LOOKS[meaning.verb]]
    return [said.format(x=_thing(meaning)) for said in _CONTRASTS[meaning.verb]]


def others(instruction: str) -> list[str]:
    """See tasks.outcomes.Outcomes."""
    mine = _single(instruction)
    if mine is None or mine.kind is None:
        return []
    return [said for said, goal in _meanings().items() if goal.kind is not None and not _same(mine, goal)]


@functools.cache
def goals() -> tuple[str, ...]:
    """See tasks.outcomes.Outcomes."""
    things = [said.format(x=name) for said in _CAPTIONS.values() for name in _NAMES]
    return (*things, UP, DOWN)


def sentence(rng: np.random.Generator, caption: str) -> str | None:
    """See tasks.outcomes.Outcomes."""
    meaning = _meanings().get(caption)
    return None if meaning is None else language.sentence(rng, meaning)


def shown(state: DoomState) -> Shown:
    """See tasks.outcomes.Outcomes."""
    if state.labels is None:
        raise ValueError("captions need labels: make the world with labels=True")
    counts = np.bincount(state.labels.ravel(), minlength=256)
    seen = [o for o in state.objects if counts[CLASSES[o.kind, o.colour]] >= _SEEN]
    pairs = {(o.kind, o.colour) for o in seen}
    true = {_look(state), *(NONE.format(x=name) for name, pair in _NAMES.items() if pair not in pairs)}
    false = {UP, DOWN, LEVEL}
    for thing in _nearest(state, seen):
        pair = (thing.kind, thing.colour)
        if pair in HELD_OUT_PAIRS:
            continue
        holds = set(_holding(state, thing))
        alone = sum(kind == thing.kind for kind, _ in pairs) == 1
        for name in {_name(pair), thing.kind} if alone else {_name(pair)}:
            true |= {said.format(x=name) for said in holds}
            false |= {said.format(x=name) for said in (*_THINGS, NONE)}
        false |= {said.format(x=_name(other)) for other in _alike(pair) if other not in pairs for said in holds}
    return Shown(tuple(sorted(true)), tuple(sorted(false - true)))


def _single(instruction: str) -> Meaning | None:
    """The meaning of a single step that one picture can show."""
    meaning = language.read(instruction)
    if meaning is None or meaning.then or meaning.avoid or meaning.relation:
        return None
    if meaning.verb in _LOOKS:
        return meaning
    return meaning if meaning.verb in _CAPTIONS and meaning.kind in KINDS else None


def _same(mine: Meaning, goal: Meaning) -> bool:
    """Whether what a goal is about may be what `mine`, which may name no colour, is about."""
    return mine.kind == goal.kind and mine.colour in (None, goal.colour)


def _thing(meaning: Meaning) -> str:
    assert meaning.kind is not None
    return _name((meaning.kind, meaning.colour))


@functools.cache
def _meanings() -> dict[str, Meaning]:
    """The goal of each caption that is one's."""
    things = {
        said.format(x=name): Meaning(verb, *pair) for verb, said in _CAPTIONS.items() for name, pair in _NAMES.items()
    }
    return things | {said: Meaning(verb) for verb, said in _LOOKS.items()}


def _look(state: DoomState) -> str:
    if abs(state.pitch) < LOOK_ANGLE:
        return LEVEL
    return UP if state.pitch > 0 else DOWN


def _nearest(state: DoomState, things: list[DoomObject]) -> Iterator[DoomObject]:
    """The nearest thing of each kind and colour."""
    found: set[Pair] = set()
    for thing in sorted(things, key=lambda o: distance(state, o.x, o.y)):
        if (thing.kind, thing.colour) not in found:
            found.add((thing.kind, thing.colour))
            yield thing


def _holding(state: DoomState, thing: DoomObject) -> Iterator[str]:
    """What holds of a thing in view. The verifiers' own limits decide."""
    dist, off = distance(state, thing.x, thing.y), bearing(state, thing.x, thing.y)
    tolerance = face_tolerance(dist)
    if abs(off) <= tolerance:
        yield MIDDLE
    elif abs(off) > 2 * tolerance:
        yield RIGHT if off > 0 else LEFT
    if dist <= REACH and abs(off) <= REACH_ANGLE:
        yield AT
    if dist > 2 * REACH:
        yield FAR
    touches = gap(state, thing) <= TOUCH_GAP
    if touches:
        yield TOUCHING
    elif dist <= 1.5 * REACH:
        yield NEAR


def _alike(pair: Pair) -> list[Pair]:
    """Things of the same kind or the same colour."""
    kind, colour = pair
    return [p for p in _NAMES.values() if p != pair and (p[0] == kind or (colour is not None and p[1] == colour))]

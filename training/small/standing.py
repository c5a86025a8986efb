"""Two that are alike in a frame of doom: which of them an instruction means, or that it does not say which.

Levels of relations are few, and in most frames of them there is nothing to choose. But in any frame with two alike one
can ask for the one left of something, next to it, or nearer. What does not clearly hold is not asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from envs.doom.things import KINDS
from tasks.doom.goals import HELD_OUT_PAIRS
from tasks.doom.language import Meaning
from tasks.doom.questions import clear
from tasks.doom.scene import Scene, Seen

_APART = 0.1  # of the picture's width between what is left of something and that; about 10 degrees
_NEAR, _FAR = 130.0, 260.0  # map units between what stands next to something, and those alike that don't
_NEARER, _TIMES = 90.0, 1.3  # map units, and times, that the farther one is farther away
_VERBS = {"pickup": ("go_to", "face", "pick_up"), "solid": ("go_to", "face"), "monster": ("go_to", "face", "shoot")}


def by_standing(rng: np.random.Generator, scene: Scene) -> tuple[Meaning, Seen] | None:
    """An instruction that tells one thing of a scene by where it stands, and that thing; None where no two are alike.
    Never a held-out pair."""
    things = [seen for seen in scene if not seen.fixture and clear(seen)]
    found = [
        (named, thing, told)
        for named, alike in _alike(things)
        for thing in alike
        for told in _told(thing, [one for one in alike if one is not thing], things)
    ]
    if not found:
        return None
    relations = sorted({relation for _, _, (relation, _) in found})
    chosen = relations[int(rng.integers(len(relations)))]
    among = [one for one in found if one[2][0] == chosen]
    (kind, colour), thing, (relation, other) = among[int(rng.integers(len(among)))]
    return Meaning(_verb(rng, kind), kind, colour, relation, None if other is None else other.pair), thing


def one_of_two(rng: np.random.Generator, scene: Scene) -> tuple[Meaning, tuple[str, ...]] | None:
    """An instruction that names a kind of which just two colours are in view, and these colours in the guide's order;
    None where there is no such kind. Never a held-out pair."""
    found = []
    for kind, shape in KINDS.items():
        of_kind = [seen for seen in scene if not seen.fixture and seen.kind == kind]
        colours = {seen.colour for seen in of_kind}
        if len(colours) == 2 and all(clear(seen) and seen.pair not in HELD_OUT_PAIRS for seen in of_kind):
            found.append((kind, tuple(str(one) for one in shape.colours if one in colours)))
    if not found:
        return None
    kind, colours_there = found[int(rng.integers(len(found)))]
    return Meaning(_verb(rng, kind), kind), colours_there


def _verb(rng: np.random.Generator, kind: str) -> str:
    verbs = _VERBS[KINDS[kind].role]
    return verbs[int(rng.integers(len(verbs)))]


def _alike(things: Sequence[Seen]) -> Iterator[tuple[tuple[str, str | None], list[Seen]]]:
    """Two or three things with the same name, and that name: of one kind, or of one kind and colour."""
    for kind in sorted({thing.kind for thing in things}):
        of_kind = [thing for thing in things if thing.kind == kind]
        if HELD_OUT_PAIRS & {thing.pair for thing in of_kind}:
            continue
        if len(of_kind) in (2, 3):
            yield (kind, None), of_kind
        for pair in sorted({thing.pair for thing in of_kind}):
            of_pair = [thing for thing in of_kind if thing.pair == pair]
            if len(of_pair) in (2, 3):
                yield pair, of_pair


def _told(thing: Seen, others: Sequence[Seen], things: Sequence[Seen]) -> Iterator[tuple[str, Seen | None]]:
    """The relations that hold for a thing and clearly for none of the others, with what they relate to."""
    if all(_farther(one, thing) for one in others):
        yield "nearer", None
    if all(_farther(thing, one) for one in others):
        yield "farther", None
    for beside in things:
        kinds = sum(one.kind == beside.kind for one in things)
        if beside.kind == thing.kind or kinds > 1 or beside.pair in HELD_OUT_PAIRS:
            continue
        off = thing.column - beside.column
        sides = [math.copysign(1.0, off) * (beside.column - one.column) for one in others]
        if abs(off) >= _APART and min(sides) >= _APART:  # the others are on the other side
            yield ("left_of" if off < 0 else "right_of"), beside
        if _between(thing, beside) <= _NEAR and all(_between(one, beside) >= _FAR for one in others):
            yield "next_to", beside


def _farther(one: Seen, other: Seen) -> bool:
    return one.distance - other.distance > _NEARER and one.distance > _TIMES * other.distance


def _between(one: Seen, other: Seen) -> float:
    """Map units between two things; the picture is taken to be as wide as doom's is."""
    (ax, ay), (bx, by) = (_spot(seen) for seen in (one, other))
    return math.hypot(ax - bx, ay - by)


def _spot(seen: Seen) -> tuple[float, float]:
    angle = math.atan(2.0 * seen.column - 1.0)
    return seen.distance * math.sin(angle), seen.distance * math.cos(angle)

"""Instructions of the playroom, and the way back. Going and looking are said as in every world (tasks.templates)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

from envs.playroom.things import COLOURS, KINDS
from tasks.task import Phrasing
from tasks.templates import COMMON, COMMON_HELD_OUT, Grammar, words_of

TRAINING: dict[str, tuple[str, ...]] = {
    "look_at": (*COMMON["face"], "find {x}", "look for {x}", "where is {x}", "show me {x}"),
    "go_to": COMMON["go_to"],
    "lift": (
        "lift {x}", "pick up {x}", "take {x}", "grab {x}", "hold {x}", "pick {x} up", "lift up {x}", "raise {x}",
        "take hold of {x}", "lift {x} up", "go and get {x}", "get {x}", "take {x} in your hand", "fetch {x}",
    ),
    "put_on": (
        "put {x} on the {y}", "place {x} on the {y}", "set {x} on the {y}", "lay {x} on the {y}", "move {x} to the {y}",
        "put {x} onto the {y}", "take {x} and put it on the {y}", "pick up {x} and place it on the {y}",
        "set {x} down on the {y}", "bring {x} to the {y}", "carry {x} to the {y}", "get {x} onto the {y}",
    ),
    "put_in": (
        "put {x} in the {y}", "put {x} into the {y}", "drop {x} in the {y}", "drop {x} into the {y}",
        "place {x} in the {y}", "throw {x} in the {y}", "take {x} and put it in the {y}", "put {x} away in the {y}",
        "pick up {x} and drop it into the {y}", "carry {x} to the {y} and drop it in", "get {x} into the {y}",
        "toss {x} into the {y}",
    ),
    "push_to": (
        "push {x} to the {y}", "push {x} onto the {y}", "shove {x} to the {y}", "shove {x} onto the {y}",
        "move {x} onto the {y} without lifting it", "slide {x} to the {y}", "slide {x} onto the {y}",
        "nudge {x} onto the {y}", "push {x} over to the {y}", "push {x} until it is on the {y}", "drive {x} to the {y}",
        "get {x} onto the {y} by pushing it",
    ),
    "stack": (
        "stack {x} on {z}", "stack {x} on top of {z}", "put {x} on {z}", "put {x} on top of {z}", "put {x} onto {z}",
        "place {x} on {z}", "place {x} on top of {z}", "set {x} on {z}", "set {x} down on top of {z}", "lay {x} on {z}",
        "take {x} and put it on {z}", "pick up {x} and stack it on {z}", "get {x} onto {z}", "balance {x} on {z}",
    ),
    "sort_on": (
        "put all {c} things on the {y}", "put everything {c} on the {y}", "put every {c} thing on the {y}",
        "place all the {c} things on the {y}", "set everything {c} on the {y}", "sort the {c} things onto the {y}",
        "collect the {c} things on the {y}", "gather everything {c} on the {y}", "move all the {c} things to the {y}",
        "carry everything {c} to the {y}", "lay all {c} things on the {y}", "bring every {c} thing to the {y}",
    ),
    "sort_in": (
        "put all {c} things in the {y}", "put everything {c} in the {y}", "put every {c} thing into the {y}",
        "put all the {c} things into the {y}", "drop everything {c} into the {y}", "sort the {c} things into the {y}",
        "collect the {c} things in the {y}", "gather everything {c} in the {y}", "throw all the {c} things in the {y}",
        "tidy all {c} things away into the {y}", "clear the {c} things into the {y}", "drop every {c} thing in the {y}",
    ),
}  # fmt: skip
HELD_OUT: dict[str, tuple[str, ...]] = {
    "look_at": (*COMMON_HELD_OUT["face"], "search for {x}", "locate {x}"),
    "go_to": COMMON_HELD_OUT["go_to"],
    "lift": ("pick {x} up off the floor", "get hold of {x}", "find {x} and lift it", "hold {x} up"),
    "put_on": ("leave {x} on the {y}", "let {x} lie on the {y}", "find {x} and put it on the {y}",
               "rest {x} on the {y}"),
    "put_in": ("leave {x} in the {y}", "clear {x} away into the {y}", "find {x} and put it in the {y}",
               "let {x} fall into the {y}"),
    "push_to": ("give {x} pushes until it lies on the {y}", "shift {x} onto the {y} by pushing",
                "bring {x} to the {y} by pushing it", "shove {x} until it is on the {y}"),
    "stack": ("rest {x} on top of {z}", "find {x} and stack it on {z}", "let {x} stand on {z}", "leave {x} on {z}"),
    "sort_on": ("get every {c} thing onto the {y}", "let everything {c} lie on the {y}",
                "find all {c} things and put them on the {y}", "leave no {c} thing off the {y}"),
    "sort_in": ("get every {c} thing into the {y}", "let everything {c} lie in the {y}",
                "find all {c} things and put them in the {y}", "leave no {c} thing out of the {y}"),
}  # fmt: skip

PLACES: dict[str, tuple[str, ...]] = {
    "table": ("table",),
    "shelf": ("shelf",),
    "bin": ("bin", "box", "crate"),
    "bench": ("bench",),
    "bed": ("bed",),
    "rug": ("rug", "mat", "carpet"),
}


@dataclass(frozen=True)
class Meaning:
    """What an instruction of the playroom asks for.

    `kind`: None where all things of a colour are meant. `colour`: None where none is named. `place`: furniture.
    `other`: kind and colour, or None, of the thing that it is stacked on.
    """

    verb: str
    kind: str | None
    colour: str | None
    place: str | None = None
    other: tuple[str, str | None] | None = None


GRAMMAR = Grammar(
    TRAINING, HELD_OUT, {"y": "|".join(word for words in PLACES.values() for word in words), "c": "|".join(COLOURS)}
)


def phrase(rng: np.random.Generator, meaning: Meaning, phrasing: Phrasing = "training") -> str:
    """An instruction that means this."""
    place = str(rng.choice(list(PLACES[meaning.place]))) if meaning.place else ""
    return GRAMMAR.phrase(
        rng, meaning.verb, held_out=phrasing == "held_out", x=_noun(meaning.kind, meaning.colour), y=place,
        z=_noun(*meaning.other) if meaning.other else "", c=meaning.colour or "",
    )  # fmt: skip


def sentence(rng: np.random.Generator, meaning: Meaning) -> str:
    """An instruction that means this, in a training phrasing."""
    return phrase(rng, meaning)


def read(text: str) -> Meaning | None:
    """What an instruction asks for, or None where the grammar does not know it."""
    for verb, slots in GRAMMAR.readings(text):
        place = next((kind for kind, names in PLACES.items() if slots.get("y") in names), None)
        if verb.endswith("_in") != (place == "bin") and verb in ("put_in", "sort_in", "sort_on"):
            continue
        if verb.startswith("sort"):
            return Meaning(verb, None, slots["c"], place)
        thing, other = _read_thing(slots["x"]), _read_thing(slots.get("z", ""))
        if thing is not None and (verb != "stack" or other is not None):
            return Meaning(verb, *thing, place, other)
    return None


@functools.cache
def words() -> frozenset[str]:
    """The words that instructions are made of."""
    return GRAMMAR.words() | words_of((*KINDS, *COLOURS, *(name for names in PLACES.values() for name in names)))


def plain(meaning: Meaning) -> str:
    """What is meant in plain words: "put red cube on table"."""
    verb, _, way = meaning.verb.partition("_")
    if meaning.kind is None:
        return f"put {meaning.colour} things {way} {meaning.place}"
    name = f"{meaning.colour or ''} {meaning.kind}".strip()
    if meaning.other is not None:
        kind, colour = meaning.other
        return f"{verb} {name} on {colour or ''} {kind}".replace("  ", " ")
    return f"{verb} {name} {way} {meaning.place}" if meaning.place else f"{verb} {way} {name}".replace("  ", " ")


def _noun(kind: str | None, colour: str | None) -> str:
    return f"the {colour} {kind}" if colour else f"the {kind}"


def _read_thing(words: str) -> tuple[str, str | None] | None:
    parts = re.sub(r"^(?:the|a|an|that|this) ", "", words).split()
    if parts and parts[-1] in KINDS and len(parts) <= 2 and (len(parts) == 1 or parts[0] in COLOURS):
        return parts[-1], parts[0] if len(parts) == 2 else None
    return None

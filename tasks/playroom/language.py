"""Instructions of the playroom, and the way back. Going, looking and lifting are said as in tasks.phrases."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from envs.playroom.things import COLOURS, KINDS
from tasks import phrases
from tasks.grammar import Grammar
from tasks.language import Phrasing

TRAINING: dict[str, tuple[str, ...]] = {
    "look_at": (*phrases.TRAINING["face"], "find {x}", "look for {x}", "where is {x}", "show me {x}"),
    "go_to": phrases.TRAINING["go_to"],
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
}  # fmt: skip
HELD_OUT: dict[str, tuple[str, ...]] = {
    "look_at": (*phrases.HELD_OUT["face"], "search for {x}", "locate {x}"),
    "go_to": phrases.HELD_OUT["go_to"],
    "lift": ("pick {x} up off the floor", "get hold of {x}", "find {x} and lift it", "hold {x} up"),
    "put_on": ("leave {x} on the {y}", "let {x} lie on the {y}", "find {x} and put it on the {y}",
               "rest {x} on the {y}"),
    "put_in": ("leave {x} in the {y}", "clear {x} away into the {y}", "find {x} and put it in the {y}",
               "let {x} fall into the {y}"),
    "push_to": ("give {x} pushes until it lies on the {y}", "shift {x} onto the {y} by pushing",
                "bring {x} to the {y} by pushing it", "shove {x} until it is on the {y}"),
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
    """What an instruction of the playroom asks for. `colour` is None where none is named; `place`: furniture."""

    verb: str
    kind: str
    colour: str | None
    place: str | None = None


GRAMMAR = Grammar(TRAINING, HELD_OUT, {"y": "|".join(word for words in PLACES.values() for word in words)})


def phrase(rng: np.random.Generator, meaning: Meaning, phrasing: Phrasing = "training") -> str:
    """An instruction that means this."""
    noun = f"the {meaning.colour} {meaning.kind}" if meaning.colour else f"the {meaning.kind}"
    place = str(rng.choice(list(PLACES[meaning.place]))) if meaning.place else ""
    return GRAMMAR.phrase(rng, meaning.verb, held_out=phrasing == "held_out", x=noun, y=place)


def read(text: str) -> Meaning | None:
    """What an instruction asks for, or None where the grammar does not know it."""
    for verb, slots in GRAMMAR.readings(text):
        thing = _read_thing(slots["x"])
        place = next((kind for kind, names in PLACES.items() if slots.get("y") in names), None)
        if thing is not None and (verb != "put_in" or place == "bin"):
            return Meaning(verb, *thing, place)
    return None


def _read_thing(words: str) -> tuple[str, str | None] | None:
    parts = re.sub(r"^(?:the|a|an|that|this) ", "", words).split()
    if parts and parts[-1] in KINDS and len(parts) <= 2 and (len(parts) == 1 or parts[0] in COLOURS):
        return parts[-1], parts[0] if len(parts) == 2 else None
    return None

"""Instructions of the playroom, and the way back. Going, looking and lifting are said as in tasks.phrases."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from envs.playroom.things import COLOURS, KINDS
from tasks import phrases
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
_START = re.compile(r"^(?:please|now|can you|could you|hey|ok|next)[, ]+")
_END = re.compile(r"(?:,? please|,? now| for me|[.!?])+$")


@dataclass(frozen=True)
class Meaning:
    """What an instruction of the playroom asks for. `colour` is None where none is named; `place`: furniture."""

    verb: str
    kind: str
    colour: str | None
    place: str | None = None


def phrase(rng: np.random.Generator, meaning: Meaning, phrasing: Phrasing = "training") -> str:
    """An instruction that means this."""
    templates = (TRAINING if phrasing == "training" else HELD_OUT)[meaning.verb]
    noun = f"the {meaning.colour} {meaning.kind}" if meaning.colour else f"the {meaning.kind}"
    place = str(rng.choice(list(PLACES[meaning.place]))) if meaning.place else ""
    text = str(rng.choice(list(templates))).format(x=noun, y=place)
    return f"{rng.choice(list(phrases.PREFIXES))}{text}{rng.choice(list(phrases.SUFFIXES))}"


def _compile() -> list[tuple[str, re.Pattern[str]]]:
    places = "|".join(word for words in PLACES.values() for word in words)
    patterns = []
    for verb, templates in TRAINING.items():
        for template in templates + HELD_OUT[verb]:
            body = re.escape(template).replace(r"\{x\}", "(?P<x>.+?)").replace(r"\{y\}", f"(?P<y>{places})")
            patterns.append((verb, re.compile(body)))
    # the longest first: "take it and put it on the table" is no "take"
    return sorted(patterns, key=lambda pair: -len(pair[1].pattern))


_PATTERNS = _compile()


def read(text: str) -> Meaning | None:
    """What an instruction asks for, or None where the grammar does not know it."""
    words = re.sub(r"\s+", " ", text.strip().lower())
    while (shorter := _END.sub("", _START.sub("", words))) != words:
        words = shorter
    for verb, pattern in _PATTERNS:
        match = pattern.fullmatch(words)
        thing = _read_thing(match["x"]) if match else None
        if match is None or thing is None:
            continue
        said = match.groupdict().get("y")
        place = next((kind for kind, names in PLACES.items() if said in names), None)
        if verb == "put_in" and place != "bin":
            continue
        return Meaning(verb, *thing, place)
    return None


def _read_thing(words: str) -> tuple[str, str | None] | None:
    parts = re.sub(r"^(?:the|a|an|that|this) ", "", words).split()
    if parts and parts[-1] in KINDS and len(parts) <= 2 and (len(parts) == 1 or parts[0] in COLOURS):
        return parts[-1], parts[0] if len(parts) == 2 else None
    return None

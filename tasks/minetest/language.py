"""Instructions for Minetest, and the way back. Going and looking are said as in every world (tasks.templates)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

from envs.minetest.things import COLOURS, KINDS
from tasks.task import Phrasing
from tasks.templates import COMMON, COMMON_HELD_OUT, Grammar, words_of

TRAINING: dict[str, tuple[str, ...]] = {
    "look_at": (*COMMON["face"], "find {x}", "look for {x}", "where is {x}", "show me {x}"),
    "go_to": COMMON["go_to"],
    "dig": (
        "dig {x}", "dig up {x}", "dig out {x}", "mine {x}", "break {x}", "go and dig {x}", "break {x} down",
        "knock down {x}", "destroy {x}", "take {x} away", "remove {x}", "tear down {x}", "go to {x} and dig it",
        "dig {x} away", "find {x} and break it", "clear {x} away",
    ),
    "collect": (
        "collect {n} {x}", "gather {n} {x}", "get {n} {x}", "mine {n} {x}", "dig up {n} {x}", "dig {n} {x}",
        "go and collect {n} {x}", "bring in {n} {x}", "pick up {n} {x}", "find and collect {n} {x}", "fetch {n} {x}",
        "go and get {n} {x}",
    ),
    "place_on": (
        "put a block on {x}", "place a block on {x}", "place a block on top of {x}", "put a block on top of {x}",
        "set a block on {x}", "stack a block on {x}", "put your block on {x}", "build on {x}", "add a block on {x}",
        "go to {x} and put a block on it", "set your block on top of {x}", "place your block on {x}",
    ),
    "enter": (
        "enter {x}", "go into {x}", "go inside {x}", "walk into {x}", "go in {x}", "step into {x}", "get into {x}",
        "open the door of {x} and go in", "go to {x} and enter it", "find {x} and go inside", "go inside of {x}",
        "get inside {x}",
    ),
    "open": (
        *COMMON["open"], "look into {x}", "look inside {x}", "see what is in {x}", "open the lid of {x}",
        "lift the lid of {x}",
    ),
}  # fmt: skip
HELD_OUT: dict[str, tuple[str, ...]] = {
    "look_at": (*COMMON_HELD_OUT["face"], "search for {x}", "locate {x}"),
    "go_to": COMMON_HELD_OUT["go_to"],
    "dig": ("smash {x}", "get rid of {x}", "demolish {x}", "break {x} to pieces"),
    "collect": ("harvest {n} {x}", "dig out {n} {x} and keep them", "bring me {n} {x}", "i want {n} {x}"),
    "place_on": (
        "lay a block onto {x}", "leave a block on top of {x}", "top {x} with a block", "let a block stand on {x}",
    ),
    "enter": ("step inside {x}", "go through the door of {x}", "head inside {x}", "go and be in {x}"),
    "open": (*COMMON_HELD_OUT["open"], "find out what is in {x}", "check what {x} holds"),
}  # fmt: skip
NUMBERS = {2: "two", 3: "three"}
_WORDS = {word: number for number, name in NUMBERS.items() for word in (name, str(number))}
_KINDS = {"open": {"chest"}, "enter": {"house"}, "place_on": {"block"}}
DIGGABLE = frozenset(kind.name for kind in KINDS.values() if kind.diggable)
GRAMMAR = Grammar(TRAINING, HELD_OUT, {"n": "|".join(_WORDS)})


@dataclass(frozen=True)
class Meaning:
    """What an instruction in Minetest asks for. `colour` is None where none is named; `count`: how many to collect."""

    verb: str
    kind: str
    colour: str | None
    count: int = 1


def kinds_for(verb: str) -> frozenset[str]:
    """The kinds of things that it can be done with."""
    if verb in ("dig", "collect"):
        return DIGGABLE
    return frozenset(_KINDS.get(verb, KINDS))


def phrase(rng: np.random.Generator, meaning: Meaning, phrasing: Phrasing = "training") -> str:
    """An instruction that means this."""
    noun = f"{meaning.colour} {meaning.kind}" if meaning.colour else meaning.kind
    noun = _plural(noun) if meaning.verb == "collect" else f"the {noun}"
    number = NUMBERS.get(meaning.count, "")
    return GRAMMAR.phrase(rng, meaning.verb, held_out=phrasing == "held_out", x=noun, n=number)


def sentence(rng: np.random.Generator, meaning: Meaning) -> str:
    """An instruction that means this, in a training phrasing."""
    return phrase(rng, meaning)


def read(text: str) -> Meaning | None:
    """What an instruction asks for, or None where the grammar does not know it."""
    for verb, slots in GRAMMAR.readings(text):
        words = re.sub(r"^(?:the|a|an|that|this) ", "", slots["x"]).split()
        if verb == "collect" and words:
            words[-1] = {_plural(kind): kind for kind in KINDS}.get(words[-1], "")
        colour = words[0] if len(words) == 2 else None
        if words and len(words) <= 2 and words[-1] in kinds_for(verb) and colour in (None, *COLOURS):
            return Meaning(verb, words[-1], colour, _WORDS.get(slots.get("n") or "", 1))
    return None


@functools.cache
def words() -> frozenset[str]:
    """The words that instructions are made of."""
    return GRAMMAR.words() | words_of((*KINDS, *COLOURS, *_WORDS, *map(_plural, KINDS)))


def plain(meaning: Meaning) -> str:
    """What is meant in plain words: "collect 2 red block"."""
    name = f"{meaning.colour or ''} {meaning.kind}".strip()
    if meaning.verb == "collect":
        return f"collect {meaning.count} {name}"
    return f"place block on {name}" if meaning.verb == "place_on" else f"{meaning.verb.replace('_', ' ')} {name}"


def _plural(noun: str) -> str:
    return noun + ("es" if noun.endswith("s") else "s")

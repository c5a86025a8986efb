"""How people say it: phrasings for every verb, words for every thing and colour, and the way back.

`TRAINING` phrasings and words are what demonstrations use; `HELD_OUT` ones are only for evaluation. `read` understands
both: it turns a typed sentence back into a verb and a thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from envs.doom.things import COLOURS, KINDS

Phrasing = Literal["training", "held_out"]

TRAINING: dict[str, tuple[str, ...]] = {
    "go_to": (
        "go to {x}", "walk to {x}", "move to {x}", "head to {x}", "head over to {x}", "go over to {x}",
        "walk up to {x}", "get to {x}", "come to {x}", "find {x} and go to it", "make your way to {x}",
        "go and stand by {x}", "go stand next to {x}", "get close to {x}", "walk towards {x}", "reach {x}",
    ),
    "face": (
        "face {x}", "turn to {x}", "turn towards {x}", "look at {x}", "turn to face {x}", "turn and look at {x}",
        "point yourself at {x}", "face towards {x}", "watch {x}", "keep your eyes on {x}", "turn your view to {x}",
        "have a look at {x}", "aim your view at {x}", "rotate until you see {x} ahead",
    ),
    "pick_up": (
        "pick up {x}", "take {x}", "grab {x}", "get {x}", "collect {x}", "fetch {x}", "pick {x} up",
        "go and get {x}", "go take {x}", "go grab {x}", "i want you to have {x}", "walk over {x} to take it",
        "find and collect {x}", "bring me {x}",
    ),
    "touch": (
        "touch {x}", "bump into {x}", "run into {x}", "walk into {x}", "push against {x}", "go right up against {x}",
        "make contact with {x}", "press yourself against {x}", "go until you hit {x}", "nudge {x}", "rub against {x}",
        "lean on {x}",
    ),
    "shoot": (
        "shoot {x}", "shoot at {x}", "fire at {x}", "kill {x}", "attack {x}", "open fire on {x}", "take down {x}",
        "gun down {x}", "destroy {x}", "put a bullet in {x}", "shoot {x} dead", "finish off {x}", "hit {x} with a shot",
        "get rid of {x}", "take a shot at {x}",
    ),
    "look_up": (
        "look up", "look upwards", "raise your head", "tilt your view up", "look at the ceiling", "eyes up",
        "move your view up", "turn your head up", "look above you", "lift your eyes", "aim your view at the ceiling",
        "face the ceiling",
    ),
    "look_down": (
        "look down", "look downwards", "lower your head", "tilt your view down", "look at the floor", "eyes down",
        "move your view down", "turn your head down", "look below you", "drop your eyes", "aim your view at the floor",
        "face the floor",
    ),
    "stand_still": (
        "stand still", "stay where you are", "do not move", "don't move", "wait here", "stay put", "hold still",
        "freeze", "remain where you are", "do nothing", "just wait", "stop right there", "keep still",
    ),
    "press": (
        "press the {x}", "push the {x}", "use the {x}", "press the {x} on the wall", "hit the {x}", "go press the {x}",
        "go and push the {x}", "activate the {x}", "walk to the {x} and press it", "find the {x} and use it",
        "trigger the {x}", "operate the {x}", "flip the {x}",
    ),
}  # fmt: skip

HELD_OUT: dict[str, tuple[str, ...]] = {
    "go_to": ("approach {x}", "go up to {x}", "walk over to {x}", "move close to {x}", "head towards {x}"),
    "face": ("turn so that you face {x}", "look towards {x}", "turn around to see {x}", "point your view at {x}"),
    "pick_up": ("go pick up {x}", "find {x} and take it", "get hold of {x}", "walk to {x} and pick it up"),
    "touch": ("go touch {x}", "walk up against {x}", "bump {x}", "go and make contact with {x}"),
    "shoot": ("eliminate {x}", "fire a shot at {x}", "shoot down {x}", "find {x} and kill it"),
    "look_up": ("look up at the ceiling", "tilt your head up", "point your view upwards", "raise your eyes"),
    "look_down": ("look down at the floor", "tilt your head down", "point your view downwards", "lower your eyes"),
    "stand_still": ("stay here and wait", "stand where you are", "don't do anything", "hold your position"),
    "press": ("go use the {x}", "push the {x} on the wall", "press that {x}", "find and press the {x}"),
}

_PREFIXES = ("", "", "", "", "please ", "now ", "can you ", "could you ", "hey, ", "ok, ", "next, ")
_SUFFIXES = ("", "", "", "", "", " please", " now", " for me")

NOUNS: dict[str, tuple[str, ...]] = {
    "key": ("key", "keycard", "key card"),
    "skull": ("skull",),
    "armor": ("armor", "armour", "body armor"),
    "map": ("map", "computer map"),
    "orb": ("orb", "sphere", "ball"),
    "mask": ("mask", "face mask"),
    "medikit": ("medikit", "medkit", "first aid kit"),
    "backpack": ("backpack", "rucksack"),
    "suit": ("suit", "radiation suit", "hazmat suit"),
    "torch": ("torch", "flame torch", "burning torch"),
    "column": ("column", "stone column"),
    "bush": ("bush", "small tree"),
    "barrel": ("barrel", "drum"),
    "candelabra": ("candelabra", "candle stand"),
    "eye": ("eye", "evil eye"),
    "pylon": ("pylon", "tech pillar"),
    "stump": ("stump", "dead tree", "tree stump"),
    "lamp": ("lamp", "light", "floor lamp"),
    "demon": ("demon", "serpent", "worm"),
    "imp": ("imp",),
    "zombie": ("zombie", "zombie man"),
    "cacodemon": ("cacodemon", "flying head"),
    "panel": ("switch", "panel", "button", "lever"),
}
HELD_OUT_NOUNS: dict[str, tuple[str, ...]] = {
    "key": ("access card", "card"),
    "armor": ("vest", "breastplate"),
    "orb": ("globe",),
    "medikit": ("health kit",),
    "torch": ("fire torch",),
    "column": ("marble column",),
    "bush": ("little tree",),
    "demon": ("snake",),
}
COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red",),
    "green": ("green",),
    "blue": ("blue",),
    "yellow": ("yellow", "golden"),
}
HELD_OUT_COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("scarlet",),
    "green": ("emerald",),
    "blue": ("azure",),
    "yellow": ("amber",),
}


def noun_phrase(
    rng: np.random.Generator, kind: str, colour: str | None, *, unique_kind: bool = False, synonyms: bool = False
) -> str:
    """Words for a thing without its article. `unique_kind`: the colour may be left out. `synonyms`: held-out words."""
    nouns = HELD_OUT_NOUNS.get(kind, NOUNS[kind]) if synonyms else NOUNS[kind]
    # the plain name is what people use most
    noun = nouns[0] if not synonyms and rng.random() < 0.6 else str(rng.choice(list(nouns)))
    if colour is None or (unique_kind and rng.random() < 0.2):
        return noun
    words = HELD_OUT_COLOUR_WORDS[colour] if synonyms else COLOUR_WORDS[colour]
    return f"{words[0] if rng.random() < 0.7 else rng.choice(list(words))} {noun}"


def phrase(rng: np.random.Generator, verb: str, noun: str = "", *, phrasing: Phrasing = "training") -> str:
    """An instruction. `noun` comes from `noun_phrase`, without an article."""
    templates = (TRAINING if phrasing == "training" else HELD_OUT)[verb]
    core = str(rng.choice(list(templates)))
    if phrasing == "training" and rng.random() < 0.25:
        core = templates[0]
    text = core.format(x=noun if verb == "press" else f"the {noun}")
    text = f"{rng.choice(list(_PREFIXES))}{text}{rng.choice(list(_SUFFIXES))}"
    return text[0].upper() + text[1:] if rng.random() < 0.2 else text


@dataclass(frozen=True)
class Meaning:
    """What an instruction asks for. `kind` and `colour` are None where the verb needs no thing, or none was named."""

    verb: str
    kind: str | None = None
    colour: str | None = None


def _compile() -> list[tuple[str, re.Pattern[str]]]:
    patterns = []
    for verb in TRAINING:
        for template in TRAINING[verb] + HELD_OUT[verb]:
            body = re.escape(template).replace(re.escape("{x}"), "(?P<x>.+?)")
            patterns.append((verb, re.compile(body)))
    # the longest template first: "go to the key and take it" is no "go to"
    return sorted(patterns, key=lambda p: -len(p[1].pattern))


_PATTERNS = _compile()
_STRIP = re.compile(r"^(?:please|now|can you|could you|would you|hey|ok|okay|next|then|and)[, ]+")
_TAIL = re.compile(r"(?: please| now| for me|[.!?])+$")


def _words() -> list[tuple[str, str]]:
    pairs = [(n, kind) for table in (NOUNS, HELD_OUT_NOUNS) for kind, nouns in table.items() for n in nouns]
    return sorted(pairs, key=lambda p: -len(p[0]))


def read_thing(text: str) -> tuple[str, str | None] | None:
    """The (kind, colour) that words name; colour is None where none is named. None where no kind is named."""
    words = re.sub(r"^(?:the|a|an|that|this) ", "", text.strip().lower())
    colour = None
    for name in COLOURS:
        for word in COLOUR_WORDS[name] + HELD_OUT_COLOUR_WORDS[name]:
            if words.startswith(word + " "):
                colour, words = name, words[len(word) + 1 :]
    for noun, kind in _words():
        if words == noun:
            if kind in KINDS and colour is not None and colour not in KINDS[kind].colours:
                return None
            return kind, colour
    return None


def read(text: str) -> Meaning | None:
    """What an instruction asks for, or None where the grammar does not know it."""
    words = re.sub(r"\s+", " ", text.strip().lower())
    while True:
        shorter = _TAIL.sub("", _STRIP.sub("", words))
        if shorter == words:
            break
        words = shorter
    for verb, pattern in _PATTERNS:
        match = pattern.fullmatch(words)
        if match is None:
            continue
        if "x" not in match.groupdict():
            return Meaning(verb)
        thing = read_thing(match["x"])
        if thing is not None and (verb == "press") == (thing[0] == "panel"):
            return Meaning(verb, *thing)
    return None

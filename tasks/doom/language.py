"""The language of instructions: sentences from phrasings and words, and their reading.

`phrase`, `compound`, `avoiding`, `related` and `sentence` make sentences from tasks.doom.phrases, and with the phrasing
"wide" half of the time from tasks.doom.wide_phrases instead; `read` turns any of those back into what it means.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from envs.doom.things import COLOURS, KINDS
from tasks.doom.phrases import (
    AVOID,
    COLOUR_WORDS,
    HELD_OUT,
    HELD_OUT_AVOID,
    HELD_OUT_COLOUR_WORDS,
    HELD_OUT_NOUNS,
    HELD_OUT_RELATIONS,
    HELD_OUT_THEN,
    NOUNS,
    RELATIONS,
    THEN,
    TRAINING,
)
from tasks.doom.wide_phrases import (
    WHOLE,
    WIDE,
    WIDE_AVOID,
    WIDE_CALLS,
    WIDE_COLOURS,
    WIDE_NOUNS,
    WIDE_PREFIXES,
    WIDE_RELATIONS,
    WIDE_SUFFIXES,
    WIDE_THEN,
)
from tasks.task import Pair, Phrasing, thing_name
from tasks.templates import PREFIXES, SUFFIXES, words_of

__all__ = [
    "COLOUR_WORDS", "HELD_OUT", "HELD_OUT_COLOUR_WORDS", "HELD_OUT_NOUNS", "NOUNS", "TRAINING", "Meaning", "Phrasing",
    "avoiding", "colour_word", "compound", "noun_phrase", "phrase", "plain", "plain_goal", "read", "read_thing",
    "related", "sentence", "taught", "words",
]  # fmt: skip


_T = TypeVar("_T")


def _table(rng: np.random.Generator, phrasing: Phrasing, training: _T, held_out: _T, wide: _T) -> _T:
    """What a phrasing draws from. The wide one uses the training table half of the time; the others draw nothing, since
    the tasks of suites hang on every draw."""
    if phrasing == "wide":
        return wide if rng.random() < 0.5 else training
    return training if phrasing == "training" else held_out


def colour_word(rng: np.random.Generator, colour: str, phrasing: Phrasing = "training") -> str:
    """A word for a colour, any of them as likely as the next."""
    table = _table(rng, phrasing, COLOUR_WORDS, HELD_OUT_COLOUR_WORDS, WIDE_COLOURS)
    return str(rng.choice(list(table[colour])))


def noun_phrase(
    rng: np.random.Generator,
    kind: str,
    colour: str | None,
    *,
    unique_kind: bool = False,
    phrasing: Phrasing = "training",
) -> str:
    """Words for a thing without its article. `unique_kind`: the colour may be left out."""
    table = _table(rng, phrasing, NOUNS, HELD_OUT_NOUNS, WIDE_NOUNS)
    nouns = table.get(kind, NOUNS[kind])
    # people use the plain name most
    noun = nouns[0] if table is NOUNS and rng.random() < 0.6 else str(rng.choice(list(nouns)))
    if colour is None or (unique_kind and rng.random() < 0.2):
        return noun
    if colour not in COLOUR_WORDS:  # doom has no such thing, and no other word for it
        return f"{colour} {noun}"
    words = _table(rng, phrasing, COLOUR_WORDS, HELD_OUT_COLOUR_WORDS, WIDE_COLOURS)[colour]
    plain_one = phrasing != "wide" or words is COLOUR_WORDS[colour]
    return f"{words[0] if plain_one and rng.random() < 0.7 else rng.choice(list(words))} {noun}"


def related(
    rng: np.random.Generator, noun: str, relation: str, other: str = "", phrasing: Phrasing = "training"
) -> str:
    """Words for the thing that stands in a relation: "torch left of the imp", "nearer torch"; without an article."""
    words = str(rng.choice(list(_table(rng, phrasing, RELATIONS, HELD_OUT_RELATIONS, WIDE_RELATIONS)[relation])))
    return f"{noun} {words} the {other}" if other else f"{words} {noun}"


def core(rng: np.random.Generator, verb: str, noun: str = "", phrasing: Phrasing = "training") -> str:
    """The bare instruction. `noun` comes from `noun_phrase` or `related`, without an article."""
    table = _table(rng, phrasing, TRAINING, HELD_OUT, WIDE)
    text = str(rng.choice(list(table[verb])))
    if table is TRAINING and rng.random() < 0.25:
        text = table[verb][0]
    return text.format(x=noun if verb == "press" else f"the {noun}")


def _dressed(rng: np.random.Generator, text: str, phrasing: Phrasing = "training") -> str:
    """The text with what is said before and after it."""
    prefixes = _table(rng, phrasing, PREFIXES, PREFIXES, WIDE_PREFIXES)
    if phrasing == "wide" and text.startswith(WHOLE):
        prefixes = WIDE_CALLS
    suffixes = _table(rng, phrasing, SUFFIXES, SUFFIXES, WIDE_SUFFIXES)
    text = f"{rng.choice(list(prefixes))}{text}{rng.choice(list(suffixes))}"
    return text[0].upper() + text[1:] if rng.random() < 0.2 else text


def phrase(rng: np.random.Generator, verb: str, noun: str = "", *, phrasing: Phrasing = "training") -> str:
    """An instruction. `noun` comes from `noun_phrase` or `related`, without an article."""
    return _dressed(rng, core(rng, verb, noun, phrasing), phrasing)


def compound(rng: np.random.Generator, steps: Sequence[str], phrasing: Phrasing = "training") -> str:
    """One instruction out of several from `core`, to be done in order."""
    pairs = _table(rng, phrasing, THEN, HELD_OUT_THEN, WIDE_THEN)
    before, between = pairs[rng.integers(len(pairs))]
    return _dressed(rng, before + between.join(steps), phrasing)


def avoiding(rng: np.random.Generator, text: str, noun: str, phrasing: Phrasing = "training") -> str:
    """An instruction from `core` with something that must not be touched."""
    tail = str(rng.choice(list(_table(rng, phrasing, AVOID, HELD_OUT_AVOID, WIDE_AVOID))))
    return _dressed(rng, text + tail.format(y=f"the {noun}"), phrasing)


@dataclass(frozen=True)
class Meaning:
    """What an instruction asks for, in any level: the one encoding of a goal that is read from words and said in them.

    `kind` and `colour` are None where the verb needs no thing, or none was named; `kind` may be "panel", "door" or
    "gate" too. `relation` (a key of tasks.doom.phrases.RELATIONS) tells the thing from others of its kind, by `other`
    where the relation needs one. `avoid`: what must not be touched. `then`: what is to be done after it, in order.
    """

    verb: str
    kind: str | None = None
    colour: str | None = None
    relation: str | None = None
    other: Pair | None = None
    avoid: Pair | None = None
    then: tuple[Meaning, ...] = ()


_PLAIN = {"go_to": "go to", "pick_up": "pick up", "panel": "switch", "enter": "enter room with", "switch": "open"}


def plain_goal(verb: str, name: str) -> str:
    """A goal in plain words, from a verb and a thing's name."""
    return f"{_PLAIN.get(verb, verb.replace('_', ' '))} {name}".strip()


def plain(meaning: Meaning) -> str:
    """What is meant in plain words: "pick up red key then go to torch left of imp"."""
    text = " then ".join(plain_goal(step.verb, _plain_thing(step)) for step in (meaning, *meaning.then))
    return f"{text} and not touch {_name(*meaning.avoid)}" if meaning.avoid else text


def _plain_thing(meaning: Meaning) -> str:
    if meaning.kind is None:
        return ""
    name = _name(meaning.kind, meaning.colour)
    if meaning.relation is None:
        return name
    words = RELATIONS[meaning.relation][0]
    return f"{name} {words} {_name(*meaning.other)}" if meaning.other else f"{words} {name}"


def _name(kind: str, colour: str | None) -> str:
    kind = _PLAIN.get(kind, kind)
    return thing_name(kind, colour)


def sentence(rng: np.random.Generator, meaning: Meaning, phrasing: Phrasing = "training") -> str:
    """An instruction that `read` takes to mean this."""
    texts = [core(rng, step.verb, _noun(rng, step, phrasing), phrasing) for step in (meaning, *meaning.then)]
    if meaning.avoid is not None:
        return avoiding(rng, texts[0], noun_phrase(rng, *meaning.avoid, phrasing=phrasing), phrasing)
    return compound(rng, texts, phrasing) if meaning.then else _dressed(rng, texts[0], phrasing)


def _noun(rng: np.random.Generator, meaning: Meaning, phrasing: Phrasing) -> str:
    if meaning.kind is None:
        return ""
    noun = noun_phrase(rng, meaning.kind, meaning.colour, phrasing=phrasing)
    if meaning.relation is None:
        return noun
    other = noun_phrase(rng, *meaning.other, phrasing=phrasing) if meaning.other else ""
    return related(rng, noun, meaning.relation, other, phrasing)


@functools.cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """What each verb is said like. Made when it is first read: it takes a while."""
    patterns = []
    for verb in TRAINING:
        for template in TRAINING[verb] + HELD_OUT[verb] + WIDE[verb]:
            body = re.escape(template.rstrip("?")).replace(re.escape("{x}"), "(?P<x>.+?)") + r"\??"
            patterns.append((verb, re.compile(body)))
    # the longest template first: "go to the key and take it" is no "go to"
    return sorted(patterns, key=lambda p: -len(p[1].pattern))


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(w) for w in sorted(set(words), key=lambda w: -len(w)))


def _all(key: str) -> tuple[str, ...]:
    return RELATIONS[key] + HELD_OUT_RELATIONS[key] + WIDE_RELATIONS[key]


_BEFORE = {text for text in (*WIDE_PREFIXES, *WIDE_CALLS, *(before for before, _ in WIDE_THEN)) if text}
_STRIP = re.compile(
    rf"^(?:{_any(_BEFORE)}"
    "|(?:please|now|can you|could you|would you|hey|ok|okay|next|then|and|first|to begin with)[, ]+)"
)
_TAIL = re.compile(
    rf"(?:{_any(text for text in WIDE_SUFFIXES if text.strip('.!?'))}|,? please|,? now| for me|[.!?]++)+$"
)
_THEN = re.compile(f"^(?P<a>.+?)(?:{_any(b for _, b in THEN + HELD_OUT_THEN + WIDE_THEN)})(?P<b>.+)$")
_AVOID = re.compile(
    "^(?P<a>.+?)(?:"
    + "|".join(re.escape(t).replace(re.escape("{y}"), "([^.]+)") for t in AVOID + HELD_OUT_AVOID + WIDE_AVOID)
    + ")$"
)
_BETWEEN = {
    key: re.compile(f"^(?P<a>.+?) (?:{_any(_all(key))}) (?P<b>(?:the|a|an|that) .+)$")
    for key in ("left_of", "right_of", "next_to")
}
_RANK = {key: re.compile(f"^(?:the |that )?(?:{_any(_all(key))}) (?P<a>.+)$") for key in ("nearer", "farther")}
_PLACES = {"press": {"panel"}, "open": {"door", "gate"}, "unlock": {"door"}, "switch": {"gate"}}


_KIND_OF = {
    noun: kind for table in (NOUNS, HELD_OUT_NOUNS, WIDE_NOUNS) for kind, nouns in table.items() for noun in nouns
}


def taught(*, wide: bool = False) -> dict[str, str]:
    """What things are called in training, and the plain name of each. `wide`: also what lessons alone call them."""
    nouns = {noun: nouns[0] for nouns in NOUNS.values() for noun in nouns}
    return nouns | {noun: NOUNS[kind][0] for kind in NOUNS if wide for noun in WIDE_NOUNS[kind]}


@functools.cache
def words() -> frozenset[str]:
    """The words that instructions are made of."""
    tables = (TRAINING, HELD_OUT, WIDE, NOUNS, HELD_OUT_NOUNS, WIDE_NOUNS, COLOUR_WORDS, HELD_OUT_COLOUR_WORDS,
              WIDE_COLOURS, RELATIONS, HELD_OUT_RELATIONS, WIDE_RELATIONS)  # fmt: skip
    said = [text for table in tables for texts in table.values() for text in texts]
    around = [text for pair in (*THEN, *HELD_OUT_THEN, *WIDE_THEN) for text in pair]
    around += [*PREFIXES, *WIDE_PREFIXES, *WIDE_CALLS, *SUFFIXES, *WIDE_SUFFIXES]
    return words_of((*said, *around, *AVOID, *HELD_OUT_AVOID, *WIDE_AVOID))


def read_thing(text: str) -> tuple[str, str | None] | None:
    """The (kind, colour) that words name; colour is None where none is named. None where no kind is named."""
    words = re.sub(r"^(?:the|a|an|that|this) ", "", text.strip().lower())
    colour = None
    for name in COLOURS:
        for word in COLOUR_WORDS[name] + HELD_OUT_COLOUR_WORDS[name] + WIDE_COLOURS[name]:
            if words.startswith(word + " "):
                colour, words = name, words[len(word) + 1 :]
    kind = _KIND_OF.get(words)
    if kind is None or (kind in KINDS and colour is not None and colour not in KINDS[kind].colours):
        return None
    return kind, colour


def _thing(words: str) -> Meaning | None:
    """A thing with its relation, as a Meaning without a verb."""
    for key, pattern in _BETWEEN.items():
        match = pattern.match(words)
        thing, other = (read_thing(match["a"]), read_thing(match["b"])) if match else (None, None)
        if thing is not None and other is not None and thing[0] in KINDS and other[0] in KINDS:
            return Meaning("", *thing, relation=key, other=other)
    thing = read_thing(words)
    if thing is not None:
        return Meaning("", *thing)
    for key, pattern in _RANK.items():
        match = pattern.match(words)
        thing = read_thing(match["a"]) if match else None
        if thing is not None and thing[0] in KINDS:
            return Meaning("", *thing, relation=key)
    return None


def _one(words: str) -> Meaning | None:
    """A single instruction, without what is to be avoided."""
    for verb, pattern in _patterns():
        match = pattern.fullmatch(words)
        if match is None:
            continue
        if "x" not in match.groupdict():
            return Meaning(verb)
        thing = _thing(match["x"])
        if thing is not None and thing.kind is not None:
            places = _PLACES.get(verb)
            if thing.kind in (places if places is not None else KINDS):
                return replace(thing, verb=verb)
    return None


def _stripped(text: str) -> str:
    words = re.sub(r"\s+", " ", text.strip().lower())
    while True:
        shorter = _TAIL.sub("", _STRIP.sub("", words))
        if shorter == words:
            return words
        words = shorter


def read(text: str) -> Meaning | None:
    """What an instruction asks for, or None where the grammar does not know it."""
    words = _stripped(text)
    meaning = _one(words)
    if meaning is not None:
        return meaning
    match = _AVOID.match(words)
    if match is not None:
        meaning = _one(match["a"])
        named = next(group for group in match.groups()[1:] if group is not None)
        avoid = read_thing(named)
        if meaning is not None and avoid is not None and avoid[0] in KINDS:
            return replace(meaning, avoid=avoid)
    match = _THEN.match(words)
    if match is not None:
        first, rest = _one(_stripped(match["a"])), read(match["b"])
        if first is not None and rest is not None:
            return replace(first, then=(replace(rest, then=()), *rest.then))
    return None

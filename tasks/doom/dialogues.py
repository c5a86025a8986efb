"""Tasks in which the agent has to speak: a thing is not there, the instruction is unclear, or it is asked.

Half of the tasks of each suite are counterparts: what is named is there, or only one is meant, or the answer is yes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from envs.angles import wrapped
from envs.doom.level import Level, Thing
from envs.doom.levels import generate, segment_hits
from envs.doom.things import KINDS
from tasks.doom.goals import distractors, targets_of
from tasks.doom.language import noun_phrase, phrase, read_thing
from tasks.doom.portraits import portrait
from tasks.foreign import HELD_OUT
from tasks.speech import NOT_THERE, NOT_UNDERSTOOD
from tasks.task import Pair, VerifierSpec, thing_name

SHOWN = ("this", "this", "this thing", "that thing", "what is in the picture", "the thing in the picture")
VERBS = ("go_to", "face", "pick_up", "shoot", "touch")
CAREFUL = ("which", "clear")  # families in which a kind without its colour may mean two things

Subject = Literal["colour", "there"]
QUESTIONS: dict[Subject, tuple[str, ...]] = {
    "colour": (
        "what colour is the {x}?", "which colour does the {x} have?", "tell me the colour of the {x}",
        "find the {x} and tell me its colour", "go and look what colour the {x} is",
        "look for the {x}: what colour is it?", "which colour is the {x}", "what is the colour of the {x}?",
    ),
    "there": (
        "is there a {x} here?", "can you find a {x}?", "do you see a {x} anywhere?", "look around: is there a {x}?",
        "is a {x} in this room?", "find out whether there is a {x} here", "is there any {x} around?",
        "look whether there is a {x}",
    ),
}  # fmt: skip
_PATTERNS = [
    (subject, re.compile(re.escape(template.rstrip("?")).replace(re.escape("{x}"), "(?P<x>.+?)") + r"\??"))
    for subject, templates in QUESTIONS.items()
    for template in templates
]


class Dialogue(NamedTuple):
    """A level, the instruction, its verifier where it can be done, and what has to be said where it can't."""

    level: Level
    text: str
    verifier: VerifierSpec | None
    answer: str
    picture: str = ""


def not_there(kind: str, colour: str | None) -> str:
    return f"{NOT_THERE} {thing_name(kind, colour)} here"


def which(kind: str, colours: Sequence[str]) -> str:
    first, second = colours[:2]
    return f"which {kind} the {first} or the {second} ?"


def read_question(text: str) -> tuple[Subject, str, str | None] | None:
    """What a question of doom-ask is about, with the kind and the colour that it names; None for another text."""
    words = re.sub(r"\s+", " ", text.strip().lower())
    for subject, pattern in _PATTERNS:
        match = pattern.fullmatch(words)
        thing = read_thing(match["x"]) if match else None
        if thing is not None and thing[0] in KINDS:
            return subject, *thing
    return None


def missing(rng: np.random.Generator, verb: str, level_seed: int, themes: Sequence[str]) -> Dialogue:
    """`verb`: "missing", a thing that is not in the room, or "present", its counterpart."""
    act = VERBS[rng.integers(len(VERBS))]
    pair = _draw(rng, targets_of(act, "training"))
    near = distractors(rng, pair, act)
    level = generate(level_seed, things=near if verb == "missing" else [pair, *near], themes=themes)
    text = phrase(rng, act, noun_phrase(rng, *pair))
    if verb == "present":
        return Dialogue(level, text, VerifierSpec(act, {"targets": [0]}), "")
    if any((t.kind, t.colour) == pair for t in level.things):
        raise ValueError("it is there")
    return Dialogue(level, text, None, not_there(*pair))


def unclear(rng: np.random.Generator, verb: str, level_seed: int, themes: Sequence[str]) -> Dialogue:
    """`verb`: "which", a kind of which two in different colours are in view, or "clear", its counterpart."""
    act = VERBS[rng.integers(len(VERBS))]
    pairs = targets_of(act, "training")
    pair = _draw(rng, [p for p in pairs if p[1] is not None and sum(o[0] == p[0] for o in pairs) > 1])
    kind = pair[0]
    others = [p for p in pairs if p[0] == kind and p != pair]
    same = [pair, _draw(rng, others)] if verb == "which" else [pair]
    alike = [p for p in targets_of(act) if p[1] == pair[1] and p[0] != kind]
    level = generate(level_seed, things=[*same, *([_draw(rng, alike)] if alike else [])], themes=themes)
    if sum(t.kind == kind for t in level.things) != len(same):
        raise ValueError("more of the same kind are there")
    text = phrase(rng, act, noun_phrase(rng, kind, None))
    if verb == "clear":
        return Dialogue(level, text, VerifierSpec(act, {"targets": [0]}), "")
    return Dialogue(_facing(level, level.things[:2]), text, None, which(kind, [str(c) for _, c in same]))


def _facing(level: Level, things: Sequence[Thing]) -> Level:
    """The level with two things in view from its start. Raises ValueError where they can't be seen together."""
    x, y, _ = level.start
    if any(segment_hits(p, x, y, t.x, t.y, margin=16.0) for p in level.pillars for t in things):
        raise ValueError("a pillar is between")
    first, second = (math.degrees(math.atan2(t.y - y, t.x - x)) for t in things)
    apart = wrapped(second - first)
    if not 8.0 < abs(apart) < 64.0:
        raise ValueError("they are not in view together")
    return replace(level, start=(x, y, round(first + apart / 2) % 360))


def asked(rng: np.random.Generator, verb: str, level_seed: int, themes: Sequence[str]) -> Dialogue:
    """`verb`: "colour", or "there" with yes and no in equal shares."""
    subject: Subject = "colour" if verb == "colour" else "there"
    pairs = targets_of("go_to", "training")
    pair = _draw(rng, [p for p in pairs if p[1] is not None] if subject == "colour" else pairs)
    yes = subject == "colour" or rng.random() < 0.5
    near = distractors(rng, pair, "go_to")
    if subject == "colour":
        near = [p for p in near if p[0] != pair[0]]
    level = generate(level_seed, things=[pair, *near] if yes else near, themes=themes)
    template = str(rng.choice(list(QUESTIONS[subject])))
    if subject == "colour":
        if sum(t.kind == pair[0] for t in level.things) != 1:
            raise ValueError("more of the same kind are there")
        return Dialogue(level, template.format(x=noun_phrase(rng, pair[0], None)), None, _is(*pair))
    if not yes and any((t.kind, t.colour) == pair for t in level.things):
        raise ValueError("it is there")
    return Dialogue(level, template.format(x=noun_phrase(rng, *pair)), None, "yes" if yes else "no")


def shown(rng: np.random.Generator, verb: str, level_seed: int, themes: Sequence[str]) -> Dialogue:
    """A verb with a picture of the thing instead of its name."""
    pair = _draw(rng, targets_of(verb, "training"))
    level = generate(level_seed, things=[pair, *distractors(rng, pair, verb)], themes=themes)
    text = phrase(rng, verb, "PICTURED").replace("the PICTURED", str(rng.choice(SHOWN)))
    picture = portrait(pair, int(rng.integers(2**30)))
    return Dialogue(level, text, VerifierSpec(verb, {"targets": [0]}), "", picture)


def unknown(rng: np.random.Generator, verb: str, level_seed: int, themes: Sequence[str]) -> Dialogue:
    """`verb`: "foreign", a sentence of another language, or "nonsense", one that asks for nothing; both held out."""
    languages = [name for name in HELD_OUT if (name == "nonsense") == (verb == "nonsense")]
    texts = [text for name in languages for text in HELD_OUT[name]]
    level = generate(level_seed, things=[_draw(rng, targets_of("go_to", "training")) for _ in range(3)], themes=themes)
    return Dialogue(level, texts[rng.integers(len(texts))], None, NOT_UNDERSTOOD)


def _is(kind: str, colour: str | None) -> str:
    return f"the {kind} is {colour}"


def answer_to(subject: Subject, kind: str, seen: Pair | None) -> str:
    """The answer to a question, once the thing was seen or the whole room was searched in vain."""
    if subject == "there":
        return "yes" if seen else "no"
    return _is(*seen) if seen else not_there(kind, None)


def _draw(rng: np.random.Generator, pairs: Sequence[Pair]) -> Pair:
    return pairs[int(rng.integers(len(pairs)))]

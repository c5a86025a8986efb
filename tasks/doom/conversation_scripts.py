"""Scripted conversations: what a person says while the agent plays, when, and what the agent has to do then.

A script is data; `tasks.doom.converse` plays it. Every script is a function of a seed and an index, in a room of the
half of the seeds that training never uses. Instructions and questions are made by the grammar; the other lines are
listed here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from agent.talk import intents
from envs.angles import wrapped
from envs.doom.level import Level
from envs.doom.levels import TRAINING_THEMES, generate
from tasks.doom import dialogues
from tasks.doom.goals import distractors, name_of, targets_of
from tasks.doom.language import noun_phrase, phrase, read
from tasks.doom.suites import EVALUATION_SEEDS
from tasks.task import Pair, Phrasing, VerifierSpec, thing_name

Kind = Literal["switching", "correction", "clarification", "questions", "stop", "resumption", "unknown"]
Expect = Literal["do", "ask", "answer", "still", "wait", "deny"]

HELD_OUT = 0.3  # the share of scripts in held-out phrasings
FAR = 240.0  # map units to what an opening asks for: it is not done when the next line comes
APART = 60.0  # degrees between what was asked for first and what is asked for instead
DECISIONS = (2, 6)  # decisions until the person interrupts
OPENINGS = ("go_to", "pick_up", "touch")  # verbs that take a while

STOPS: dict[Phrasing, tuple[str, ...]] = {
    "training": (
        "stop", "Stop!", "please stop", "stop it", "halt", "freeze", "stop that", "never mind", "forget it",
        "that's enough", "ok, stop now", "stop right there",
    ),
    "held_out": (
        "stop what you are doing", "no, stop!", "please stop moving", "cancel", "leave it", "enough of that",
        "hey, stop there please", "drop it",
    ),
}  # fmt: skip
PAUSES: dict[Phrasing, tuple[str, ...]] = {
    "training": ("wait", "pause", "hold on", "wait a moment", "hold on a second", "pause please", "wait a second"),
    "held_out": ("wait a bit", "one moment please", "just a second", "pause the game", "hang on"),
}
RESUMES: dict[Phrasing, tuple[str, ...]] = {
    "training": ("go on", "continue", "resume", "carry on", "ok, go on", "keep going", "please continue"),
    "held_out": ("proceed", "continue with that", "ok you can go on now", "go ahead please", "back to work"),
}
# {c}: the colour that is meant, {o}: the other one, {k}: the kind.
CORRECTIONS: dict[Phrasing, tuple[str, ...]] = {
    "training": (
        "no, the other one", "the other one", "not that one, the other one", "no, the {c} one", "no, {c}",
        "i meant the {c} {k}", "sorry, the {c} one", "not the {o} one, the {c} one", "no, the {c} {k}!",
        "the {c} one instead",
    ),
    "held_out": (
        "wrong one, take the other one", "actually the {c} one", "oops, i wanted the {c} {k}", "make it the {c} one",
        "no no, the {c} {k} please", "i said the {c} one", "not this one, the other {k}",
    ),
}  # fmt: skip
# {n}: "first" or "second", in the order in which it asked.
CHOICES: dict[Phrasing, tuple[str, ...]] = {
    "training": ("the {c} one", "{c}", "the {c} {k}", "{c} please", "the {n} one", "the {c} one, please", "the {n}"),
    "held_out": (
        "i mean the {c} one",
        "not the {o} one",
        "the one that is {c}",
        "it's the {c} one",
        "take the {c} one",
    ),
}
DOINGS: dict[Phrasing, tuple[str, ...]] = {
    "training": ("what are you doing?", "what is your goal?", "where are you going?", "what's your task?"),
    "held_out": ("what are you up to", "what are you trying to do?", "what is your plan?"),
}
STRANGE = (
    "unicorn", "banana", "refrigerator", "bicycle", "elephant", "piano", "helicopter", "sandwich", "wardrobe",
    "telescope", "giraffe", "umbrella", "volcano", "zeppelin",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """A line of the person, and what the agent has to do then.

    `expect`: "do", the goal is fulfilled; "ask", it asks `said`; "answer", it answers rightly; "still", it lets go and
    nothing is done; "wait", the game stands still; "deny", it says `said`, or that it does not know. `text`: empty for
    a question that is made from what is seen then; its {n} becomes "first" or "second", as `said`, a colour, came in
    what the agent asked. `goal`: what counts from here on; None keeps what there is, but for
    "still" and "deny". `shun`: what must not be done any more. `leave`: the next line comes after so many decisions; 0,
    once this one is fulfilled.
    """

    text: str
    expect: Expect = "do"
    goal: VerifierSpec | None = None
    said: str = ""
    shun: VerifierSpec | None = None
    leave: int = 0


@dataclass(frozen=True)
class Script:
    """One conversation. `seed` and `options` go to the world's `reset`."""

    id: str
    kind: Kind
    seed: int
    lines: tuple[Line, ...]
    phrasing: Phrasing
    options: dict[str, Any] = field(default_factory=dict)


def script(seed: int, index: int) -> Script:
    """Conversation number `index` under `seed`, always the same; the kinds come in turn."""
    rng = np.random.default_rng([seed, index, 0x7A1C])
    kind = KINDS[index % len(KINDS)]
    phrasing: Phrasing = "held_out" if rng.random() < HELD_OUT else "training"
    while True:
        level_seed = EVALUATION_SEEDS + int(rng.integers(EVALUATION_SEEDS))
        try:
            level, lines = _MAKERS[kind](rng, level_seed, phrasing)
        except ValueError:
            continue  # the generator found no such room; the next seed makes another
        options = {"level": level.to_json()}
        return Script(f"conversation/{seed}/{index}", kind, level_seed, tuple(lines), phrasing, options)


Made = tuple[Level, Sequence[Line]]


def _one(rng: np.random.Generator, among: Sequence[str]) -> str:
    return str(rng.choice(list(among)))


def _pair(rng: np.random.Generator, verb: str) -> Pair:
    pairs = targets_of(verb, "training")
    return pairs[int(rng.integers(len(pairs)))]


def _soon(rng: np.random.Generator) -> int:
    return int(rng.integers(*DECISIONS))


def _spec(verb: str, thing: int) -> VerifierSpec:
    return VerifierSpec(verb, {"targets": [thing]})


def _instead(rng: np.random.Generator, verb: str, noun: str, phrasing: Phrasing) -> str:
    """An instruction that replaces the one before. A text such as "next, ..." would add to it."""
    while True:
        text = phrase(rng, verb, noun, phrasing=phrasing)
        if intents.read(text).place == "instead":
            return text


def _say(rng: np.random.Generator, level: Level, verb: str, thing: int, phrasing: Phrasing) -> str:
    return _instead(rng, verb, name_of(rng, level, thing), phrasing)


def _opening(
    rng: np.random.Generator, level_seed: int, phrasing: Phrasing, *others: Pair, verb: str = ""
) -> tuple[Level, str, Line]:
    """A room that holds something far away, then `others`; the verb, and the instruction. Raises ValueError."""
    verb = verb or _one(rng, OPENINGS)
    pair = _pair(rng, verb)
    near = [p for p in distractors(rng, pair, verb) if p not in others]
    if pair in others:
        raise ValueError("that is one of the others")
    level = generate(level_seed, things=[pair, *others, *near], themes=TRAINING_THEMES)
    first = level.things[0]
    if math.dist(level.start[:2], (first.x, first.y)) < FAR:
        raise ValueError("it is too near")
    return level, verb, Line(_say(rng, level, verb, 0, phrasing), goal=_spec(verb, 0), leave=_soon(rng))


def _switching(rng: np.random.Generator, level_seed: int, phrasing: Phrasing) -> Made:
    verb = _one(rng, dialogues.VERBS)
    other = _pair(rng, verb)
    level, first, opening = _opening(rng, level_seed, phrasing, other)
    x, y, _ = level.start
    ways = [math.degrees(math.atan2(t.y - y, t.x - x)) for t in level.things[:2]]
    if abs(wrapped(ways[1] - ways[0])) < APART:
        raise ValueError("one is on the way to the other")
    new = _say(rng, level, verb, 1, phrasing)
    return level, (opening, Line(new, goal=_spec(verb, 1), shun=_spec(first, 0)))


def _alike(rng: np.random.Generator, level_seed: int, phrasing: Phrasing) -> tuple[Level, str, str, str, list[str]]:
    """A room with two of a kind in view: the level, the verb, the kind, the question which is meant, the colours."""
    level, text, _, asked, _ = dialogues.unclear(rng, "which", level_seed, TRAINING_THEMES)
    meaning = read(text)
    if meaning is None or meaning.kind is None:
        raise ValueError(f"the grammar does not know {text!r}")
    return level, meaning.verb, meaning.kind, asked, [str(t.colour) for t in level.things[:2]]


def _correction(rng: np.random.Generator, level_seed: int, phrasing: Phrasing) -> Made:
    level, verb, kind, _, colours = _alike(rng, level_seed, phrasing)
    wrong = int(rng.integers(2))
    right = 1 - wrong
    first = phrase(rng, verb, noun_phrase(rng, kind, colours[wrong]), phrasing=phrasing)
    text = _one(rng, CORRECTIONS[phrasing]).format(c=colours[right], o=colours[wrong], k=kind)
    leave = _soon(rng) if rng.random() < 0.7 else 0
    return level, (Line(first, goal=_spec(verb, wrong), leave=leave), Line(text, goal=_spec(verb, right)))


def _clarification(rng: np.random.Generator, level_seed: int, phrasing: Phrasing) -> Made:
    level, verb, kind, asked, colours = _alike(rng, level_seed, phrasing)
    right = int(rng.integers(2))
    first = phrase(rng, verb, noun_phrase(rng, kind, None), phrasing=phrasing)
    text = _one(rng, CHOICES[phrasing]).format(c=colours[right], o=colours[1 - right], k=kind, n="{n}")
    return level, (Line(first, "ask", said=asked), Line(text, goal=_spec(verb, right), said=colours[right]))


def _questions(rng: np.random.Generator, level_seed: int, phrasing: Phrasing) -> Made:
    """A question about the frame, about the goal, or about what was done before."""
    which = rng.random()
    if which < 0.2:
        level, _, opening = _opening(rng, level_seed, phrasing)
        return level, (opening, Line(_one(rng, DOINGS[phrasing]), "answer", said=intents.read(opening.text).text))
    if which < 0.4:
        pair = _pair(rng, "pick_up")
        level, _, later = _opening(rng, level_seed, phrasing, pair, verb="go_to")
        took = Line(_say(rng, level, "pick_up", 1, phrasing), goal=_spec("pick_up", 1))
        if rng.random() < 0.5:
            return level, (took, later, Line("what did you pick up?", "answer", said=thing_name(*pair)))
        asked, said = (pair, "yes") if rng.random() < 0.5 else (_pair(rng, "pick_up"), "no")
        if asked == pair and said == "no":
            raise ValueError("that was taken")
        text = f"did you pick up the {thing_name(*asked)}?"
        return level, (took, later, Line(text, "answer", said=said))
    level, _, opening = _opening(rng, level_seed, phrasing)
    return level, (opening, Line("", "answer"))


def _stop(rng: np.random.Generator, level_seed: int, phrasing: Phrasing) -> Made:
    level, _, opening = _opening(rng, level_seed, phrasing)
    return level, (opening, Line(_one(rng, STOPS[phrasing]), "still"))


def _resumption(rng: np.random.Generator, level_seed: int, phrasing: Phrasing) -> Made:
    level, _, opening = _opening(rng, level_seed, phrasing)
    return level, (opening, Line(_one(rng, PAUSES[phrasing]), "wait"), Line(_one(rng, RESUMES[phrasing])))


def _unknown(rng: np.random.Generator, level_seed: int, phrasing: Phrasing) -> Made:
    """A thing that is not in the room, or a word that was never taught, in equal shares."""
    verb = _one(rng, dialogues.VERBS)
    if rng.random() < 0.5:
        noun = _one(rng, STRANGE)
        level, _, opening = _opening(rng, level_seed, phrasing)
        return level, (opening, Line(_instead(rng, verb, noun, phrasing), "deny"))
    pair = _pair(rng, verb)
    level, _, opening = _opening(rng, level_seed, phrasing, *distractors(rng, pair, verb))
    if any((t.kind, t.colour) == pair for t in level.things):
        raise ValueError("it is there")
    text = _instead(rng, verb, noun_phrase(rng, *pair), phrasing)
    return level, (opening, Line(text, "deny", said=dialogues.not_there(*pair)))


_MAKERS: dict[Kind, Callable[[np.random.Generator, int, Phrasing], Made]] = {
    "switching": _switching,
    "correction": _correction,
    "clarification": _clarification,
    "questions": _questions,
    "stop": _stop,
    "resumption": _resumption,
    "unknown": _unknown,
}
KINDS: tuple[Kind, ...] = tuple(_MAKERS)

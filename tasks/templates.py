"""Sentences from templates and the way back, for worlds with tables of phrasings of their own.

A template has slots such as {x}; a table maps a verb to its templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

Table = Mapping[str, Sequence[str]]

PREFIXES = ("", "", "", "", "please ", "now ", "can you ", "could you ", "hey, ", "ok, ", "next, ")
SUFFIXES = ("", "", "", "", "", " please", " now", " for me")
# What people say in every world for going somewhere, looking at something and opening it; {x} stands for the thing.
COMMON: dict[str, tuple[str, ...]] = {
    "go_to": (
        "go to {x}", "walk to {x}", "move to {x}", "head to {x}", "head over to {x}", "go over to {x}",
        "walk up to {x}", "get to {x}", "come to {x}", "find {x} and go to it", "make your way to {x}",
        "go and stand by {x}", "go stand next to {x}", "get close to {x}", "walk towards {x}", "reach {x}",
        "step up to {x}", "run to {x}", "go near {x}", "come up to {x}", "i need you at {x}", "go towards {x}",
        "walk right up to {x}", "stand next to {x}", "move towards {x}", "go find {x}", "get over to {x}",
        "take me to {x}", "proceed to {x}", "wander over to {x}", "go where {x} is", "come close to {x}",
    ),
    "face": (
        "face {x}", "turn to {x}", "turn towards {x}", "look at {x}", "turn to face {x}", "turn and look at {x}",
        "point yourself at {x}", "face towards {x}", "watch {x}", "keep your eyes on {x}", "turn your view to {x}",
        "have a look at {x}", "aim your view at {x}", "rotate until you see {x} ahead",
        "turn round to {x}", "look over at {x}", "turn until you face {x}", "set your eyes on {x}", "stare at {x}",
        "turn yourself to {x}", "point at {x}", "aim at {x}", "keep {x} in front of you", "focus on {x}",
        "bring {x} to the middle of your view", "turn your head to {x}", "gaze at {x}", "center {x} in your view",
    ),
    "open": (
        "open {x}", "open up {x}", "go open {x}", "go and open {x}", "get {x} open", "walk to {x} and open it",
        "find {x} and open it", "make {x} open", "push {x} open", "go to {x} and open it", "open {x} up",
        "get {x} to open", "pull {x} open",
    ),
}  # fmt: skip
COMMON_HELD_OUT: dict[str, tuple[str, ...]] = {
    "go_to": ("approach {x}", "go up to {x}", "walk over to {x}", "move close to {x}", "head towards {x}"),
    "face": ("turn so that you face {x}", "look towards {x}", "turn around to see {x}", "point your view at {x}"),
    "open": ("swing {x} open", "head to {x} and open it", "go over and open {x}", "see that {x} is open"),
}  # fmt: skip

_START = re.compile(r"^(?:please|now|can you|could you|hey|ok|next)[, ]+")
_END = re.compile(r"(?:,? please|,? now| for me|[.!?])+$")


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """The words of some texts, in lower case; slots of templates are left out."""
    return frozenset(re.findall(r"[a-z]+(?:'[a-z]+)?", re.sub(r"\{\w+\}", " ", " ".join(texts).lower())))


class Grammar:
    """What is said (`training`, and `held_out` for evaluation) and how it is read.

    `slots`: the pattern of each slot; one that is not named takes anything.
    """

    def __init__(self, training: Table, held_out: Table, slots: Mapping[str, str] | None = None) -> None:
        self.training, self.held_out = training, held_out
        patterns = []
        for verb in training:
            for template in (*training[verb], *held_out[verb]):
                body = re.sub(
                    r"\\\{(\w)\\\}", lambda slot: f"(?P<{slot[1]}>{(slots or {}).get(slot[1], '.+?')})",
                    re.escape(template),
                )  # fmt: skip
                patterns.append((verb, re.compile(body)))
        # the longest first: "take it and put it on the table" is no "take"
        self._patterns = sorted(patterns, key=lambda pair: -len(pair[1].pattern))

    def phrase(self, rng: np.random.Generator, verb: str, *, held_out: bool = False, **slots: str) -> str:
        """A sentence for a verb, its slots filled."""
        text = str(rng.choice(list((self.held_out if held_out else self.training)[verb]))).format(**slots)
        return f"{rng.choice(list(PREFIXES))}{text}{rng.choice(list(SUFFIXES))}"

    def words(self) -> frozenset[str]:
        """The words of all templates, and of what is said around them."""
        said = [text for table in (self.training, self.held_out) for texts in table.values() for text in texts]
        return words_of((*PREFIXES, *SUFFIXES, *said))

    def readings(self, text: str) -> Iterator[tuple[str, dict[str, str]]]:
        """What a typed sentence may mean: verb and slots, the most likely first."""
        words = re.sub(r"\s+", " ", text.strip().lower())
        while (shorter := _END.sub("", _START.sub("", words))) != words:
            words = shorter
        for verb, pattern in self._patterns:
            if (match := pattern.fullmatch(words)) is not None:
                yield verb, match.groupdict()

"""Sentences from templates and the way back, for worlds with tables of phrasings of their own.

A template has slots such as {x}; a table maps a verb to its templates.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tasks import phrases

Table = Mapping[str, Sequence[str]]

_START = re.compile(r"^(?:please|now|can you|could you|hey|ok|next)[, ]+")
_END = re.compile(r"(?:,? please|,? now| for me|[.!?])+$")


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
        return f"{rng.choice(list(phrases.PREFIXES))}{text}{rng.choice(list(phrases.SUFFIXES))}"

    def readings(self, text: str) -> Iterator[tuple[str, dict[str, str]]]:
        """What a typed sentence may mean: verb and slots, the most likely first."""
        words = re.sub(r"\s+", " ", text.strip().lower())
        while (shorter := _END.sub("", _START.sub("", words))) != words:
            words = shorter
        for verb, pattern in self._patterns:
            if (match := pattern.fullmatch(words)) is not None:
                yield verb, match.groupdict()

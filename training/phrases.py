"""Instructions for queries, ready for the model: many phrasings of each, encoded once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from agent.small import words
from tasks.language import noun_phrase, phrase
from training.annotate import PAIR_OF, PANEL_CLASS, VERBS


class PhraseBank:
    """`each` training phrasings of every query in `keys`.

    `table` (U + 1, NGRAMS) and `ids` (M, WORDS) are arrays of agent.small.words.encode.
    """

    def __init__(self, keys: Iterable[tuple[int, int, int]], seed: int, each: int = 64) -> None:
        rng = np.random.default_rng([seed, 3])
        self.each = each
        self._first = np.full((len(VERBS), 256, 2), -1, np.int64)
        texts: list[str] = []
        for verb, thing, alone in sorted(set(keys)):
            self._first[verb, thing, alone] = len(texts)
            for _ in range(each):
                noun = ""
                if thing == PANEL_CLASS:
                    noun = noun_phrase(rng, "panel", None)
                elif thing:
                    noun = noun_phrase(rng, *PAIR_OF[thing], unique_kind=bool(alone))
                texts.append(phrase(rng, VERBS[verb], noun))
        self.table, self.ids = words.encode(texts)

    def draw(self, rng: np.random.Generator, queries: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Word ids (N, WORDS) of one phrasing for every query (N, 3)."""
        first = self._first[queries[:, 0], queries[:, 1], queries[:, 2]]
        if (first < 0).any():
            raise KeyError("a query that the bank was not made for")
        return self.ids[first + rng.integers(self.each, size=len(first))]

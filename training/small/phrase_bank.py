"""`PhraseBank`: instructions for queries, many phrasings of each, made once. And `mistyped`, as people type them,
`by_meaning`, with words that are known by their meaning alone, and `blurred`, with words that mean nearly the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from agent.small import word_meaning
from agent.small.word_hashing import MEANS
from tasks.task import Query

TYPO = 0.04  # chance of a word to be mistyped
MEANT = 0.5  # of the words of an instruction that is read by meaning
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class PhraseBank:
    """`each` phrasings of every query, each made by `phrase` when it is first drawn."""

    def __init__(self, seed: int, phrase: Callable[[np.random.Generator, Query], str], each: int = 1000) -> None:
        self._seed, self._each, self._phrase = seed, each, phrase
        self._texts: dict[tuple[Query, int], str] = {}

    def draw(self, rng: np.random.Generator, query: Query) -> str:
        """One phrasing of a query."""
        key = query, int(rng.random() * self._each)
        if key not in self._texts:
            own = np.random.default_rng([self._seed, 3, *query, key[1]])  # whatever was asked for before
            self._texts[key] = self._phrase(own, query)
        return self._texts[key]


def mistyped(rng: np.random.Generator, words: Sequence[str]) -> list[str]:
    """The words, each with chance TYPO with a letter lost, doubled, exchanged with its neighbour or another one."""
    out = list(words)
    for i in np.flatnonzero(rng.random(len(out)) < TYPO):
        word = out[i]
        if len(word) > 3:
            at = int(rng.integers(1, len(word) - 1))
            changes = (
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :],
                word[:at] + _LETTERS[int(rng.integers(26))] + word[at + 1 :],
            )
            out[i] = changes[int(rng.integers(len(changes)))]
    return out


def by_meaning(rng: np.random.Generator, words: Sequence[str], share: float) -> list[str]:
    """The words of an instruction. With chance `share`, MEANT of those that have a meaning lose their spelling or get
    that of another word, as words look that were never taught."""
    out = list(words)
    if share and rng.random() < share:
        others = word_meaning.words()
        for i in np.flatnonzero(rng.random(len(out)) < MEANT):
            if word_meaning.knows(out[i]):
                spelling = others[int(rng.integers(len(others)))] if rng.random() < 0.5 else ""
                out[i] = f"{spelling}{MEANS}{out[i]}"
    return out


def blurred(rng: np.random.Generator, meanings: npt.NDArray[np.float32], most: float) -> npt.NDArray[np.float32]:
    """Meanings (N, word_meaning.SIZE), each moved towards that of a random word by up to `most` of its length: a word
    that was never taught is only near to one that was. Colours stay, and so does a word without a meaning."""
    others = word_meaning.words()
    towards = word_meaning.vectors([others[i] for i in rng.integers(len(others), size=len(meanings))])
    far = rng.uniform(0.0, most, (len(meanings), 1)).astype(np.float32) * meanings.any(1, keepdims=True)
    towards[:, -word_meaning.COLOUR :] = 0.0
    scale = np.ones(meanings.shape[1], np.float32)
    scale[-word_meaning.COLOUR :] = 0.0  # of what is moved alone the length is kept
    out: npt.NDArray[np.float32] = (meanings + far * towards) / (1.0 + scale * (np.sqrt(1.0 + far**2) - 1.0))
    return out

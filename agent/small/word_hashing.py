"""Text for `small`: every word is a bag of hashed character n-grams, so that no word is unknown.

A new word shares n-grams with words that the model was taught, so that a typo or an inflection stays near its word.
"""

from __future__ import annotations

import functools
import re
import zlib

import numpy as np
import numpy.typing as npt

BUCKETS = 4096  # bucket 0 is padding
NGRAMS = 12  # the most n-grams of a word
# The parts of a prompt and the most words of each: the instruction or question, the last thought, what happened so far.
PARTS = {"request": 24, "thought": 12, "memory": 40}
PLACES = sum(PARTS.values())

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


def split(text: str, part: str = "request") -> list[str]:
    """The words of a text, in lower case. A text that is longer than its part of the prompt keeps its last words, since
    they name the thing."""
    return _WORD.findall(text.lower())[-PARTS[part] :]


@functools.lru_cache(maxsize=65536)
def ngrams(word: str) -> tuple[int, ...]:
    """The buckets of a word: the whole word first, then its character trigrams; at most NGRAMS."""
    marked = f"<{word}>"
    grams = [marked, *(marked[i : i + 3] for i in range(len(marked) - 2))]
    return tuple(1 + zlib.crc32(g.encode()) % (BUCKETS - 1) for g in grams[:NGRAMS])


def first_place(part: str) -> int:
    """The place of the first word of a part of the prompt."""
    names = list(PARTS)
    return sum(PARTS[name] for name in names[: names.index(part)])


class Table:
    """The words of a batch, each with a row of n-gram buckets; row 0 stands for no word."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def row(self, word: str) -> int:
        return self._rows.setdefault(word, len(self._rows) + 1)

    def array(self) -> npt.NDArray[np.int64]:
        """n-gram buckets (U + 1, NGRAMS)."""
        table = np.zeros((len(self._rows) + 1, NGRAMS), np.int64)
        for word, row in self._rows.items():
            grams = ngrams(word)
            table[row, : len(grams)] = grams
        return table

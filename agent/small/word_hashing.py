"""Text for `small`: every word is a bag of hashed character n-grams, so that no word is unknown, and a meaning.

A new word shares n-grams with words that the model was taught, so that a typo or an inflection stays near its word. Its
meaning (agent.small.word_meaning) is near those of its synonyms.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import zlib

import numpy as np
import numpy.typing as npt

from agent.small import word_meaning

BUCKETS = 4096  # bucket 0 is padding
NGRAMS = 12  # the most n-grams of a word
# The parts of a prompt and the most words of each: the instruction or question, the last thought, what happened so far.
PARTS = {"request": 24, "thought": 12, "memory": 40}
PLACES = sum(PARTS.values())

_ACCENTS = re.compile("[\u0300-\u036f]")
# Between a spelling and the word whose meaning it has, in words that training alone makes: "x~torch", "~torch".
MEANS = "~"
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def split(text: str, part: str = "request") -> list[str]:
    """The words of a text, in lower case and without accents. A text that is longer than its part of the prompt keeps
    its last words, since they name the thing."""
    return _WORD.findall(_plain(text.lower()))[-PARTS[part] :]


def _plain(text: str) -> str:
    """Letters without their accents: "schlüssel" as "schlussel"."""
    return text if text.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", text))


@functools.lru_cache(maxsize=65536)
def ngrams(word: str) -> tuple[int, ...]:
    """The buckets of a word: the whole word first, then its character trigrams; at most NGRAMS."""
    spelled = word.partition(MEANS)[0]
    if not spelled:
        return ()
    marked = f"<{spelled}>"
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

    def meanings(self) -> npt.NDArray[np.float32]:
        """What the words mean, (U + 1, word_meaning.SIZE)."""
        return word_meaning.vectors(["", *(word.rpartition(MEANS)[2] for word in self._rows)])

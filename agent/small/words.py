"""Text for `small`: every word is a bag of hashed character n-grams, so no word is unknown.

A word that was never seen shares n-grams with those that were: a typo or an inflection degrades, it does not crash.
"""

from __future__ import annotations

import functools
import re
import zlib

import numpy as np
import numpy.typing as npt

BUCKETS = 4096  # bucket 0 is padding
NGRAMS = 12  # the most n-grams of a word
WORDS = 16  # the most words of an instruction

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


def split(text: str) -> list[str]:
    """The words of a text, lower-case; at most WORDS, the last ones win, for they name the thing."""
    return _WORD.findall(text.lower())[-WORDS:]


@functools.lru_cache(maxsize=65536)
def ngrams(word: str) -> tuple[int, ...]:
    """The buckets of a word: the whole word first, then its character trigrams; at most NGRAMS."""
    marked = f"<{word}>"
    grams = [marked, *(marked[i : i + 3] for i in range(len(marked) - 2))]
    return tuple(1 + zlib.crc32(g.encode()) % (BUCKETS - 1) for g in grams[:NGRAMS])


def encode(texts: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Texts as (words, ids): `words` (U + 1, NGRAMS) n-gram buckets of the different words, row 0 empty; `ids`
    (N, WORDS) rows of `words`, 0 behind the end of a text."""
    rows: dict[str, int] = {}
    ids = np.zeros((len(texts), WORDS), np.int64)
    for i, text in enumerate(texts):
        for j, word in enumerate(split(text)):
            ids[i, j] = rows.setdefault(word, len(rows) + 1)
    words = np.zeros((len(rows) + 1, NGRAMS), np.int64)
    for word, row in rows.items():
        grams = ngrams(word)
        words[row, : len(grams)] = grams
    return words, ids

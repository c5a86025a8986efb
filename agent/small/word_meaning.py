"""What words mean: a table of vectors of English words, so that words with near meanings are near.

training/small/word_meanings.py makes the table from a sentence encoder. A word that the table does not have has no
meaning here; `small` then reads its spelling alone (agent.small.word_hashing).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

FILE = Path(__file__).with_name("meanings.safetensors")
COLOUR = 4  # numbers of a vector that tell the colour, where the word names one
SIZE = 96 + COLOUR  # numbers of a vector


@functools.cache
def _table() -> tuple[dict[str, int], npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """The row of every word, its vector, and what a step of each number means. The last row stands for no word."""
    stored = load_file(FILE)
    words = stored["words"].tobytes().decode().split("\n")
    return {word: i for i, word in enumerate(words)}, np.pad(stored["vectors"], ((0, 1), (0, 0))), stored["scale"]


def knows(word: str) -> bool:
    """Whether the table has a word, in lower case."""
    return word in _table()[0]


@functools.cache
def digest() -> str:
    """The SHA-256 of the table: weights that read meanings depend on every number of it."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


@functools.cache
def words() -> tuple[str, ...]:
    """The words of the table, the most frequent first."""
    return tuple(_table()[0])


def vectors(words: Iterable[str]) -> npt.NDArray[np.float32]:
    """The meanings of some words, (N, SIZE), all of about one length; zeros for a word that the table does not have."""
    rows, table, scale = _table()
    return table[[rows.get(word, -1) for word in words]] * scale

"""`Nonsense`: instructions that nobody understands, for lessons in which `small` says so.

They are sentences of other languages or about other things, words in no order, words that do not exist, and orders that
name what no world has.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agent.small import word_meaning
from agent.small.word_hashing import split
from tasks.foreign import TRAINING, sentences
from tasks.reader import WorldReader

_FAR = 1 / 40  # of the words are strange: those that are farthest from any that instructions use
_COMMON = 15_000  # words that people talk with
_ORDERS = (
    "go to the {}", "pick up the {}", "take the {}", "find the {}", "shoot the {}", "touch the {}", "face the {}",
    "look at the {}", "bring me the {}", "get the {} for me", "{} the {}", "please {} it", "walk to the {} {}",
    "can you {} the {}?", "where is the {}?", "what colour is the {}?",
)  # fmt: skip
# What people say that is no order for a player; any word may stand in it.
_TALK = (
    "my {} likes {}",
    "the {} of the {} is {}",
    "how many {} are in a {}?",
    "who invented the {}?",
    "what is a {}?",
    "why is the {} so {}?",
    "i bought a {} yesterday",
    "we had {} for lunch",
    "she told me about the {}",
    "he works for a {} in {}",
    "the {} was {} all day",
    "they say that {} is better than {}",
    "i dreamt of a {} {}",
    "sell the {}",
    "cook the {}",
    "explain {} to me",
    "define {}",
    "compare {} and {}",
    "add {} to {}",
    "remember the {} next week",
    "when does the {} begin?",
    "in the {} there was a {}",
    "no {} without {}",
    "{} or {}",
    "{} and {} and {}",
    "the {} said that the {} would {}",
    "you are a {}",
    "i feel {}",
    "is {} a kind of {}?",
    "give me the price of {}",
    "read the {} aloud",
    "wash the {}",
    "{}!",
    "{} {}",
    "once there was a {} who was {}",
    "the weather in {} is {}",
    "{} plus {} is {}",
    "thanks for the {}",
)
_SYLLABLES = [a + b for a in "bdfgklmnprstvwz" for b in "aeiou"]


class Nonsense:
    """Draws instructions that mean nothing in any world. `known`: the words that instructions use."""

    def __init__(self, known: Sequence[str]) -> None:
        self._foreign = [split(text) for text in sentences(TRAINING)]
        self._words = [word for word in word_meaning.words() if word not in set(known)]
        self._strange = self._far_from(known)

    def _far_from(self, known: Sequence[str]) -> list[str]:
        near = _unit(word_meaning.vectors([word for word in known if word_meaning.knows(word)]))
        closest = (_unit(word_meaning.vectors(self._words)) @ near.T).max(1)
        return [self._words[i] for i in np.flatnonzero(closest <= np.quantile(closest, _FAR))]

    def draw(self, rng: np.random.Generator) -> list[str]:
        """The words of one instruction."""
        kind = rng.random()
        if kind < 0.35:
            words = list(self._foreign[rng.integers(len(self._foreign))])
            if rng.random() < 0.3:  # another order of its words, or some of them alone
                words = [words[i] for i in rng.permutation(len(words))[: rng.integers(2, 8)]]
            return words
        if kind < 0.6:
            talk = _TALK[rng.integers(len(_TALK))]
            return split(talk.format(*_drawn(rng, self._words[:_COMMON], talk.count("{}"))))
        if kind < 0.7:
            return _drawn(rng, self._words, int(rng.integers(2, 10)))
        if kind < 0.8:
            return ["".join(_drawn(rng, _SYLLABLES, int(rng.integers(2, 5)))) for _ in range(rng.integers(1, 7))]
        order = _ORDERS[rng.integers(len(_ORDERS))]
        return split(order.format(*_drawn(rng, self._strange, order.count("{}"))))


@functools.cache
def nonsense() -> Nonsense:
    """What means nothing in the worlds that are installed."""
    return Nonsense(sorted(WorldReader("doom").words()))


def _drawn(rng: np.random.Generator, among: Sequence[str], count: int) -> list[str]:
    return [among[i] for i in rng.integers(len(among), size=count)]


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    out: npt.NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-6)
    return out

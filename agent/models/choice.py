"""Choices: how likely a model begins its answer with each of a few words, where its backend tells log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from agent.models.base import RefusedError, Reply, Request

_AROUND = " \t\r\n▁ĠĊ"  # white space, also as the vocabularies of tokenizers write it


class NoChoiceError(RefusedError):
    """The model or the service tells no log-probabilities."""


@runtime_checkable
class Chooses(Protocol):
    """A backend that tells how likely each of some words of one token is."""

    def choose(self, request: Request, choices: Sequence[str], seconds: float) -> Reply:
        """Make one attempt. `data` of the reply: what `summed` gives. `text`: the likeliest choice.

        `request` asks for one token without a thought before it. Raises ModelError: NoChoiceError where the service
        tells no log-probabilities, BadReplyError where it tells none of a choice.
        """
        ...


def plain(token: str) -> str:
    """The word that a token stands for: in lower case, without white space around it."""
    return token.strip(_AROUND).lower()


def summed(tokens: Iterable[tuple[str, float]], choices: Sequence[str]) -> dict[str, float]:
    """The log-probability of each choice among all tokens, summed over its spellings such as "yes", "Yes" and " yes";
    -inf where there is none. `tokens`: what was told, as token and log-probability. Raises ValueError for NaN."""
    found = dict.fromkeys(choices, -math.inf)
    for token, log in tokens:
        if math.isnan(log):
            raise ValueError("a log-probability is NaN")
        if (word := plain(token)) in found:
            found[word] = float(np.logaddexp(found[word], min(log, 0.0)))
    return found


def likeliest(found: dict[str, float]) -> str:
    """The choice with the highest log-probability."""
    return max(found, key=lambda choice: found[choice])


def checked(choices: Sequence[str]) -> tuple[str, ...]:
    """`choices`, at least two different words. Raises ValueError."""
    words = {choice for choice in choices if choice and choice == plain(choice)}
    if len(words) < max(2, len(choices)):
        raise ValueError(f"choices: expected two or more different words in lower case, got {list(choices)}")
    return tuple(choices)

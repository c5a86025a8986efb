"""Instructions for queries, ready for the model: many phrasings of each, split into words once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agent.small.token_ids import spell
from agent.small.word_hashing import split
from envs.doom.things import COLOURS
from tasks import world_tasks
from tasks.confirmation import confirmation
from tasks.doom.dialogues import SHOWN
from tasks.doom.language import compound, core, noun_phrase, phrase, plain_goal
from tasks.doom.phrases import COLOUR_WORDS
from tasks.task import Query
from tasks.world_tasks import OK
from training.small.annotate import PAIR_OF, PANEL_CLASS, VERBS

COLOURED = 240  # from here on for a thing that is told by its colour alone
PICTURED = 248  # stands for a thing that a picture shows, where a thing's class is expected
TYPO = 0.04  # chance of a word to be mistyped
_ANYTHING = ["thing", "one", "object"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class PhraseBank:
    """`each` training phrasings of every query of a world, each made when it is first asked for."""

    def __init__(self, seed: int, each: int = 200, world: str = "doom") -> None:
        self._seed, self._each, self._world = seed, each, world
        self._phrase = _phrase if world == "doom" else _elsewhere(world)
        self._texts: dict[tuple[Query, int], str] = {}

    def draw(self, rng: np.random.Generator, query: Query) -> str:
        """One phrasing of a query."""
        key = query, int(rng.random() * self._each)
        if key not in self._texts:
            own = np.random.default_rng([self._seed, 3, *query, key[1]])  # whatever was asked for before
            self._texts[key] = self._phrase(own, query)
        return self._texts[key]

    def confirmation(self, text: str, query: Query) -> list[int]:
        """Ids of the words that confirm a phrasing of a query."""
        spoken = confirmation(text, self._world)
        if not spoken and COLOURED <= query[1] < PICTURED:
            spoken = OK + plain_goal(VERBS[query[0]], f"{COLOURS[query[1] - COLOURED]} thing")
        return spell(spoken)

    @staticmethod
    def steps(rng: np.random.Generator, queries: Sequence[Query]) -> list[str]:
        """The words of one instruction for several queries with things, one after the other."""
        texts = [core(rng, VERBS[verb], _noun(rng, thing, alone)) for verb, thing, alone in queries]
        return mistyped(rng, split(compound(rng, texts)))


def _elsewhere(world: str) -> Callable[[np.random.Generator, Query], str]:
    goals = world_tasks.of(world).goals
    assert goals is not None
    return lambda rng, query: str(goals.words(rng, query))


def _phrase(rng: np.random.Generator, query: Query) -> str:
    verb, thing, alone = query
    if thing == PICTURED:
        text = phrase(rng, VERBS[verb], "PICTURED")
        return text.replace("the PICTURED", str(rng.choice(SHOWN)))
    return phrase(rng, VERBS[verb], _noun(rng, thing, alone))


def _noun(rng: np.random.Generator, thing: int, alone: int) -> str:
    """Words for what a query wants."""
    if thing == PANEL_CLASS:
        return noun_phrase(rng, "panel", None)
    if thing >= COLOURED:
        return f"{rng.choice(list(COLOUR_WORDS[COLOURS[thing - COLOURED]]))} {rng.choice(_ANYTHING)}"
    return noun_phrase(rng, *PAIR_OF[thing], unique_kind=bool(alone)) if thing else ""


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

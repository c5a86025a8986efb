"""`Goal`: an instruction without the ways to say it, so that tries of the same goal are counted together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from tasks import world_tasks

_UNSAID = frozenset({"the", "a", "an", "please", "now"})
_ALIKE = 0.8  # of two spellings of a word
_STEM = 3  # letters that two forms of a word share at the start


@dataclass(frozen=True)
class Goal:
    """`text`: the instruction in plain words. `verb`: what the player has to be able to do; the first word where no
    grammar reads the instruction. `read`: whether the world's grammar reads it."""

    text: str
    verb: str
    read: bool


@lru_cache(maxsize=4096)
def goal_of(world: str, instruction: str) -> Goal:
    """The goal of an instruction in a world.

    The world's grammar gives the plain words where it reads the instruction. Elsewhere case, punctuation and articles
    are taken out.
    """
    language = world_tasks.of(world).language
    meaning = None if language is None else language.read(instruction)
    if language is not None and meaning is not None:
        steps = (meaning, *getattr(meaning, "then", ()))
        return Goal(language.plain(meaning), "+".join(step.verb for step in steps), True)
    words = [word for word in re.findall(r"[\w']+", instruction.lower()) if word not in _UNSAID]
    return Goal(" ".join(words), words[0] if words else "", False)


def same(a: Goal, b: Goal) -> bool:
    """Whether two goals are the same but for their spelling.

    What the grammar reads is the same only where the plain words are. Other goals are where each word is the same or
    another form of it: "torch" and "torches", but not "red" and "blue", "lock" and "unlock" or "door 1" and "door 2".
    """
    if a.text == b.text:
        return True
    if a.read or b.read:
        return False
    ours, theirs = a.text.split(), b.text.split()
    return len(ours) == len(theirs) and all(_same_word(x, y) for x, y in zip(ours, theirs, strict=True))


def _same_word(a: str, b: str) -> bool:
    if a == b:
        return True
    if not (a.isalpha() and b.isalpha()) or a[:_STEM] != b[:_STEM]:
        return False
    return SequenceMatcher(None, a, b).ratio() >= _ALIKE

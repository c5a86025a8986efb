"""`Understanding`: whether a policy can follow a person's words, and what to say where it can't.

If a small model is told something that it was never taught, it does something else and says "done". So the words are
checked against what it was taught: the nouns that it knows, and the sentences that a `Reader` reads. Of another
sentence the policy may say how it understands it. That counts where it is a goal that it knows, of a thing that the
sentence names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from agent.talk import intents

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_LONGEST = 3  # words of a thing's name
_MOST_NAMED = 3  # words that are named at once
_SURE = 0.25  # how likely a language has to be to be named
# "oops, i wanted the red torch", "the one that is red"
_CORRECTION = re.compile(
    r"(?:(?:oops|uh|sorry|no|wait|i (?:wanted|meant|mean|want|said))[\s,]+)*(?:the|an?|that) "
    r"(?:(?:one|thing) that is )?\w+(?: \w+)?"
)
# What English sentences of any kind are made of.
_PLAIN_TEXT = """
a an the this that these those i you me my your it its he she we they them is are am was were be been do does did have
has had can could will would shall should may might must no not yes and or but if of in on at to for from with by as so
than then there here what which who where when why how many much see any some all one ones other another please now
"""
_PLAIN = frozenset(_PLAIN_TEXT.split())
# Languages that are told apart. Closer relatives of these are taken for them.
_LANGUAGES = {
    "ar": "Arabic", "bg": "Bulgarian", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "fa": "Persian", "fi": "Finnish", "fr": "French",
    "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "ja": "Japanese", "ko": "Korean", "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip


class Reader(Protocol):
    """What sentences a policy was taught."""

    def reads(self, text: str) -> bool:
        """Whether this sentence is one of them."""

    def confirms(self, text: str) -> str:
        """The goal that the policy takes another sentence for, in plain words; "" where it can't tell."""

    def words(self) -> frozenset[str]:
        """The words that they are made of, in lower case."""


class Understanding:
    """What can be followed. `known`: the plain name of the thing that a noun names, None for an unknown noun. Without a
    `reader` only nouns can be strange."""

    def __init__(self, known: Callable[[str], str | None], reader: Reader | None = None) -> None:
        self._known = known
        self._reader = reader

    @property
    def english(self) -> bool:
        """Whether the policy was taught sentences of English, and nothing else."""
        return self._reader is not None

    def doubt(self, instruction: str, goal: str = "") -> str:
        """What to say of an instruction that can't be followed; "" for one that can. `goal`: what is pursued now, which
        it may correct."""
        steps = intents.steps(instruction)
        if self._reader is None or (goal and _CORRECTION.fullmatch(instruction)):
            return next(filter(None, map(self.strange_noun, steps)), "")
        if self._reads(instruction) or all(map(self._reads, steps)):
            return ""
        if foreign := self.foreign(instruction):
            return foreign
        step = next((step for step in steps if not self._reads(step) and not self._confirmed(step)), "")
        if not step:
            return ""
        strange = self._strange_words(intents.spelled_out(step))
        return (
            (f"i don't know the word{'s' if len(strange) > 1 else ''} {_listed(strange)}" if strange else "")
            or self.strange_noun(step)
            or f"i don't understand: {step}"
        )

    def strange_noun(self, text: str) -> str:
        """What to say of a text that is about a thing which the policy does not know; "" for any other text."""
        thing = intents.thing_of(text)
        if thing and thing.noun and not thing.pointer and self._known(thing.noun) is None:
            return f"i don't know the word {thing.noun}"
        return ""

    def foreign(self, text: str) -> str:
        """What to say of a text in another language; "" for one in English, or in no language that is known."""
        words = _WORD.findall(text.lower())
        if self._reader is None or not words or 2 * len(self._strange_words(text)) < len(words):
            return ""
        name = language_of(text)
        return f"i understand English alone, and this looks like {name}" if name not in ("", "English") else ""

    def followed(self, instruction: str) -> str:
        """The instruction, in other words where it can be followed in those alone: politeness is left out, and what a
        step leaves out is said."""
        if self._reader is None or self._reads(instruction):
            return instruction
        whole = intents.spelled_out(instruction)
        return instruction if self.doubt(whole) else whole

    def _reads(self, text: str) -> bool:
        assert self._reader is not None
        return self._reader.reads(text) or self._reader.reads(f"i want {text}")  # which is taken for a correction

    def _confirmed(self, text: str) -> bool:
        """Whether the policy says of a sentence that it is some goal, and the sentence names the thing of that goal."""
        assert self._reader is not None
        verb, _, rest = self._reader.confirms(text).partition(" ")
        goals = (f"{verb} {rest}", f"{verb} the {rest}")
        return bool(rest) and any(map(self._reader.reads, goals)) and self._named(rest) <= self._named(text)

    def _named(self, text: str) -> set[str]:
        """The plain names of all things that a text names, in one to three words."""
        words = _WORD.findall(text.lower())
        spans = [" ".join(words[at : at + n]) for n in range(1, _LONGEST + 1) for at in range(len(words) - n + 1)]
        return {name for name in map(self._known, spans) if name}

    def _strange_words(self, text: str) -> list[str]:
        known = _PLAIN | (self._reader.words() if self._reader else frozenset())
        words = dict.fromkeys(_WORD.findall(text.lower()))
        return [word for word in words if not known & {word, word.removesuffix("s")} and not word.isdigit()]


def _listed(words: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"; of more words the first ones."""
    some = list(words[:_MOST_NAMED])
    return some[0] if len(some) == 1 else f"{', '.join(some[:-1])} and {some[-1]}"


@functools.lru_cache(maxsize=64)
def language_of(text: str) -> str:
    """The English name of the language that a text is most likely in; "" where none is likely."""
    code, chance = _identifier().classify(text.lower())
    return _LANGUAGES[code] if chance >= _SURE else ""


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # takes a second, and is seldom needed

    found = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    found.set_languages(sorted(_LANGUAGES))
    return found

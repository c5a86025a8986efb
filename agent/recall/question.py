"""`Question`: what a question about the past asks for, read by rules from plain English."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from agent.recall.store import DID, SAID, THOUGHT, TOLD

Asks = Literal["last", "first", "count", "ever", "beside", "at", "order", "words"]


@dataclass(frozen=True)
class Question:
    """`things`: what it is about, such as "red key", in the order of the question. `asks`: for the last or first time
    that all of them were seen together, how often they were, whether ever, what was beside them, what was there `at` so
    many seconds, which of two came first (`order`), or for what was said of them (`words`). `kinds`: the kinds of
    events that `words` may be in. `ago`: `at` counts back from the end."""

    text: str
    asks: Asks
    things: tuple[str, ...] = ()
    at: float = 0.0
    ago: bool = False
    kinds: tuple[str, ...] = ()


_FILLERS = frozenset(
    re.findall(
        r"\w+",
        """a an the and or i you we they it its me my your did do does have has had was were is are be been being am
        there any anything something thing things when where what which who how why whether that this those these ever
        last first latest earliest before after recently see saw seen seeing look looked looking show shown appear
        appeared find found spot spotted notice noticed meet met come came across pass passed in on at of to from for
        by with near next beside along standing stood stand lie lay lying run episode game video time times second
        seconds minute minutes hour hours often many please tell know remember then one again just also still exactly
        place located not no yes sight view picture say said says told asked instructed mentioned happened happen
        happening about""",
    )
)
COLOURS = frozenset(("red", "green", "blue", "yellow", "black", "white", "orange", "purple", "pink", "brown", "grey"))
_BESIDE = re.compile(r"\b(?:beside|next to|near|close to|by|along with|together with|with|alongside)\b")
_WHAT_BESIDE = re.compile(r"\bwhat (?:else )?(?:was|were|is|are|stood|stands|did you see|did i see|could be seen)\b")
_BETWEEN = re.compile(r"\band\b|\bor\b|,|\bbefore\b|\bafter\b")
_CLOCK = re.compile(r"\b(?:(\d+):)?(\d{1,2}):(\d{2})\b")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(h(?:ours?)?|m(?:in(?:ute)?s?)?|s(?:ec(?:ond)?s?)?)\b")
_COUNT = re.compile(r"\bhow (?:often|many times)\b")
_EVER = re.compile(r"^(?:did|have|has|was|were|is|are)\b")
_FIRST = re.compile(r"\b(?:first|earliest)\b")
_ORDER = re.compile(r"\b(?:which|what)\b.*\bfirst\b.*\bor\b|\b(?:before|after)\b")
_SAID = re.compile(r"\b(say|said|says|talk|talked|mention|mentioned|speak|spoke)\b")
_TOLD = re.compile(r"\b(tell|told|instruct(?:ed)?|asked|order(?:ed)?|code|password|number|name|message|told me)\b")
_DONE = re.compile(r"\b(?:do|done|doing|play(?:ed)?|try|tried)\b(?!.*\bsee\b)")
_SIGHT = re.compile(r"\b(see|saw|seen|spot(?:ted)?|look(?:ed)?|notice[d]?|beside|next to|sight|view|appear(?:ed)?)\b")


def read(text: str, known: Callable[[str], str] = lambda noun: noun) -> Question:
    """What a question asks for. `known`: a noun as the descriptions say it. What no rule reads is looked up by its
    words."""
    plain = " ".join(text.lower().replace("?", " ").replace("!", " ").split()).rstrip(".")
    if (seconds := _seconds(plain)) is not None:
        return Question(text, "at", at=seconds, ago=plain.endswith("ago") or " ago" in plain)
    about_words = (_SAID, _TOLD, _DONE)
    if not _SIGHT.search(plain) and any(pattern.search(plain) for pattern in about_words):
        kinds = (SAID, TOLD, THOUGHT) if _SAID.search(plain) else (DID, TOLD, SAID, THOUGHT)
        return Question(text, "words", _words(plain), kinds=kinds)
    parts = _BESIDE.split(plain)
    pieces = (piece for part in parts for piece in _BETWEEN.split(part))
    things = tuple(thing for piece in pieces if (thing := _thing(piece, known)))
    if not things:
        return Question(text, "words", _words(plain))
    if len(parts) > 1 and _WHAT_BESIDE.search(plain) and not _thing(parts[0], known):
        return Question(text, "beside", things)
    if len(things) == 2 and _ORDER.search(plain):
        return Question(text, "order", things)
    asks: Asks = "last"
    if _COUNT.search(plain):
        asks = "count"
    elif _EVER.search(plain):
        asks = "ever"
    elif _FIRST.search(plain):
        asks = "first"
    return Question(text, asks, things)


def _words(plain: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(w for w in re.findall(r"\w+", plain) if w not in _FILLERS))


def _thing(piece: str, known: Callable[[str], str]) -> str:
    """The thing that a piece of a question names, as descriptions say it; "" where it names none."""
    words = [word for word in re.findall(r"[\w-]+", piece) if word not in _FILLERS]
    if not words:
        return ""
    plain = known(" ".join(words))
    if plain == " ".join(words):
        return plain
    lead = [word for word in words if word in COLOURS and word not in plain.split()]
    return " ".join([*lead, plain])


def _seconds(plain: str) -> float | None:
    """The moment that a question names, in seconds; None where it names none."""
    if found := _CLOCK.search(plain):
        hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return 3600.0 * hours + 60.0 * minutes + seconds
    named = _SPAN.findall(plain)
    if not named or not re.search(r"\b(?:ago|at|after|in|into|mark)\b", plain):
        return None
    return sum(float(count) * {"h": 3600.0, "m": 60.0, "s": 1.0}[unit[0]] for count, unit in named)

"""`Reader`: reads the text form of an action into a `Plan`; agent/codec.py shows the language."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from agent.key_names import VERBS, Names
from agent.plan import STEP, Event, Plan, Stretch
from envs.action import BUTTONS

MOST_CHARACTERS = 2000

_SCAN = re.compile(
    r"""
    (?P<string> "(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*' | “[^”]*” )
  | (?P<time>   \d+(?:\.\d+)? (?: \s*(?:milliseconds?|msecs?|ms|seconds?|secs?) | s )\b )
  | (?P<number> [-+−]?(?:\d+(?:\.\d*)?|\.\d+)(?![^\W_]) )
  | (?P<word>   [^\W_]+ )
  | (?P<plus>   \+ )
  | (?P<next>   [;\n] )
  | (?P<space>  [\s,.():=\[\]{}|_°/*`-] )
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_FILLERS = frozenset({"the", "and", "key", "keys", "button", "buttons", "mouse", "degrees", "by", "to", "at"})
_SAME = {"scroll": "wheel", "move": "point", "noop": "wait", "nothing": "wait", "idle": "wait"}
_DIRECTIONS = {"right": (0, 1.0), "left": (0, -1.0), "up": (1, 1.0), "down": (1, -1.0)}
_ESCAPES = {"n": "\n", "t": "\t"}


class _Token(NamedTuple):
    kind: str
    text: str


_END = _Token("end", "")


@dataclass
class _Draft:
    """A stretch while it is read. `look`: degrees by axis. `alone`: of a look with one number. `said`: whether there is
    anything in it."""

    hold: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    look: dict[int, float] = field(default_factory=dict)
    alone: float | None = None
    pointer: tuple[int, int] | None = None
    drag: tuple[int, int] | None = None
    wheel: float | None = None
    milliseconds: int | None = None
    said: bool = False

    def stretch(self) -> Stretch:
        if self.alone is not None:
            if 0 not in self.look or 1 in self.look:  # "turn 16 look 4" has a number for each axis
                raise ValueError("look takes two numbers, degrees to the right and degrees up")
            self.look[1] = self.alone
        time = STEP if self.milliseconds is None else self.milliseconds
        look = self.look.get(0, 0.0), self.look.get(1, 0.0)
        return Stretch(time, frozenset(self.hold), tuple(self.events), look, self.pointer, self.drag, self.wheel or 0.0)


class Reader:
    """Reads one text. `names`: what keys are called in the world. `plan` raises ValueError that says what is wrong."""

    def __init__(self, text: str, names: Names) -> None:
        if len(text) > MOST_CHARACTERS:
            raise ValueError(f"it has {len(text)} characters, more than {MOST_CHARACTERS}")
        self._names = names
        self._tokens = list(_tokens(text))
        self._words = [token.text.lower() for token in self._tokens]
        self._at = 0
        self._draft = _Draft()
        self._stretches: list[Stretch] = []
        self._fulfilled = False

    def plan(self) -> Plan:
        while self._at < len(self._tokens):
            self._part()
        if not (self._draft.said or self._stretches or self._fulfilled):
            raise ValueError("it is empty")
        if self._draft.said or not self._stretches:
            self._stretches.append(self._draft.stretch())
        return Plan(tuple(self._stretches), self._fulfilled)

    # The parts

    def _part(self) -> None:
        kind, word = self._kind(), self._words[self._at]
        if kind == "next" or word == "then":
            self._at += 1
            if self._draft.said:
                self._stretches.append(self._draft.stretch())
            self._draft = _Draft()
        elif kind == "time":
            self._for()
        elif self._name_here():
            if word in BUTTONS and self._words[self._at + 1 : self._at + 2] == ["click"]:
                raise ValueError(f"'{word} click' may be two things; say 'click {word}'")
            self._draft.hold.add(self._name())
            self._draft.said = True
        elif kind == "word" and _SAME.get(word, word) in VERBS:
            self._at += 1
            self._draft.said = self._draft.said or word != "done"
            getattr(self, f"_{_SAME.get(word, word)}")()
        elif kind == "word" and word in _FILLERS:
            self._at += 1
        else:
            raise ValueError(self._unknown())

    def _hold(self) -> None:
        self._draft.hold.update(*self._chords("hold"))

    def _tap(self) -> None:
        self._draft.events += self._chords("tap")

    def _press(self) -> None:
        """Buttons are kept down; keys are tapped: "press enter"."""
        if buttons := self._buttons():
            self._draft.hold.update(buttons)
        else:
            self._draft.events += self._chords("press")

    def _click(self) -> None:
        self._draft.events += [frozenset({button}) for button in self._buttons() or ["left"]]
        if self._kind() == "number":
            self._point()

    def _type(self) -> None:
        kind, text = self._tokens[self._at] if self._at < len(self._tokens) else _END
        if kind not in ("string", "word", "number"):
            raise ValueError('type takes a text in quotes, such as type "hello"')
        self._at += 1
        if kind == "string":
            text = re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), text[1:-1], flags=re.DOTALL)
        self._draft.events.append(text)

    def _look(self) -> None:
        if self._directed():
            return
        first = self._number("look")
        if self._kind() == "number":
            self._set_look(0, first)
            self._set_look(1, self._number("look"))
        elif self._draft.alone is None:
            self._draft.alone = first
        else:
            raise ValueError("it looks twice; put 'then' between")

    def _turn(self) -> None:
        if not self._directed():
            self._set_look(0, self._number("turn"))

    def _directed(self) -> bool:
        """Looks as "left 30" says, if it says so."""
        found = False
        while self._skip() in _DIRECTIONS and "number" in (self._kind(1), self._kind(2)):
            axis, sign = _DIRECTIONS[self._words[self._at]]
            self._at += 1
            self._set_look(axis, sign * self._number("look"))
            found = True
        return found

    def _set_look(self, axis: int, degrees: float) -> None:
        if axis in self._draft.look:
            raise ValueError("it looks twice; put 'then' between")
        self._draft.look[axis] = degrees

    def _point(self) -> None:
        if self._draft.pointer is not None:
            raise ValueError("it points twice; put 'then' between")
        self._draft.pointer = self._place()

    def _drag(self) -> None:
        self._point()
        self._draft.drag = self._place()

    def _wheel(self) -> None:
        sign = 1.0
        if self._skip() in ("up", "down"):
            sign = _DIRECTIONS[self._words[self._at]][1]
            self._at += 1
        notches = sign * self._number("wheel")
        if self._draft.wheel is not None:
            raise ValueError("it turns the wheel twice; put 'then' between")
        self._draft.wheel = notches

    def _wait(self) -> None:
        if self._kind() in ("time", "number"):
            self._for()

    def _done(self) -> None:
        self._fulfilled = True

    def _for(self) -> None:
        if self._kind() == "time":
            text = self._words[self._at]
            self._at += 1
            number = text.rstrip("abcdefghijklmnopqrstuvwxyz ſ\t\n")
            time = float(number) * (1.0 if text[len(number) :].strip().startswith("m") else 1000.0)
        else:
            time = self._number("for")
        if self._draft.milliseconds is not None:
            raise ValueError("it names two times; put 'then' between")
        if not 0.0 <= time < 1e6:
            raise ValueError(f"for takes milliseconds, not {time:g}")
        self._draft.milliseconds, self._draft.said = math.ceil(time), True

    # What they are made of

    def _kind(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].kind if at < len(self._tokens) else "end"

    def _skip(self) -> str:
        """Skip words that mean nothing; the word that is next."""
        while self._kind() == "word" and self._words[self._at] in _FILLERS:
            self._at += 1
        return self._words[self._at] if self._at < len(self._words) else ""

    def _name_here(self) -> bool:
        """Whether the name of a key or button is next; a verb is one only with other words."""
        if self._kind() not in ("word", "number"):
            return False
        name, length = self._names.find(self._words, self._at)
        return bool(name) and (length > 1 or self._kind() == "number" or self._words[self._at] not in VERBS)

    def _name(self) -> str:
        name, length = self._names.find(self._words, self._at)
        self._at += length
        return name

    def _chords(self, verb: str) -> list[frozenset[str]]:
        """The names that follow, each with those that a plus joins to it."""
        chords: list[frozenset[str]] = []
        while True:
            if not self._name_here():
                self._skip()
            if not self._name_here():
                break
            chord = {self._name()}
            while self._kind() == "plus":
                self._at += 1
                if not self._name_here():
                    raise ValueError(f"{verb}: {self._unknown()}")
                chord.add(self._name())
            chords.append(frozenset(chord))
        if not chords:
            raise ValueError(f"{verb} takes names of keys: {self._unknown()}")
        return chords

    def _buttons(self) -> list[str]:
        """The mouse buttons that follow; none where a longer name is a key's, such as "left shift"."""
        found: list[str] = []
        while True:
            button, length = self._names.button(self._words, self._at)
            if not button and self._kind() == "word" and self._words[self._at] in ("the", "and"):
                self._at += 1
                continue
            if not button or self._names.find(self._words, self._at)[1] > length:
                return found
            self._at += length
            found.append(button)

    def _number(self, verb: str) -> float:
        self._skip()
        if self._kind() != "number":
            raise ValueError(f"{verb} takes numbers, {self._unknown()}")
        number = float(self._words[self._at].replace("−", "-"))
        if not math.isfinite(number):
            raise ValueError(f"{verb} takes smaller numbers")
        self._at += 1
        self._skip_unit()
        return number

    def _skip_unit(self) -> None:
        if self._kind() == "word" and self._words[self._at] in ("degrees", "notches", "deg"):
            self._at += 1

    def _place(self) -> tuple[int, int]:
        x, y = self._number("point"), self._number("point")
        if any(0.0 < z <= 1.0 and z != round(z) for z in (x, y)):
            raise ValueError(f"points are thousandths of the picture, 0 to 1000, not {x:g} {y:g}")
        return round(x), round(y)

    def _unknown(self) -> str:
        if self._at >= len(self._tokens):
            return "but there it ends"
        kind, text = self._tokens[self._at]
        if kind != "word":
            return f"unexpected {text[:40]!r}"
        close = difflib.get_close_matches(text.lower()[:40], self._names.known(), 1, 0.75)
        hint = f"; is it {close[0]!r}?" if close and close[0] != text.lower() else ""
        return f"unexpected word {text[:40]!r}{hint}"


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _SCAN.match(text, at)
        if found is None:
            raise ValueError(f"unexpected {text[at]!r}")
        at = found.end()
        kind = found.lastgroup or ""
        if kind != "space":
            yield _Token(kind, found[0])

"""What people and models call keys and buttons: "esc", "right arrow", "A", and a world's own words for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from envs.action import BUTTONS, KEYS

Phrase = tuple[str, ...]

_WORD = re.compile(r"[^\W_]+")
_EITHER = re.compile(r"[,;/|]| or ")
_CAMEL = re.compile(r"[A-Z][a-z]*|\d+")
_SIDES = {"Shift": ("shift",), "Control": ("ctrl", "control"), "Alt": ("alt", "option")}
_OTHER = {
    "Escape": "esc", "Enter": "return", "Space": "spacebar|space bar|blank", "Backspace": "back space",
    "Delete": "del", "Insert": "ins", "PageUp": "pgup|pg up", "PageDown": "pgdn|pgdown|pg down",
    "CapsLock": "caps", "Minus": "hyphen|dash", "Equal": "equals", "Quote": "apostrophe",
    "Backquote": "backtick|grave", "Period": "dot|full stop", "BracketLeft": "left bracket",
    "BracketRight": "right bracket", "ArrowUp": "up|up arrow", "ArrowDown": "down|down arrow",
    "ArrowLeft": "left|left arrow", "ArrowRight": "right|right arrow",
    "NumpadAdd": "numpad plus", "NumpadSubtract": "numpad minus", "NumpadMultiply": "numpad times",
    "NumpadDecimal": "numpad dot", "NumpadEnter": "keypad enter",
}  # fmt: skip

_BUTTON_NAMES: dict[Phrase, str] = {
    phrase: button
    for button, short in (("left", "lmb"), ("right", "rmb"), ("middle", "mmb"))
    for phrase in ((button,), (short,), ("mouse", button), (f"mouse{button}",), (button, "mouse"), (button, "button"),
                   (button, "mouse", "button"), ("mouse", "button", button))
}  # fmt: skip


def words(text: str) -> Phrase:
    """A name as words in lower case: "Roll away" is ("roll", "away")."""
    return tuple(word.lower() for word in _WORD.findall(text))


def mouse(button: str) -> str:
    """A button's name among those of keys: "MouseLeft"."""
    return f"Mouse{button.title()}"


def _usual() -> dict[Phrase, tuple[str, ...]]:
    """What everybody calls a key, and the keys it may mean, the likeliest first."""
    table: dict[Phrase, tuple[str, ...]] = {}
    for key in KEYS:
        parts = tuple(part.lower() for part in _CAMEL.findall(key))
        table[parts] = (key,)
        table |= {words(name): (key,) for name in _OTHER.get(key, "").split("|") if name}
    for character in "abcdefghijklmnopqrstuvwxyz0123456789":
        code = f"Digit{character}" if character.isdigit() else f"Key{character.upper()}"
        numpad = (f"Numpad{character}",) if character.isdigit() else ()
        table[character,] = (code, *numpad)
        table["keypad", character] = numpad or (code,)
        table["number", character] = (code, *numpad)
    for key, names in _SIDES.items():
        left, right = f"{key}Left", f"{key}Right"
        for name in names:
            table[name,] = (left, right)
            table["left", name] = table[name, "left"] = table[f"l{name}",] = (left,)
            table["right", name] = table[name, "right"] = table[f"r{name}",] = (right,)
    for phrase, button in _BUTTON_NAMES.items():  # "left" is an arrow where there is one
        table[phrase] = (*table.get(phrase, ()), button)
    return table


_USUAL = _usual()


def plain(meaning: str) -> str:
    """What a world says of a key, as one short line without control characters: it stands in prompts."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(meaning)).split())[:80]


class Names:
    """What names mean in a world with `keys` and `buttons`, whose `controls` say what they do there."""

    def __init__(self, keys: Iterable[str], buttons: Iterable[str], controls: Mapping[str, str]) -> None:
        there = {*keys, *buttons}
        table = {phrase: next((k for k in keys if k in there), keys[0]) for phrase, keys in _USUAL.items()}
        for name in sorted((name for name in controls if name in there), reverse=True):  # the first name of two wins
            said = [words(part) for part in _EITHER.split(plain(controls[name]))]
            table |= {phrase: name for phrase in said if phrase and phrase not in _RESERVED}
        for name in KEYS:
            table[name.lower(),] = name
        for button in BUTTONS:
            table[mouse(button).lower(),] = button
        self._table = table
        self._longest = max(map(len, table))

    def find(self, tokens: list[str], at: int) -> tuple[str, int]:
        """The key or button that the words at `at` name, and how many words they are; ("", 0) for none."""
        for length in range(min(self._longest, len(tokens) - at), 0, -1):
            found = self._table.get(tuple(tokens[at : at + length]))
            if found is not None:
                return found, length
        return "", 0

    @staticmethod
    def button(tokens: list[str], at: int) -> tuple[str, int]:
        """The mouse button that the words at `at` name, and how many words; ("", 0) for none."""
        for length in range(min(3, len(tokens) - at), 0, -1):
            found = _BUTTON_NAMES.get(tuple(tokens[at : at + length]))
            if found is not None:
                return found, length
        return "", 0

    def known(self) -> list[str]:
        """All names, for suggestions."""
        return [" ".join(phrase) for phrase in self._table]


# Words of the language itself, which no control can be called.
VERBS = frozenset({
    "hold", "tap", "press", "click", "type", "look", "turn", "point", "drag", "wheel", "scroll", "wait", "done", "for",
    "then",
})  # fmt: skip
_RESERVED = frozenset((verb,) for verb in VERBS)

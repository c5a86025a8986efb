"""The keyboard of an X display: where its keys are, and what its layout makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from Xlib import XK, X
from Xlib.display import Display

from envs.action import KEYS
from envs.desktop import keysyms
from envs.desktop.server import connect
from envs.errors import UserError

_NAMES = {getattr(XK, name): name[3:] for name in dir(XK) if name.startswith("XK_")}
_FIRST, _COUNT = 8, 248  # all keycodes of X
_GROUP = 13  # the bit of a state's mask from which on it says which of several layouts is in use
_LEVEL_3 = 0xFE03  # the keysym of AltGr
_OF_KEYSYM = {0xFF0D: "\n", 0xFF09: "\t", 0x20AC: "€", 0x7F2: "σ", 0x7F3: "ς"}
# Appendix A of the X protocol: keysyms above those of Latin-1 count as the character sets of their time do.
_CHARACTER_SETS = {1: "iso8859_2", 2: "iso8859_3", 3: "iso8859_4", 6: "koi8_u", 7: "iso8859_7"}
_UNICODE = 0x01000000


def keycodes(display: Display, keys: Iterable[str]) -> dict[str, int]:
    """The keycode of each key's place on this display, whatever its layout writes there.

    All X servers of today number the places as Linux does (evdev). On one that does not, the keys are found by what
    they write. Raises UserError for one that the keyboard lacks.
    """
    evdev = _counts_as_linux(display)
    codes = {}
    for key in keys:
        codes[key] = keysyms.KEYCODES[key] if evdev else _by_keysym(display, keysyms.keysym_name(key))
        if codes[key] == 0:
            raise UserError(f"the keyboard of display {display.get_display_name()!r} has no key {key}")
    return codes


def _counts_as_linux(display: Display) -> bool:
    """Whether the keys that are the same in all layouts have the keycodes of evdev."""
    found = {key: _by_keysym(display, keysyms.keysym_name(key)) for key in ("ArrowUp", "ArrowLeft", "Delete", "End")}
    return all(code in (0, keysyms.KEYCODES[key]) for key, code in found.items())


def _by_keysym(display: Display, name: str) -> int:
    return int(display.keysym_to_keycode(XK.string_to_keysym(name)))


def meanings(display: Display, codes: Mapping[str, int]) -> dict[str, frozenset[str]]:
    """What each key does in the layout of this display, as `keysyms.functions` says."""
    found = {}
    for key, code in codes.items():
        written = (_NAMES.get(symbol) or _letter(symbol) for symbol in display.get_keyboard_mapping(code, 1)[0])
        found[key] = keysyms.functions(key, [name for name in written if name])
    return found


def _letter(symbol: int) -> str:
    return chr(symbol) if 0x20 <= symbol < 0x7F else ""


def layout_of(name: str) -> dict[str, frozenset[str]]:
    """The `characters` of a person's display, by its name. Raises what Xlib raises."""
    display = connect(name)
    try:
        return characters(display)
    finally:
        display.close()


def characters(display: Display) -> dict[str, frozenset[str]]:
    """The keys that type each character together, in the layout that this display has now; by character.

    What takes dead keys, keys that an `Action` does not have, or keys that may not be held together, is left out. Where
    people switch between several layouts, what AltGr types is left out too, and all of the third and fourth: the core
    protocol does not tell to which of them it belongs.
    """
    symbols = display.get_keyboard_mapping(_FIRST, _COUNT)
    linux = _counts_as_linux(display)
    found: dict[str, frozenset[str]] = {}
    for level, modifiers in _levels(display, symbols):
        for key in KEYS:
            code = keysyms.KEYCODES[key] if linux else _by_keysym(display, keysyms.keysym_name(key))
            row = symbols[code - _FIRST] if code else ()
            character = _character(row[level]) if level < len(row) else ""
            chord = frozenset({key, *modifiers})
            if character and not keysyms.refused(chord):
                found.setdefault(character, chord)
    return found


def _levels(display: Display, symbols: list[list[int]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Where in a key's keysyms those of the layout in use are, and what is held for each; the simplest first."""
    group = display.screen().root.query_pointer().mask >> _GROUP & 3
    if group > 1:
        return
    yield 2 * group, ()
    yield 2 * group + 1, ("ShiftLeft",)
    if not _several(display) and _LEVEL_3 in symbols[keysyms.KEYCODES["AltRight"] - _FIRST]:
        yield 4, ("AltRight",)
        yield 5, ("AltRight", "ShiftLeft")


def _several(display: Display) -> bool:
    """Whether people switch between layouts here: names of rules, model, layouts, variants and options say so."""
    names = display.screen().root.get_full_property(display.get_atom("_XKB_RULES_NAMES"), X.AnyPropertyType)
    fields = bytes(names.value).split(b"\0") if names is not None and isinstance(names.value, bytes) else []
    return len(fields) > 2 and b"," in fields[2]


def _character(keysym: int) -> str:
    """The character of a keysym; empty for keys that write none, and for dead keys, which write it with the next."""
    if keysym in _OF_KEYSYM:
        return _OF_KEYSYM[keysym]
    if 0x20 <= keysym <= 0x7E or 0xA0 <= keysym <= 0xFF:
        return chr(keysym)
    if _UNICODE <= keysym <= _UNICODE + 0x10FFFF:
        found = chr(keysym - _UNICODE)
        return found if found.isprintable() else ""
    page, byte = divmod(keysym, 256)
    if page not in _CHARACTER_SETS or byte < (0xC0 if page == 7 else 0xA0):  # accented Greek letters count otherwise
        return ""
    found = bytes([byte]).decode(_CHARACTER_SETS[page], "ignore")
    return found if found.isalpha() else ""

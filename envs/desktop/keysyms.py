"""Where the keys of an `Action` are and what they are called in X, and which of them may not be held together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from envs.action import KEYS

_NAMES = {
    "ArrowUp": "Up", "ArrowDown": "Down", "ArrowLeft": "Left", "ArrowRight": "Right",
    "Space": "space", "Enter": "Return", "Backspace": "BackSpace", "PageUp": "Prior", "PageDown": "Next",
    "ShiftLeft": "Shift_L", "ShiftRight": "Shift_R", "ControlLeft": "Control_L", "ControlRight": "Control_R",
    "AltLeft": "Alt_L", "AltRight": "Alt_R", "CapsLock": "Caps_Lock",
    "Minus": "minus", "Equal": "equal", "BracketLeft": "bracketleft", "BracketRight": "bracketright",
    "Backslash": "backslash", "Semicolon": "semicolon", "Quote": "apostrophe", "Backquote": "grave",
    "Comma": "comma", "Period": "period", "Slash": "slash",
    "NumpadAdd": "KP_Add", "NumpadSubtract": "KP_Subtract", "NumpadMultiply": "KP_Multiply",
    "NumpadDivide": "KP_Divide", "NumpadDecimal": "KP_Decimal", "NumpadEnter": "KP_Enter",
}  # fmt: skip
BUTTONS = {"left": 1, "middle": 2, "right": 3}
WHEEL_UP, WHEEL_DOWN = 4, 5

# A KeyboardEvent.code is a place on the keyboard, whatever the layout writes there: the evdev number of the place, and
# 8, as X counts. The rows begin at the left.
_ROWS = {
    9: ("Escape", *(f"Digit{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)), "Minus", "Equal", "Backspace"),
    23: ("Tab", *(f"Key{c}" for c in "QWERTYUIOP"), "BracketLeft", "BracketRight", "Enter"),
    37: ("ControlLeft", *(f"Key{c}" for c in "ASDFGHJKL"), "Semicolon", "Quote", "Backquote"),
    50: ("ShiftLeft", "Backslash", *(f"Key{c}" for c in "ZXCVBNM"), "Comma", "Period", "Slash", "ShiftRight"),
    63: ("NumpadMultiply", "AltLeft", "Space", "CapsLock", *(f"F{n}" for n in range(1, 11))),
    79: ("Numpad7", "Numpad8", "Numpad9", "NumpadSubtract", "Numpad4", "Numpad5", "Numpad6", "NumpadAdd", "Numpad1",
         "Numpad2", "Numpad3", "Numpad0", "NumpadDecimal"),
    95: ("F11", "F12"),
    104: ("NumpadEnter", "ControlRight", "NumpadDivide"),
    108: ("AltRight",),
    110: ("Home", "ArrowUp", "PageUp", "ArrowLeft", "ArrowRight", "End", "ArrowDown", "PageDown", "Insert", "Delete"),
}  # fmt: skip
KEYCODES = {key: first + n for first, row in _ROWS.items() for n, key in enumerate(row)}

_ALT = frozenset({"AltLeft", "AltRight"})
_CONTROL = frozenset({"ControlLeft", "ControlRight"})
_FUNCTION = frozenset(f"F{n}" for n in range(1, 13))
# With Alt these close, switch or resize windows; with Control they close them, or open menus of the desktop.
_NOT_WITH_ALT = _FUNCTION | _CONTROL | {"Tab", "Escape", "Space", "Enter", "Backquote"}
_NOT_WITH_CONTROL = _FUNCTION | _ALT | {"KeyQ", "Escape"}
_NOT_WITH_CONTROL_OUTSIDE = _NOT_WITH_CONTROL | {"KeyW", "KeyT", "KeyN", "Tab", "PageUp", "PageDown"}


def keysym_name(key: str) -> str:
    """The X name of a key: "KeyW" is "w", "ArrowUp" is "Up"."""
    if key in _NAMES:
        return _NAMES[key]
    if key.startswith("Key"):
        return key[3:].lower()
    if key.startswith("Digit"):
        return key[5:]
    if key.startswith("Numpad"):
        return f"KP_{key[6:]}"
    assert key in KEYS, key
    return key


# Other keys that do the same: the numpad's with and without NumLock.
_SAME = {"NumpadEnter": "Enter", "Numpad9": "PageUp", "Numpad3": "PageDown"}
_OF_KEYSYM = {
    "KP_Enter": "Enter", "KP_Prior": "PageUp", "KP_Next": "PageDown", "KP_Tab": "Tab", "KP_Space": "Space",
    "ISO_Left_Tab": "Tab", "Meta_L": "AltLeft", "Meta_R": "AltRight", "KP_F1": "F1", "KP_F2": "F2", "KP_F3": "F3",
    "KP_F4": "F4",
}  # fmt: skip


def functions(key: str, keysyms: Iterable[str] = ()) -> frozenset[str]:
    """What a key does, in names of keys: what its own place does, and what a layout that gives it `keysyms` makes of
    it, such as "KeyQ" for the key "KeyA" of a French keyboard."""
    names = {keysym_name(name): name for name in KEYS} | _OF_KEYSYM
    found = {key, _SAME.get(key, key)} | {names[name] for name in keysyms if name in names}
    return frozenset(found | {names[name.lower()] for name in keysyms if len(name) == 1 and name.lower() in names})


def refused(keys: Set[str], *, outside: bool = False, meanings: Mapping[str, frozenset[str]] | None = None) -> str:
    """Which of the held keys would close or switch a window together, such as "Alt+F4"; empty if none would.

    They are meant by what they do, not by one name: the Enter of the numpad is Enter. `outside`: on a person's own
    display, where Control with a letter may close what he works in. `meanings`: what each key does there, as
    `functions` says; by default what its own place does.
    """
    does = {key: (meanings or {}).get(key) or functions(key) for key in keys}
    for holders, others, name in (
        (_ALT, _NOT_WITH_ALT, "Alt"),
        (_CONTROL, _NOT_WITH_CONTROL_OUTSIDE if outside else _NOT_WITH_CONTROL, "Control"),
    ):
        holding = {key for key in keys if not holders.isdisjoint(does[key])}
        with_it = {key for key in keys if not others.isdisjoint(does[key])}
        if holding and with_it - (holding if len(holding) == 1 else set()):
            return f"{name}+{min(with_it - holding or with_it)}"
    return ""

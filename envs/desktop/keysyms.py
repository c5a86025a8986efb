"""What the keys of an `Action` are called in X, and which of them may not be held together."""

from __future__ import annotations

from collections.abc import Set

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


def refused(keys: Set[str], *, outside: bool = False) -> str:
    """Which of the held keys would close or switch a window together, such as "Alt+F4"; empty where none would.

    `outside`: on a person's own display, where Control with a letter may close what he works in.
    """
    for holders, others, name in (
        (_ALT, _NOT_WITH_ALT, "Alt"),
        (_CONTROL, _NOT_WITH_CONTROL_OUTSIDE if outside else _NOT_WITH_CONTROL, "Control"),
    ):
        if not holders.isdisjoint(keys) and not others.isdisjoint(keys):
            return f"{name}+{min(others & keys)}"
    return ""

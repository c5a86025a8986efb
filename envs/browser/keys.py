"""What the keys of a US keyboard tell a page, as parameters of CDP's Input.dispatchKeyEvent."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

_MODIFIERS = {"Alt": 1, "Control": 2, "Shift": 8}  # CDP's bits
# code: (key, key with Shift, the old keyCode)
_TABLE: dict[str, tuple[str, str, int]] = {
    **{f"Key{c}": (c.lower(), c, ord(c)) for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
    **{f"Digit{d}": (str(d), ")!@#$%^&*("[d], 48 + d) for d in range(10)},
    **{f"F{n}": (f"F{n}", f"F{n}", 111 + n) for n in range(1, 13)},
    **{f"Numpad{d}": (str(d), str(d), 96 + d) for d in range(10)},
    **{
        name: (name, name, code)
        for name, code in (
            ("Backspace", 8), ("Tab", 9), ("CapsLock", 20), ("Escape", 27), ("PageUp", 33), ("PageDown", 34),
            ("End", 35), ("Home", 36), ("ArrowLeft", 37), ("ArrowUp", 38), ("ArrowRight", 39), ("ArrowDown", 40),
            ("Insert", 45), ("Delete", 46),
        )
    },
    **{f"{name}{side}": (name, name, code) for name, code in (("Shift", 16), ("Control", 17), ("Alt", 18))
       for side in ("Left", "Right")},
    "Enter": ("Enter", "Enter", 13), "NumpadEnter": ("Enter", "Enter", 13), "Space": (" ", " ", 32),
    "Semicolon": (";", ":", 186), "Equal": ("=", "+", 187), "Comma": (",", "<", 188), "Minus": ("-", "_", 189),
    "Period": (".", ">", 190), "Slash": ("/", "?", 191), "Backquote": ("`", "~", 192), "BracketLeft": ("[", "{", 219),
    "Backslash": ("\\", "|", 220), "BracketRight": ("]", "}", 221), "Quote": ("'", '"', 222),
    "NumpadMultiply": ("*", "*", 106), "NumpadAdd": ("+", "+", 107), "NumpadSubtract": ("-", "-", 109),
    "NumpadDecimal": (".", ".", 110), "NumpadDivide": ("/", "/", 111),
}  # fmt: skip


def modifiers(held: Set[str]) -> int:
    """CDP's bits for the modifier keys among `held`."""
    return sum(bit for name, bit in _MODIFIERS.items() if held & {f"{name}Left", f"{name}Right"})


def key_event(code: str, down: bool, held: Set[str]) -> dict[str, Any]:
    """The event of the key `code` (a KeyboardEvent.code) going down or up; `held`: the keys that are down after it."""
    plain, shifted, number = _TABLE[code]
    bits = modifiers(held)
    key = shifted if bits & _MODIFIERS["Shift"] else plain
    event: dict[str, Any] = {
        "type": "keyUp",
        "code": code,
        "key": key,
        "windowsVirtualKeyCode": number,
        "modifiers": bits,
        "location": 3 if code.startswith("Numpad") else 1 if code.endswith("Left") and plain in _MODIFIERS
        else 2 if code.endswith("Right") and plain in _MODIFIERS else 0,
        "isKeypad": code.startswith("Numpad"),
    }  # fmt: skip
    if down:
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        event |= {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
    return event

"""What is typed by which keys: `US`, the characters of a US keyboard."""

from __future__ import annotations

from collections.abc import Mapping

Characters = Mapping[str, frozenset[str]]  # the keys that type a character, pressed together, by the character


def _us() -> dict[str, frozenset[str]]:
    rows = (
        ("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", [f"Key{c}" for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]),
        ("1234567890", "!@#$%^&*()", [f"Digit{d}" for d in "1234567890"]),
        ("-=[]\\;'`,./", '_+{}|:"~<>?', ["Minus", "Equal", "BracketLeft", "BracketRight", "Backslash", "Semicolon",
         "Quote", "Backquote", "Comma", "Period", "Slash"]),
    )  # fmt: skip
    table = {" ": frozenset({"Space"}), "\n": frozenset({"Enter"}), "\t": frozenset({"Tab"})}
    for plain, shifted, codes in rows:
        table |= {character: frozenset({code}) for character, code in zip(plain, codes, strict=True)}
        table |= {character: frozenset({code, "ShiftLeft"}) for character, code in zip(shifted, codes, strict=True)}
    return table


US: Characters = _us()

"""What the hands do: `Action`, and `KeyboardMouse`, the Gymnasium space of actions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from envs.characters import US, Characters

BUTTONS = ("left", "right", "middle")

# W3C KeyboardEvent.code names, the keys that a game can be played with.
KEYS: tuple[str, ...] = (
    *(f"Key{c}" for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    *(f"Digit{d}" for d in range(10)),
    *(f"F{n}" for n in range(1, 13)),
    *(f"Arrow{d}" for d in ("Up", "Down", "Left", "Right")),
    "Space", "Enter", "Escape", "Tab", "Backspace", "Delete", "Insert", "Home", "End", "PageUp", "PageDown",
    "ShiftLeft", "ShiftRight", "ControlLeft", "ControlRight", "AltLeft", "AltRight", "CapsLock",
    "Minus", "Equal", "BracketLeft", "BracketRight", "Backslash", "Semicolon", "Quote", "Backquote",
    "Comma", "Period", "Slash",
    *(f"Numpad{d}" for d in range(10)),
    "NumpadAdd", "NumpadSubtract", "NumpadMultiply", "NumpadDivide", "NumpadDecimal", "NumpadEnter",
)  # fmt: skip
_KEYS = frozenset(KEYS)
_BUTTONS = frozenset(BUTTONS)


@dataclass(frozen=True, slots=True)
class Action:
    """What the hands hold during one tick: a state, not events, so that a lost tick can't leave a key down.

    `keys`: W3C KeyboardEvent.code names. `buttons`: of "left", "right", "middle". `look`: (yaw, pitch) in degrees
    for this tick, right and up positive. `pointer`: position in the unit square, for menus, or None. `wheel`:
    notches, up positive.
    """

    keys: frozenset[str] = frozenset()
    buttons: frozenset[str] = frozenset()
    look: tuple[float, float] = (0.0, 0.0)
    pointer: tuple[float, float] | None = None
    wheel: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back; what is neutral is left out."""
        out: dict[str, Any] = {}
        if self.keys:
            out["keys"] = sorted(self.keys)
        if self.buttons:
            out["buttons"] = sorted(self.buttons)
        if self.look != (0.0, 0.0):
            out["look"] = list(self.look)
        if self.pointer is not None:
            out["pointer"] = list(self.pointer)
        if self.wheel:
            out["wheel"] = self.wheel
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Action:
        """The action that a JSON object describes. Raises ValueError that names the field that is wrong."""
        if not isinstance(data, Mapping):
            raise ValueError(f"action: expected an object, got {data!r}")
        unknown = set(data) - {"keys", "buttons", "look", "pointer", "wheel"}
        if unknown:
            raise ValueError(f"action: unknown field {sorted(unknown)[0]!r}")
        pointer = data.get("pointer")
        return cls(
            keys=_names(data.get("keys", ()), _KEYS, "keys"),
            buttons=_names(data.get("buttons", ()), _BUTTONS, "buttons"),
            look=_pair(data.get("look", (0.0, 0.0)), "look"),
            pointer=None if pointer is None else _unit_pair(pointer),
            wheel=_finite(data.get("wheel", 0.0), "wheel"),
        )


NEUTRAL = Action()


def _finite(value: Any, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating | np.integer):
        raise ValueError(f"action.{field}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond the floats
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"action.{field}: expected a finite number, got {value!r}")
    return number


def _pair(value: Any, field: str) -> tuple[float, float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise ValueError(f"action.{field}: expected two numbers, got {value!r}")
    return _finite(value[0], field), _finite(value[1], field)


def _unit_pair(value: Any) -> tuple[float, float]:
    x, y = _pair(value, "pointer")
    if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
        raise ValueError(f"action.pointer: expected a point of the unit square, got {value!r}")
    return x, y


def _names(value: Any, known: frozenset[str], field: str) -> frozenset[str]:
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise ValueError(f"action.{field}: expected a list of names, got {value!r}")
    names = list(value)
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"action.{field}: unknown name {name!r}")
    return frozenset(names)


class KeyboardMouse(gymnasium.Space[Action]):
    """The Gymnasium space of `Action`s that a world takes.

    `keys`, `buttons`: the names this world listens to. `max_look`: the largest turn in one tick, degrees.
    `pointer`: whether the world has a pointer. `wheel`: whether it listens to the wheel. `ignored`: those of the names
    that may be held and do nothing, and "look" where turning does nothing; `sample` draws none of them.

    `characters`: the keys that type a character together; those of a US keyboard where the world knows of no other. It
    may change from episode to episode, and is no part of what makes two spaces equal.
    """

    characters: Characters = US

    def __init__(
        self,
        keys: Iterable[str] = KEYS,
        buttons: Iterable[str] = BUTTONS,
        *,
        max_look: float = 180.0,
        pointer: bool = False,
        wheel: bool = False,
        ignored: Iterable[str] = (),
        seed: int | np.random.Generator | None = None,
    ) -> None:
        self.keys = _names(tuple(keys), _KEYS, "keys")
        self.buttons = _names(tuple(buttons), _BUTTONS, "buttons")
        self.max_look = _finite(max_look, "max_look")
        self.pointer = pointer
        self.wheel = wheel
        self.ignored = frozenset(ignored)
        super().__init__(shape=None, dtype=None, seed=seed)

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> Action:
        """A random action: up to three keys, each button with chance 0.15, a turn that is often none."""
        if mask is not None or probability is not None:
            raise ValueError("KeyboardMouse.sample takes neither a mask nor probabilities")
        rng = self.np_random
        names = sorted(self.keys - self.ignored)
        keys = rng.permutation(len(names))[: int(rng.integers(0, 4))]
        look = (0.0, 0.0)
        if "look" not in self.ignored and rng.random() < 0.7:
            yaw, pitch = rng.normal(0.0, (min(8.0, self.max_look / 2), min(2.0, self.max_look / 2)))
            look = (
                float(np.clip(yaw, -self.max_look, self.max_look)),
                float(np.clip(pitch, -self.max_look, self.max_look)),
            )
        return Action(
            keys=frozenset(names[i] for i in keys),
            buttons=frozenset(b for b in sorted(self.buttons - self.ignored) if rng.random() < 0.15),
            look=look,
            pointer=(float(rng.random()), float(rng.random())) if self.pointer else None,
            wheel=float(rng.integers(-1, 2)) if self.wheel else 0.0,
        )

    def contains(self, x: Any) -> bool:
        if not isinstance(x, Action) or not (x.keys <= self.keys and x.buttons <= self.buttons):
            return False
        if x.pointer is None and x.wheel == 0.0 and type(x.look) is tuple and len(x.look) == 2:
            yaw, pitch = x.look  # the common case, which is asked at every tick, without a call; NaN fails to compare
            if type(yaw) is float and type(pitch) is float:
                return -self.max_look <= yaw <= self.max_look and -self.max_look <= pitch <= self.max_look
        try:
            look, wheel = _pair(x.look, "look"), _finite(x.wheel, "wheel")
            pointer = None if x.pointer is None else _unit_pair(x.pointer)
        except ValueError:
            return False
        if max(abs(look[0]), abs(look[1])) > self.max_look:
            return False
        return (pointer is None or self.pointer) and (wheel == 0.0 or self.wheel)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back. Combinations that a subclass refuses are not in it."""
        return {
            "keys": sorted(self.keys),
            "buttons": sorted(self.buttons),
            "max_look": self.max_look,
            "pointer": self.pointer,
            "wheel": self.wheel,
            "ignored": sorted(self.ignored),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> KeyboardMouse:
        """The space that a JSON object describes. Raises ValueError that says what is wrong."""
        fields = {"keys", "buttons", "max_look", "pointer", "wheel", "ignored"}
        if not isinstance(data, Mapping) or set(data) != fields:
            raise ValueError(f"action space: expected an object with {', '.join(sorted(fields))}")
        if not (isinstance(data["pointer"], bool) and isinstance(data["wheel"], bool)):
            raise ValueError("action space: expected true or false for pointer and wheel")
        return KeyboardMouse(
            data["keys"],
            data["buttons"],
            max_look=data["max_look"],
            pointer=data["pointer"],
            wheel=data["wheel"],
            ignored=_names(data["ignored"], _KEYS | _BUTTONS | {"look"}, "ignored"),
        )

    def to_jsonable(self, sample_n: Iterable[Action]) -> list[Any]:
        return [action.to_json() for action in sample_n]

    def from_jsonable(self, sample_n: Sequence[Any]) -> list[Action]:
        return [Action.from_json(data) for data in sample_n]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyboardMouse) and self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[Any, ...]:
        return self.keys, self.buttons, self.max_look, self.pointer, self.wheel

    def __repr__(self) -> str:
        return f"KeyboardMouse({len(self.keys)} keys, {len(self.buttons)} buttons, max_look={self.max_look:g})"

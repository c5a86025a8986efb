"""`default_keys`: a key map for an environment that came without one, from what it tells of its actions."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.action import KEYS

# Words of action names and the key or button of each, as games have them; "turn" and "look" take the arrows instead.
_WORDS = {
    "forward": "KeyW", "up": "KeyW", "backward": "KeyS", "back": "KeyS", "down": "KeyS", "left": "KeyA",
    "right": "KeyD", "move": "", "fire": "Space", "jump": "Space", "attack": "left", "shoot": "left", "use": "KeyE",
    "pickup": "KeyE", "drop": "KeyQ", "toggle": "KeyF", "reload": "KeyR", "done": "Enter", "speed": "ShiftLeft",
    "sprint": "ShiftLeft", "crouch": "ControlLeft", "strafe": "AltLeft", "turn": "", "look": "",
}  # fmt: skip
_WORD = re.compile("|".join(sorted(_WORDS, key=len, reverse=True)))
_NOTHING = {"noop", "nop", "nothing", "none", "idle", "stay", "wait", "still"}
# Degrees of mouse movement for one turn to either side, by the package that the environment comes from.
_TURN_DEGREES = {"miniworld": 15.0, "minigrid": 90.0, "vizdoom": 3.5}
# ViZDoom's buttons that take a number: the mouse, in degrees, or two keys and their speed in map units a tick.
_DELTAS: dict[str, dict[str, Any]] = {
    "TURN_LEFT_RIGHT_DELTA": {"look": "yaw"},
    "LOOK_UP_DOWN_DELTA": {"look": "pitch"},
    "MOVE_FORWARD_BACKWARD_DELTA": {"more": "KeyW", "less": "KeyS", "high": 50.0, "low": -50.0},
    "MOVE_LEFT_RIGHT_DELTA": {"more": "KeyD", "less": "KeyA", "high": 40.0, "low": -40.0},
    "MOVE_UP_DOWN_DELTA": {"more": "PageUp", "less": "PageDown", "high": 20.0, "low": -20.0},
}
_PAIRS = (
    "KeyD KeyA", "KeyW KeyS", "ArrowRight ArrowLeft", "ArrowUp ArrowDown", "KeyE KeyQ", "KeyR KeyF", "KeyT KeyG",
    "KeyY KeyH", "KeyU KeyJ", "KeyI KeyK", "KeyO KeyL", "KeyX KeyZ", "KeyV KeyC", "KeyN KeyB", "Period Comma",
    "BracketRight BracketLeft", "Equal Minus", "Digit2 Digit1", "Digit4 Digit3", "Digit6 Digit5", "Digit8 Digit7",
    "Digit0 Digit9",
)  # fmt: skip
_SINGLES = (
    *(f"Digit{d}" for d in range(10)),
    *(k for k in KEYS if k.startswith("Key")),
    *(k for k in KEYS if re.fullmatch(r"Numpad\d|F\d+", k)),
)


def default_keys(env: gymnasium.Env[Any, Any]) -> Any:
    """The data of an `envs.gymnasium.keymap.KeyMap` for `env`.

    If `env` names its actions, the names decide (ALE, MiniWorld, MiniGrid, ViZDoom); else digits choose among actions
    and pairs of keys move the numbers of a Box.
    """
    names, axes = _names(env)
    degrees = _TURN_DEGREES.get(type(env.unwrapped).__module__.partition(".")[0], 15.0)
    taken = any("look" in _DELTAS.get(axis, ()) for axis in axes)  # the mouse turns a number already
    return _Maker(None if taken else degrees).keys(env.action_space, names, axes)


class _Maker:
    """Gives out keys, none of them twice. `degrees`: of mouse movement for one turn; None leaves the mouse alone."""

    def __init__(self, degrees: float | None) -> None:
        self._degrees = degrees
        self._used: set[tuple[str, ...]] = set()

    def keys(
        self,
        space: gymnasium.Space[Any],
        names: Sequence[str] = (),
        axes: Sequence[str] = (),
        *,
        alone: bool = True,
    ) -> Any:
        """`names`: of the actions or bits of `space`. `axes`: of the numbers of a Box. `alone`: see KeyMap's wait."""
        if isinstance(space, spaces.Discrete):
            return self._choice(int(space.start), int(space.n), names, alone)
        if isinstance(space, spaces.MultiBinary):
            n = int(np.prod(space.shape))
            return {"press": self._presses([(i, names[i] if names else "") for i in range(n)])}
        if isinstance(space, spaces.MultiDiscrete):
            sizes = zip(space.start.ravel(), space.nvec.ravel(), strict=True)
            return [self._choice(int(start), int(n), (), False) for start, n in sizes]
        if isinstance(space, spaces.Box):
            bounds = zip(space.low.ravel(), space.high.ravel(), strict=True)
            return [self._axis(float(lo), float(hi), axes[i] if axes else "") for i, (lo, hi) in enumerate(bounds)]
        if isinstance(space, spaces.Dict):  # the names, if there are any, belong to the only part that they fit
            return {key: self.keys(part, names, axes, alone=False) for key, part in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            return [self.keys(part, names, axes, alone=False) for part in space.spaces]
        return None  # KeyMap says what is wrong

    def _choice(self, start: int, n: int, names: Sequence[str], alone: bool) -> dict[str, Any]:
        """Digits for what has no name: digit k is action k, where the whole action is one choice."""
        named = [(start + i, names[i] if i < len(names) else "") for i in range(n)]
        idle = [do for do, name in named if name.lower() in _NOTHING]
        none: int | str = idle[0] if idle else "wait" if alone else start
        rows = [(do, name) for do, name in named if do != none and do not in idle]
        return {"none": none, "press": self._presses(rows)}

    def _presses(self, actions: Sequence[tuple[int, str]]) -> list[dict[str, Any]]:
        known = {do: _hold(name) for do, name in actions if name}
        rows: list[dict[str, Any]] = []
        late: list[tuple[int, str]] = []
        for do, name in actions:
            hold, look = known.get(do, (None, None))
            label = {"name": name} if name else {}
            if not hold or hold in self._used:
                late.append((do, name))  # the words of others go first
                continue
            self._used.add(hold)
            rows.append({**label, "hold": _short(hold), "do": do})
            if look and self._degrees is not None:
                rows.append({**label, "look": look, "degrees": self._degrees, "do": do})
        for do, name in late:
            free = self._free(f"Digit{do}")
            if free:
                rows.append({**({"name": name} if name else {}), "hold": free, "do": do})
        return sorted(rows, key=lambda row: int(row["do"]))

    def _axis(self, low: float, high: float, name: str) -> dict[str, Any]:
        label = {"name": name} if name else {}
        if name in _DELTAS:
            return {**label, **_DELTAS[name]}
        if low >= 0.0 or high <= 0.0:  # one direction needs one key
            pairs: Iterable[str] = [word for pair in _PAIRS for word in pair.split()]
            side = "more" if low >= 0.0 else "less"
            return {**label, **dict(zip([side], self._take(pairs), strict=False))}
        return {**label, **dict(zip(("more", "less"), self._take(_PAIRS), strict=False))}

    def _take(self, candidates: Iterable[str]) -> list[str]:
        """The first candidate whose keys are all free, as a list of them; an empty one where none is left."""
        for candidate in candidates:
            keys = candidate.split()
            if not any((key,) in self._used for key in keys):
                self._used.update((key,) for key in keys)
                return keys
        return []

    def _free(self, first: str) -> str | None:
        return next(iter(self._take((first, *_SINGLES) if first in _SINGLES else _SINGLES)), None)


def _short(hold: tuple[str, ...]) -> str | list[str]:
    return hold[0] if len(hold) == 1 else list(hold)


def _hold(name: str) -> tuple[tuple[str, ...] | None, str | None]:
    """The keys that an action's name asks for, and where the mouse goes for it; (None, None) for other words."""
    keys: list[str] = []
    look = None
    for single in name.split("+"):
        plain = re.sub(r"[^a-z]", "", single.lower())
        words = _WORD.findall(plain)
        if "".join(words) != plain or not words:
            return None, None
        turns = bool({"turn", "look"} & set(words))
        for word in words:
            if turns and word in ("left", "right", "up", "down"):
                keys.append(f"Arrow{word.title()}")
                look = word
            elif _WORDS[word]:
                keys.append(_WORDS[word])
    return tuple(dict.fromkeys(keys)) or None, look if len(keys) == 1 else None


def _names(env: gymnasium.Env[Any, Any]) -> tuple[list[str], list[str]]:
    """The names of an environment's actions (or bits), and of the numbers of its Box; empty if it has none."""
    bare: Any = env.unwrapped
    if callable(getattr(bare, "get_action_meanings", None)):  # ALE
        return [str(name) for name in bare.get_action_meanings()], []
    actions = getattr(bare, "actions", None)
    if isinstance(actions, enum.EnumMeta):  # MiniWorld, MiniGrid
        by_value = {int(getattr(member, "value", -1)): member.name for member in actions}  # type: ignore[var-annotated]
        return [by_value.get(value, "") for value in range(max(by_value, default=-1) + 1)], []
    if callable(getattr(getattr(bare, "game", None), "get_available_buttons", None)):  # ViZDoom
        return _doom_names(bare)
    model: Any = getattr(bare, "model", None)
    if hasattr(model, "actuator") and hasattr(model, "nu"):  # MuJoCo
        return [], [model.actuator(i).name for i in range(model.nu)]
    return [], []


def _doom_names(bare: Any) -> tuple[list[str], list[str]]:
    buttons = [button.name for button in bare.game.get_available_buttons()]
    deltas, binary = buttons[: bare.num_delta_buttons], buttons[bare.num_delta_buttons :]
    combinations = getattr(bare, "button_map", None)
    if combinations is None:
        return binary, deltas
    return ["+".join(_on(binary, bits)) or "noop" for bits in combinations], deltas


def _on(names: Sequence[str], bits: Sequence[int]) -> Iterator[str]:
    return (name for name, bit in zip(names, bits, strict=True) if bit)

"""Keyboard and mouse as the action spaces that libraries of reinforcement learning know: `Discrete` and `Box`.

Each view declares what its numbers mean: `DiscreteActions.table` has an Action for each number, `BoxActions.columns` a
name for each number of the vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.action import BUTTONS, KEYS, NEUTRAL, Action, KeyboardMouse

TURN = 4.0  # degrees in a tick


def action_table(space: KeyboardMouse, turn: float = TURN) -> tuple[Action, ...]:
    """Actions for a world of this space: nothing; each key and each button alone; each turn of the view by `turn`
    degrees, left, right, up and down; and where KeyW is there, walking forward while turning left or right."""
    turn = min(turn, space.max_look)
    looks = [(-turn, 0.0), (turn, 0.0), (0.0, turn), (0.0, -turn)] if turn and "look" not in space.ignored else []
    keys, buttons = _heard(space)
    found = [NEUTRAL, *(Action(frozenset({key})) for key in keys)]
    found += [Action(buttons=frozenset({button})) for button in buttons]
    found += [Action(look=look) for look in looks]
    if "KeyW" in keys:
        found += [Action(frozenset({"KeyW"}), look=look) for look in looks[:2]]
    return tuple(found)


def _heard(space: KeyboardMouse) -> tuple[list[str], list[str]]:
    """The keys and buttons that do something, in the order of KEYS and BUTTONS."""
    keys = [key for key in KEYS if key in space.keys - space.ignored]
    return keys, [button for button in BUTTONS if button in space.buttons - space.ignored]


def _space_of(env: gymnasium.Env[Any, Any]) -> KeyboardMouse:
    if not isinstance(env.action_space, KeyboardMouse):
        raise ValueError(f"expected an environment with the actions of a KeyboardMouse, got {env.action_space}")
    return env.action_space


class _Translated(gymnasium.Wrapper[Any, Any, Any, Action]):
    """An environment whose actions are translated into those of keyboard and mouse by `translate`."""

    def translate(self, action: Any) -> Action:
        """The action that is meant. Raises ValueError for what is not in the action space."""
        raise NotImplementedError

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        return self.env.step(self.translate(action))


class DiscreteActions(_Translated):
    """An environment whose action is a number: that of an Action in `table`, by default `action_table`."""

    def __init__(self, env: gymnasium.Env[Any, Action], table: Sequence[Action] | None = None) -> None:
        super().__init__(env)
        space = _space_of(env)
        self.table = tuple(table if table is not None else action_table(space))
        wrong = [action for action in self.table if action not in space]
        if wrong or not self.table:
            raise ValueError(f"expected actions of {space}, got {wrong[:1] or 'none'}")
        self.action_space = gymnasium.spaces.Discrete(len(self.table))

    def translate(self, action: Any) -> Action:
        if action not in self.action_space:
            raise ValueError(f"expected a number below {len(self.table)}, got {action!r}")
        return self.table[int(action)]


class BoxActions(_Translated):
    """An environment whose action is a float32 vector within -1 and 1.

    `columns` names its numbers: a key or button is down where its number is above 0; `look.yaw` and `look.pitch` are
    shares of `turn` degrees; `pointer.x` and `pointer.y` go from edge to edge; `wheel` is a notch up or down where its
    number is beyond a third.
    """

    def __init__(self, env: gymnasium.Env[Any, Action], turn: float = 3 * TURN) -> None:
        super().__init__(env)
        space = _space_of(env)
        self._keys, self._buttons = _heard(space)
        self._turn = 0.0 if "look" in space.ignored else min(turn, space.max_look)
        self.columns: tuple[str, ...] = (
            *(f"key.{key}" for key in self._keys),
            *(f"button.{button}" for button in self._buttons),
            *(("look.yaw", "look.pitch") if self._turn else ()),
            *(("pointer.x", "pointer.y") if space.pointer else ()),
            *(("wheel",) if space.wheel else ()),
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (len(self.columns),), np.float32)

    def translate(self, action: Any) -> Action:
        vector: npt.NDArray[np.float64] = np.asarray(action, np.float64)
        if vector.shape != (len(self.columns),) or not np.isfinite(vector).all():
            raise ValueError(f"expected {len(self.columns)} finite numbers, got {action!r}")
        said = dict(zip(self.columns, np.clip(vector, -1.0, 1.0).tolist(), strict=True))
        x, y, wheel = said.get("pointer.x"), said.get("pointer.y"), said.get("wheel", 0.0)
        return Action(
            frozenset(key for key in self._keys if said[f"key.{key}"] > 0.0),
            frozenset(button for button in self._buttons if said[f"button.{button}"] > 0.0),
            (said.get("look.yaw", 0.0) * self._turn, said.get("look.pitch", 0.0) * self._turn),
            None if x is None or y is None else ((x + 1.0) / 2.0, (y + 1.0) / 2.0),
            float(np.sign(wheel)) if abs(wheel) > 1.0 / 3.0 else 0.0,
        )

"""Actions as vectors of numbers, one for all worlds, as LeRobot and other trainers of policies want them.

A column for each key of `envs.action.KEYS` and each mouse button, 1 while it is down; the look of the tick in degrees;
the pointer in the unit square, and whether there is one; the wheel in notches. `COLUMNS` names them: data of any game
has the same columns, and new ones are only ever added at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from envs.action import BUTTONS, KEYS, Action

_REST = ("look.yaw", "look.pitch", "pointer.x", "pointer.y", "pointer.there", "wheel")
COLUMNS: tuple[str, ...] = (*(f"key.{key}" for key in KEYS), *(f"button.{button}" for button in BUTTONS), *_REST)
_AT = {name: column for column, name in enumerate(COLUMNS)}
_FIRST = _AT["look.yaw"]


def to_vectors(actions: Sequence[Action]) -> npt.NDArray[np.float32]:
    """Actions as float32 (N, len(COLUMNS))."""
    vectors = np.zeros((len(actions), len(COLUMNS)), np.float32)
    for row, action in zip(vectors, actions, strict=True):
        row[[_AT[f"key.{key}"] for key in action.keys]] = 1.0
        row[[_AT[f"button.{button}"] for button in action.buttons]] = 1.0
        there = action.pointer is not None
        row[_FIRST:] = (*action.look, *(action.pointer or (0.0, 0.0)), there, action.wheel)
    return vectors


def from_vectors(vectors: npt.ArrayLike) -> list[Action]:
    """The actions of vectors (N, len(COLUMNS)): what is above one half is down. Looks are as precise as the vectors.
    Raises ValueError for another shape, or numbers that are not finite."""
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(COLUMNS) or not np.isfinite(rows).all():
        raise ValueError(f"action vectors: expected finite numbers (N, {len(COLUMNS)}), got {rows.shape}")
    actions = []
    for row in rows:
        down = {COLUMNS[column].partition(".")[2] for column in np.flatnonzero(row[:_FIRST] > 0.5)}
        yaw, pitch, x, y, there, wheel = (float(value) for value in row[_FIRST:])
        pointer = (min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)) if there > 0.5 else None
        actions.append(Action(frozenset(down - {*BUTTONS}), frozenset(down & {*BUTTONS}), (yaw, pitch), pointer, wheel))
    return actions

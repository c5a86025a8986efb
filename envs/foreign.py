"""`boundary`: what foreign code raises becomes one error that names the world, the call and the place."""

from __future__ import annotations

import contextlib
import math
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium

from envs.errors import UserError

API = (
    "(observation, reward, terminated, truncated, info) from step() and (observation, info) from reset(), as Gymnasium "
    "has them since 0.26"
)
TICK_HZ = (0.1, 1000.0)  # of a world that can be played


class ForeignError(UserError):
    """Foreign code raised, wanted to end the program, or gave what it must not give. `__cause__` is what it raised."""


@contextlib.contextmanager
def boundary(name: str, call: str) -> Iterator[None]:
    """Around a `call` (such as "step()") of the foreign world `name`. Raises ForeignError for what comes out of it;
    errors that a person can fix, and Ctrl+C, pass."""
    try:
        yield
    except (UserError, gymnasium.error.ResetNeeded):
        raise
    except SystemExit as error:
        raise ForeignError(
            f"{name}: {call} wanted to end the program: sys.exit({error.code!r}){_place(error)}; expected a result"
        ) from error
    except Exception as error:
        said = " ".join(str(error).split())
        hint = f"; expected {API}" if "values to unpack" in said else ""
        raise ForeignError(f"{name}: {call} raised {type(error).__name__}: {said}{_place(error)}{hint}") from error


def _place(error: BaseException) -> str:
    """Where it was raised, such as " (odd.py, line 93)"."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def checked_reset(name: str, result: Any) -> tuple[Any, dict[str, Any]]:
    """What `reset()` gave. Raises ForeignError if it is not (observation, info)."""
    if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
        raise ForeignError(f"{name}: reset() gave {_shape(result)}; expected {API}")
    return result


def checked_step(name: str, result: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
    """What `step()` gave, with Python numbers for numpy's. Raises ForeignError if it breaks Gymnasium's contract."""
    if not isinstance(result, tuple) or len(result) != 5:
        raise ForeignError(f"{name}: step() gave {_shape(result)}; expected {API}")
    observation, reward, terminated, truncated, info = result
    try:
        number = math.nan if isinstance(reward, str | bytes) else float(reward)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ForeignError(f"{name}: step() gave the reward {reward!r:.80}; expected a finite number")
    if not isinstance(info, dict):
        raise ForeignError(f"{name}: step() gave info of type {type(info).__name__}; expected a dict")
    return observation, number, bool(terminated), bool(truncated), info


def _shape(result: Any) -> str:
    if isinstance(result, tuple):
        return f"{len(result)} values"
    return f"an array {result.shape}" if hasattr(result, "shape") else type(result).__name__


def checked_tick_hz(name: str, value: Any, what: str) -> float:
    """`value` as ticks in a second. `what`: where it stands, such as "metadata render_fps". Raises UserError."""
    try:
        hz = math.nan if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError):
        hz = math.nan
    low, high = TICK_HZ
    if not low <= hz <= high:
        raise UserError(
            f"{name}: {what} is {value!r:.80}; expected {low:g} to {high:g} ticks in a second; give the right one as "
            "tick_hz in a world file (docs/gymnasium.md)"
        )
    return hz

"""Where the picture is: in an environment's observation, in which layout, or only in what it renders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Frame = npt.NDArray[np.uint8]
Picture = Callable[[Any], Frame]

_SMALLEST = 24  # pixels a side: what is smaller is a map of symbols (MiniGrid's view is 7 x 7), nothing to look at
_MOST_CHANNELS = 16  # stacked frames come as channels, a few of them
_NAMES = ("pixels", "rgb", "screen", "image", "frame")  # of pictures in a Dict, the best first


def find_picture(space: gymnasium.Space[Any], key: str | None = None) -> Picture | None:
    """What makes an RGB frame, uint8 (H, W, 3), of an observation of `space`; None where it holds no picture.

    Takes uint8 boxes: (H, W, 3), (3, H, W), (H, W) and stacks of these, whose newest frame is the last. In a Dict the
    entry `key`, else the one that is called most like a picture.
    """
    if isinstance(space, spaces.Dict):
        found = {name: made for name, part in space.spaces.items() if (made := find_picture(part)) is not None}
        names = [key] if key else sorted(found, key=lambda name: _NAMES.index(name) if name in _NAMES else len(_NAMES))
        if not names or names[0] not in found:
            return None
        name, inner = names[0], found[names[0]]
        return lambda observation: inner(observation[name])
    if key or not isinstance(space, spaces.Box) or space.dtype != np.uint8:
        return None
    return _layout(space.shape)


def _layout(shape: tuple[int, ...]) -> Picture | None:
    if len(shape) == 4:
        inner = _layout(shape[1:])
        return None if inner is None else lambda x: inner(x[-1])
    if len(shape) == 2 and min(shape) >= _SMALLEST:
        return lambda x: _rgb(np.asarray(x)[..., None])
    if len(shape) != 3:
        return None
    if min(shape[:2]) >= _SMALLEST and shape[2] <= _MOST_CHANNELS:
        return lambda x: _rgb(np.asarray(x))
    if min(shape[1:]) >= _SMALLEST and shape[0] <= _MOST_CHANNELS:
        return lambda x: _rgb(np.moveaxis(np.asarray(x), 0, -1))
    return None


def _rgb(x: Frame) -> Frame:
    """A fresh (H, W, 3) array of the last three channels, or of the last one where they don't come in threes."""
    newest = x[..., -3:] if x.shape[-1] % 3 == 0 else x[..., -1:].repeat(3, axis=-1)
    return np.array(newest, order="C")


def from_render(rendered: Any) -> Frame:
    """The RGB frame that `render()` gave. Raises ValueError where it is none."""
    if not isinstance(rendered, np.ndarray) or rendered.ndim != 3 or rendered.shape[2] not in (3, 4):
        got = f"an array {rendered.shape}" if isinstance(rendered, np.ndarray) else type(rendered).__name__
        raise ValueError(f"render() gave {got}; expected an RGB array (H, W, 3)")
    return np.array(rendered[..., :3], np.uint8, order="C")

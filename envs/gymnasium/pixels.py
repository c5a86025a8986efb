"""Where the picture is: in an environment's observation, in which layout, or only in what it renders."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

Frame = npt.NDArray[np.uint8]
Picture = Callable[[Any], Frame]
Channels = Literal["auto", "rgb", "rgba", "bgr", "bgra", "grey"]

_SMALLEST = 24  # pixels a side: what is smaller is a map of symbols (MiniGrid's view is 7 x 7), nothing to look at
_MOST_CHANNELS = 16  # stacked frames come as channels, a few of them
_NAMES = ("pixels", "rgb", "screen", "image", "frame")  # of pictures in a Dict, the best first


def find_picture(space: gymnasium.Space[Any], key: str | None = None, how: Reading | None = None) -> Picture | None:
    """What makes an RGB frame, uint8 (H, W, 3), of an observation of `space`; None if it holds no picture.

    Takes uint8 boxes: (H, W, 3), (3, H, W), (H, W) and stacks of these, whose newest frame is the last. In a Dict the
    entry `key`, else the entry whose name is most like a picture's. `how`: what a person says of it.
    """
    if isinstance(space, spaces.Dict):
        found = {name: made for name, part in space.spaces.items() if (made := find_picture(part, None, how))}
        names = [key] if key else sorted(found, key=lambda name: _NAMES.index(name) if name in _NAMES else len(_NAMES))
        if not names or names[0] not in found:
            return None
        name, inner = names[0], found[names[0]]
        return lambda observation: inner(observation[name])
    if key or not isinstance(space, spaces.Box):
        return None
    how = how or Reading()
    if space.dtype != np.uint8 and not how.named:
        return None
    layout = _layout(space.shape)
    if layout is None:
        return None
    shape, arrange = space.shape, layout
    # Four planes one after the other are grey frames: no environment gives the alpha first.
    planes = len(shape) > 2 and shape[-3] == 4 and how.channels == "auto" and _channels_first(shape)
    values, colours = Values(how.scale), Colours("grey" if planes else how.channels)

    def picture(observation: Any) -> Frame:
        array = np.asarray(observation)
        if array.shape != shape:
            raise ValueError(f"the observation is {array.dtype} {array.shape}; its space says {space.dtype} {shape}")
        return colours.rgb(arrange(values.bytes(array)))

    return picture


@dataclass(frozen=True)
class Reading:
    """What a person says of a picture. `channels`: what its channels are; `scale`: by what its values are multiplied
    to be 0 to 255."""

    channels: Channels = "auto"
    scale: float | None = None

    @property
    def named(self) -> bool:
        return self.channels != "auto" or self.scale is not None


class Values:
    """Makes bytes of a picture's values. Floats up to 1 are taken as 0 to 1 until one is seen that is not; True is 1.

    `bytes` raises ValueError, with dtype and range, for what is no picture."""

    def __init__(self, scale: float | None = None) -> None:
        self._scale = scale

    def bytes(self, array: npt.NDArray[Any]) -> Frame:
        if array.dtype == np.uint8 and self._scale is None:
            return array
        if array.dtype.kind not in "bfiu":
            raise ValueError(f"a picture of dtype {array.dtype}; expected numbers")
        if not array.size:
            raise ValueError(f"a picture without pixels, {array.shape}")
        low, high = float(array.min()), float(array.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"a picture {array.dtype} {array.shape} with values that are no finite numbers")
        if self._scale is not None:
            scale = self._scale
        elif array.dtype.kind == "b":
            scale = 255.0
        elif array.dtype.kind == "f":
            if high > 1.0:
                self._scale = 1.0  # from now on: its values are 0 to 255
            scale = 255.0 if high <= 1.0 else 1.0
        else:
            scale = 1.0
        if low * scale < 0.0 or high * scale > 255.5:
            raise ValueError(
                f"a picture {array.dtype} {array.shape} with values from {low:g} to {high:g}; expected 0 to 255, or 0 "
                "to 1 as floats; say scale in a world file"
            )
        return np.asarray(np.rint(array.astype(np.float64) * scale).clip(0, 255), np.uint8)


class Colours:
    """Makes RGB of a picture (H, W, C). `channels` says what they are; "auto" recognises them by their number, and
    tells RGBA from four grey frames by the first picture. `rgb` raises ValueError where it can't."""

    def __init__(self, channels: Channels = "auto") -> None:
        self._channels: Channels = channels

    def rgb(self, x: Frame) -> Frame:
        """A fresh array (H, W, 3), uint8."""
        count = x.shape[-1]
        if self._channels == "auto" and count == 4:
            self._channels = _four(x)
        if self._channels in ("rgba", "bgra"):
            newest = x[..., -4:-1]
        elif self._channels == "grey" or (self._channels == "auto" and count % 3):
            newest = x[..., -1:].repeat(3, axis=-1)
        else:
            newest = x[..., -3:]
        if newest.shape[-1] != 3:
            raise ValueError(f"a picture {x.shape}; its channels can't be {self._channels}")
        if self._channels in ("bgr", "bgra"):
            newest = newest[..., ::-1]
        return np.array(newest, order="C")


def _four(x: Frame) -> Channels:
    """What four channels are: colours and an alpha that hides nothing, or grey frames, which are all the same, or
    empty but for the last, when an episode begins."""
    last = x[..., 3]
    if (last == 255).all():
        return "rgba"
    if all(np.array_equal(x[..., n], last) for n in range(3)) or (not x[..., :3].any() and last.any()):
        return "grey"
    raise ValueError(
        f"a picture {x.dtype} {x.shape}, which may be RGBA or four grey frames; say channels: rgba or channels: grey "
        "in a world file"
    )


def _layout(shape: tuple[int, ...]) -> Callable[[Frame], Frame] | None:
    """What brings a picture of this shape into the order (H, W, C); None if it is no picture."""
    if len(shape) == 4:
        inner = _layout(shape[1:])
        return None if inner is None else lambda x: inner(x[-1])
    if len(shape) == 2 and min(shape) >= _SMALLEST:
        return lambda x: x[..., None]
    if len(shape) != 3:
        return None
    if min(shape[:2]) >= _SMALLEST and shape[2] <= _MOST_CHANNELS:
        return lambda x: x
    if min(shape[1:]) >= _SMALLEST and shape[0] <= _MOST_CHANNELS:
        return lambda x: np.moveaxis(x, 0, -1)
    return None


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Whether a picture of this shape has its channels first."""
    return not (min(shape[-3:-1]) >= _SMALLEST and shape[-1] <= _MOST_CHANNELS)


class Rendered:
    """Makes RGB frames of what `render()` gives: arrays in any of the layouts of `find_picture`, of uint8, other whole
    numbers, floats or booleans, PIL's pictures, torch's tensors, and lists, whose last entry is the newest."""

    def __init__(self, how: Reading | None = None) -> None:
        how = how or Reading()
        self._values, self._colours = Values(how.scale), Colours(how.channels)
        self._named = how.channels != "auto"

    def frame(self, rendered: Any) -> Frame:
        """A fresh frame, uint8 (H, W, 3). Raises ValueError if it is no picture."""
        if isinstance(rendered, list | tuple) and rendered:
            rendered = rendered[-1]
        if hasattr(rendered, "detach"):  # a tensor, maybe on another device
            rendered = rendered.detach().cpu().numpy()
        if rendered is None or isinstance(rendered, str | list | tuple) or not hasattr(rendered, "__array_interface__"):
            raise ValueError(f"render() gave {type(rendered).__name__}; expected an RGB array (H, W, 3)")
        array = np.asarray(rendered)
        if array.ndim == 3 and array.shape[2] in (1, 3, 4):
            arrange: Callable[[Frame], Frame] | None = lambda x: x  # noqa: E731
        else:
            arrange = _layout(array.shape)
        if arrange is None:
            raise ValueError(f"render() gave an array {array.dtype} {array.shape}; expected an RGB array (H, W, 3)")
        picture = arrange(self._values.bytes(array))
        if picture.shape[2] == 4 and not self._named:  # what is drawn is never a stack of grey frames
            picture = picture[..., :3]
        return self._colours.rgb(picture)

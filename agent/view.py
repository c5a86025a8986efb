"""`View`: what a policy wants to see, and `shown`, which makes such a picture of the world's.

A world draws one picture a tick. Every model that looks at it has a view of its own: how large, of which shape, how
many pictures, how far apart in time, and how much a request may weigh.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from envs.errors import UserError
from envs.resolution import parse_size

Picture = npt.NDArray[np.uint8]
Size = tuple[int, int]  # height and width in pixels
Aspect = Literal["letterbox", "crop", "stretch"]

_PATCH = 14  # pixels: the finest patches that vision models cut a picture into
_IMAGE_TOKENS = 256  # of marks and overviews around them
_LEAST = 16  # pixels of a side
# The mean difference, of 255, above which two pictures show different views. In Doom, H.264 alone makes 4 to 8, and a
# view one decision later differs by 17.
OTHER_VIEW = 12.0
# The same, at a quarter of the size. In 12 levels of Doom at 640x480 and 160x120, the same tick differs by 4.5 at most,
# and one four ticks later by 11 on average.
_OTHER_COARSE = 8.0
FOR_PEOPLE = "640x480"  # the resolution that people are shown, where a world draws at several
KEYS = "size, exactly, aspect, frames, apart, earlier, tokens, bytes, encoding"


@dataclass(frozen=True)
class View:
    """What a model wants to see.

    `size`: (height, width) in pixels; None for the world's own. `exactly`: every picture has this size; otherwise it is
    the most, and no picture is enlarged. `aspect`: what becomes of a world of another shape: "letterbox" shows all of
    it, with black bars where the size is exact; "crop" shows its middle; "stretch" distorts it, and is for exact sizes
    alone. `frames`: how many pictures, the newest one included. `apart`: milliseconds of play between two of them; None
    for those of the last decisions. `earlier`: the most that all but the newest may have; None for the same as the
    newest. `tokens`: the most of the pictures of a decision together, as `picture_tokens` counts them: the oldest are
    left out first, then the newest one shrinks. `encoding`: how services get them, png or jpeg:QUALITY. `bytes`: the
    most of the pictures of a decision as they go over the wire, in base64; they give way as for `tokens`.

    Raises ValueError for what can't be.
    """

    size: Size | None = (120, 160)
    exactly: bool = True
    aspect: Aspect = "letterbox"
    frames: int = 1
    apart: float | None = None
    earlier: Size | None = None
    tokens: int | None = None
    encoding: str = "png"
    bytes: int | None = None

    def __post_init__(self) -> None:
        if self.aspect not in get_args(Aspect):
            raise ValueError(f"aspect: expected {', '.join(get_args(Aspect))}, got {self.aspect!r}")
        if self.exactly and self.size is None:
            raise ValueError("exactly needs a size; the world's own is size=world")
        if self.aspect == "stretch" and not self.exactly:
            raise ValueError("aspect: a picture is stretched to an exact size alone; say exactly=WIDTHxHEIGHT")
        if self.aspect == "crop" and self.size is None:
            raise ValueError("aspect: a picture is cropped to the shape of a size; name one")
        for name, value in (("frames", self.frames), ("tokens", self.tokens), ("bytes", self.bytes)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: expected at least 1, got {value}")
        if self.apart is not None and not 0.0 < self.apart < math.inf:
            raise ValueError(f"apart: expected milliseconds above 0, got {self.apart}")
        if self.exactly and self.size and self.tokens is not None and picture_tokens(*self.size) > self.tokens:
            raise ValueError(f"tokens: {self.tokens} are fewer than the {picture_tokens(*self.size)} of one picture")
        quality_of(self.encoding)

    @classmethod
    def stretched(cls, size: Size, frames: int = 1) -> View:
        """What models see that were trained on pictures of one size: any world in that shape, at the last decisions."""
        return cls(size, aspect="stretch", frames=frames)

    def sizes(self, world: Size) -> tuple[Size, ...]:
        """The sizes of the pictures of a decision, oldest first, where the world draws pictures of the size `world`."""
        newest = self._newest(world)
        earlier = newest if self.earlier is None else within(newest, self.earlier)
        sizes = [*[earlier] * (self.frames - 1), newest]
        while self.tokens is not None and sum(picture_tokens(*size) for size in sizes) > self.tokens:
            if len(sizes) > 1:
                del sizes[0]
            elif max(sizes[0]) <= _LEAST:
                break
            else:
                sizes = [smaller(sizes[0])]
        return tuple(sizes)

    def _newest(self, world: Size) -> Size:
        if self.size is None:
            return world
        if self.exactly:
            return self.size
        if self.aspect == "crop":
            _, _, width, height = _covered(world, self.size, max)
            world = max(1, round(height * world[0])), max(1, round(width * world[1]))
        return within(world, self.size)

    def picture(self, frame: Picture, size: Size) -> Picture:
        """`frame` as this view shows it, in one of its `sizes`."""
        return shown(frame, size, self.aspect if self.exactly or self.aspect == "crop" else "stretch")

    def newest(self, frame: Picture) -> Picture:
        """`frame`, uint8 (H, W, 3), as the newest picture of this view."""
        return self.picture(frame, self.sizes((frame.shape[0], frame.shape[1]))[-1])

    def region(self, world: Size) -> tuple[float, float, float, float]:
        """(x, y, width, height) of the part of the world's picture that this view spans, in units of that picture: less
        than all of it where it is cropped, more where there are bars."""
        if self.size is None or self.aspect == "stretch" or not (self.exactly or self.aspect == "crop"):
            return 0.0, 0.0, 1.0, 1.0
        return _covered(world, self.size, max if self.aspect == "crop" else min)

    def distorts(self, world: Size) -> bool:
        """Whether the world's picture is stretched to another shape."""
        return self.aspect == "stretch" and self.size is not None and not _alike(world, self.size)

    def told(self, world: Size) -> str:
        """What is seen of such a world, in a line for people."""
        sizes = self.sizes(world)
        newest, earlier = sizes[-1], sizes[:-1]
        parts = [f"{written(newest)} of the world's {written(world)}"]
        if self.distorts(world):
            parts[0] += ", stretched"
        elif newest != world and self.exactly and not _alike(world, newest):
            parts[0] += ", cropped" if self.aspect == "crop" else ", with bars"
        if earlier:
            when = "of the last decisions" if self.apart is None else f"{self.apart:g} ms apart"
            parts.append(f"and {len(earlier)} earlier of {written(earlier[-1])}, {when}")
        return " ".join(parts)


def picture_tokens(height: int, width: int) -> int:
    """A generous guess of what a picture takes; every model counts in its own way."""
    return math.ceil(height / _PATCH) * math.ceil(width / _PATCH) + _IMAGE_TOKENS


def quality_of(encoding: str) -> int | None:
    """The quality of jpeg:QUALITY, 1 to 95; None for png. Raises ValueError for any other encoding."""
    name, _, quality = encoding.partition(":")
    if encoding == "png":
        return None
    if name == "jpeg" and quality.isdecimal() and 1 <= int(quality) <= 95:
        return int(quality)
    raise ValueError(f"encoding: expected png or jpeg:QUALITY with a quality from 1 to 95, got {encoding!r}")


def written(size: Size) -> str:
    """A size as people write it: WIDTHxHEIGHT."""
    return f"{size[1]}x{size[0]}"


def within(size: Size, most: Size) -> Size:
    """`size`, shrunk to at most `most` in its own shape; itself where it fits."""
    scale = min(1.0, most[0] / size[0], most[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def smaller(size: Size) -> Size:
    """The next smaller size, three quarters of the sides."""
    return max(1, round(0.75 * size[0])), max(1, round(0.75 * size[1]))


def is_small(size: Sequence[int]) -> bool:
    """Whether a picture of (height, width) `size` has the shape of what people are shown, and is smaller."""
    width, height = parse_size(FOR_PEOPLE)
    return size[1] * height == size[0] * width and size[1] < width


def same_view(one: Picture, other: Picture) -> bool:
    """Whether two pictures of one world, drawn at sizes of the same shape, show the same view. They are compared at a
    quarter of the second one's size: fine patterns are other pixels at every size."""
    size = max(1, other.shape[0] // 4), max(1, other.shape[1] // 4)
    return float(np.abs(fit(one, size).astype(np.int16) - fit(other, size)).mean()) < _OTHER_COARSE


def fit(frame: Picture, size: Size) -> Picture:
    """`frame`, uint8 (H, W, 3), averaged over areas to (height, width) `size`; itself if it has that size."""
    if frame.shape[:2] == size:
        return frame
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.BOX))


def shown(frame: Picture, size: Size, aspect: Aspect) -> Picture:
    """`frame`, uint8 (H, W, 3), as a picture of exactly the (height, width) `size`; itself if it has that size."""
    height, width = frame.shape[:2]
    if aspect == "stretch" or (height, width) == size:
        return fit(frame, size)
    x, y, across, down = _covered((height, width), size, max if aspect == "crop" else min)
    if aspect == "crop":
        left, top = round(x * width), round(y * height)
        part = frame[top : top + max(1, round(down * height)), left : left + max(1, round(across * width))]
        return fit(np.ascontiguousarray(part), size)
    inner = max(1, round(size[0] / down)), max(1, round(size[1] / across))
    result = np.zeros((*size, 3), np.uint8)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    result[top : top + inner[0], left : left + inner[1]] = fit(frame, inner)
    return result


@lru_cache(maxsize=64)
def _covered(world: Size, size: Size, choose: Callable[..., float]) -> tuple[float, float, float, float]:
    """The part of a world's picture that a picture of another shape spans, see View.region. `choose`: max of the two
    scales to fill the picture, min to show all of the world."""
    scale = choose(size[0] / world[0], size[1] / world[1])
    down, across = size[0] / (scale * world[0]), size[1] / (scale * world[1])
    return (1.0 - across) / 2, (1.0 - down) / 2, across, down


def _alike(one: Size, other: Size) -> bool:
    return math.isclose(one[0] * other[1], one[1] * other[0], rel_tol=0.01)


def read_view(text: str, base: View, where: str = "--view") -> View:
    """`base` with what a `text` such as "size=640x480,frames=2,apart=1000,encoding=png" changes of it.

    `size`: the most, or "world"; `exactly`: an exact size; `apart`: milliseconds, or "decisions"; `earlier`, `tokens`
    and `bytes`: what a View has, or "any". Raises UserError, which begins with `where`.
    """
    changes: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in _READ:
            raise UserError(f"{where}: expected NAME=VALUE with a name of {KEYS}, got {part!r}")
        try:
            changes |= _READ[name](value)
        except ValueError as error:
            raise UserError(f"{where}: {name}: {str(error).removeprefix('resolution: ')}") from error
    if changes.get("exactly") is False and base.aspect == "stretch":
        changes.setdefault("aspect", "letterbox")
    try:
        return replace(base, **changes)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def _size(text: str) -> Size:
    width, height = parse_size(text, _LEAST)
    return height, width


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"expected a number, got {text!r}")
    return int(text)


def _milliseconds(text: str) -> float:
    try:
        return float(text.removesuffix("ms"))
    except ValueError:
        raise ValueError(f"expected milliseconds such as 500, or decisions, got {text!r}") from None


_READ: dict[str, Callable[[str], dict[str, Any]]] = {
    "size": lambda text: {"size": None if text == "world" else _size(text), "exactly": False},
    "exactly": lambda text: {"size": _size(text), "exactly": True},
    "aspect": lambda text: {"aspect": text},
    "frames": lambda text: {"frames": _number(text)},
    "apart": lambda text: {"apart": None if text == "decisions" else _milliseconds(text)},
    "earlier": lambda text: {"earlier": None if text == "any" else _size(text)},
    "tokens": lambda text: {"tokens": None if text == "any" else _number(text)},
    "bytes": lambda text: {"bytes": None if text == "any" else _number(text)},
    "encoding": lambda text: {"encoding": "jpeg:90" if text == "jpeg" else text},
}

"""Textures of walls, floors and furniture: small patterns in two colours, drawn with numpy."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

Rgb = tuple[float, float, float]
Mask = npt.NDArray[np.float64]

PIXELS = 128
_Y: npt.NDArray[np.int64]
_X: npt.NDArray[np.int64]
_Y, _X = np.mgrid[0:PIXELS, 0:PIXELS]


def _bricks() -> Mask:
    row = _Y // 32
    return (((_Y % 32) < 3) | (((_X + 32 * (row % 2)) % 64) < 3)).astype(float)


def _planks() -> Mask:
    row = _Y // 16
    seam = ((_Y % 16) < 1) | (((_X + 53 * row) % 128) < 2)
    planks: Mask = np.maximum(seam * 0.9, 0.35 * ((row * 37 % 8) / 8))
    return planks


def _stripes() -> Mask:
    return ((_X % 32) < 14).astype(float)


def _tiles() -> Mask:
    return (((_Y % 64) < 4) | ((_X % 64) < 4)).astype(float)


def _checker() -> Mask:
    return ((_X // 32 + _Y // 32) % 2).astype(float)


def _dots() -> Mask:
    x, y = (_X + 16 * ((_Y // 32) % 2)) % 32 - 16, _Y % 32 - 16
    dots: Mask = (x * x + y * y < 49).astype(float)
    return dots


def _waves() -> Mask:
    wave: Mask = np.sin(2 * np.pi * _X / 32)
    waves: Mask = np.less((_Y + 6 * wave) % 32, 12).astype(float)
    return waves


def _panels() -> Mask:
    x, y = _X % 64, _Y % 128
    edge = (abs(x - 32) > 22) ^ (abs(x - 32) > 25) | (abs(y - 64) > 52) ^ (abs(y - 64) > 55)
    panels: Mask = (edge & (abs(x - 32) <= 25) & (abs(y - 64) <= 55)).astype(float)
    return panels


def _plain() -> Mask:
    return np.zeros((PIXELS, PIXELS))


def _zigzag() -> Mask:
    return (((_Y + abs(_X % 32 - 16)) % 32) < 13).astype(float)


PATTERNS: dict[str, Callable[[], Mask]] = {
    "bricks": _bricks,
    "planks": _planks,
    "stripes": _stripes,
    "tiles": _tiles,
    "checker": _checker,
    "dots": _dots,
    "waves": _waves,
    "panels": _panels,
    "plain": _plain,
    "zigzag": _zigzag,
}


@lru_cache(maxsize=64)
def png(pattern: str, ground: Rgb, figure: Rgb) -> bytes:
    """The pattern as a PNG file of PIXELS x PIXELS: `figure` on `ground`, with a little grain."""
    mask = PATTERNS[pattern]()[..., None]
    colour = np.array(ground) * (1 - mask) + np.array(figure) * mask
    grain = np.random.default_rng(7).normal(0.0, 0.02, (PIXELS, PIXELS, 1))
    pixels = np.clip((colour + grain) * 255, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()

"""Pictures and videos for people: enlarged frames with instruction, keys, mouse and outcome drawn in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from envs.action import NEUTRAL, Action
from envs.files import written_whole

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int, int]

_INK: Colour = (255, 255, 255, 255)
_SOFT: Colour = (255, 255, 255, 190)
_GLASS: Colour = (14, 16, 22, 175)
_CAP: Colour = (62, 65, 74, 205)
_EDGE: Colour = (150, 154, 164, 215)
_HELD: Colour = (255, 196, 61, 255)
_DARK: Colour = (20, 20, 24, 255)
_GOOD: Colour = (74, 222, 128, 255)
_BAD: Colour = (248, 113, 113, 255)

_LINES, _NARROW = 480, 160  # pixels: the height of a picture for people, and the least width of one
_SHARP = 3  # sprites are drawn this many times larger and shrunk, which smooths their edges
_FULL_LOOK = 12.0  # degrees in one tick that fill the arrow
_BLOCK = {"KeyW": (1, 0), "KeyE": (2, 0), "KeyA": (0, 1), "KeyS": (1, 1), "KeyD": (2, 1)}
_WIDE = {"ShiftLeft": (0.0, "shift"), "Space": (1.5, "space")}
_ARROWS = {"ArrowUp": "up", "ArrowDown": "down", "ArrowLeft": "left", "ArrowRight": "right"}


def draw(
    frame: Picture,
    instruction: str,
    action: Action = NEUTRAL,
    *,
    tick: int | None = None,
    tick_hz: float = 35.0,
    thought: str = "",
    success: bool | None = None,
    why: str = "",
    size: tuple[int, int] | None = None,
) -> Picture:
    """`frame`, uint8 (h, w, 3), as a picture of (height, width) `size`, uint8; by default 480 lines in its own shape.

    The instruction and the time are at the top; the keys that are held, the mouse and the `thought` at the bottom.
    `success` and `why` say how the episode ended; leave them out while it goes on.
    """
    height, width = size or (_LINES, max(_NARROW, round(_LINES * frame.shape[1] / frame.shape[0] / 2) * 2))
    whole = width % frame.shape[1] == 0 and height % frame.shape[0] == 0
    resample = Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC
    image = Image.fromarray(frame).resize((width, height), resample).convert("RGBA")
    unit = height / 480  # all measures below are for 480 lines

    if action.pointer is not None:
        x, y = action.pointer
        image.alpha_composite(_arrow(unit), (min(int(x * width), width - 1), min(int(y * height), height - 1)))
    clock = "" if tick is None else f"{tick / tick_hz:.1f} s"
    image.alpha_composite(_header(instruction, clock, width, unit))
    margin = round(10 * unit)
    keys = _keys(action.keys, unit)
    image.alpha_composite(keys, (margin, height - keys.height - margin))
    yaw, pitch = (round(value * 2) / 2 for value in action.look)
    mouse = _mouse(action.buttons, yaw, pitch, action.wheel, unit)
    image.alpha_composite(mouse, (width - mouse.width - margin, height - mouse.height - margin))
    between = width - keys.width - mouse.width - 4 * margin
    note: Image.Image | None = None
    if between < 80 * unit:
        pass  # such a narrow picture has no room for words
    elif success is not None or why:
        note = _outcome(success, why, between, unit)
    elif thought:
        note = _bubble(thought, between, unit)
    if note is not None:
        left = keys.width + 2 * margin + (between - note.width) // 2
        image.alpha_composite(note, (left, height - note.height - margin))
    return np.asarray(image.convert("RGB"))


@lru_cache(maxsize=32)
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _sheet(width: float, height: float) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An empty sprite, _SHARP times larger than `width` x `height` pixels; `_shrunk` gives it its size."""
    image = Image.new("RGBA", (round(width) * _SHARP, round(height) * _SHARP), (0, 0, 0, 0))
    return image, ImageDraw.Draw(image)


def _shrunk(image: Image.Image) -> Image.Image:
    return image.reduce(_SHARP)


def _wrapped(text: str, font: Any, width: float, lines: int) -> str:
    """`text` in at most `lines` lines of `width` pixels; an ellipsis ends a text that does not fit."""
    rows = [""]
    words = text.split()
    for i, word in enumerate(words):
        longer = f"{rows[-1]} {word}".strip()
        if font.getlength(longer) <= width or not rows[-1]:
            rows[-1] = longer
        elif len(rows) < lines:
            rows.append(word)
        else:
            rows[-1] += " ..."
            break
        if i == len(words) - 1:
            break
    for i, row in enumerate(rows):
        while row and font.getlength(row) > width:
            row = row.removesuffix("...")[:-1] + "..."
        rows[i] = row
    return "\n".join(rows)


@lru_cache(maxsize=256)
def _header(instruction: str, clock: str, width: int, unit: float) -> Image.Image:
    """The bar above: the instruction at the left, the clock at the right."""
    font, small = _font(round(22 * unit * _SHARP)), _font(round(15 * unit * _SHARP))
    pad = 14 * unit * _SHARP
    room = width * _SHARP - 2 * pad - 70 * unit * _SHARP
    text = _wrapped(instruction, font, room, 2)
    height = (18 + 27 * (text.count("\n") + 1)) * unit
    image, pen = _sheet(width, height)
    pen.rectangle((0, 0, image.width, image.height), _GLASS)
    pen.rectangle((0, 0, 5 * unit * _SHARP, image.height), _HELD)
    line = 27 * unit * _SHARP
    for i, row in enumerate(text.split("\n")):
        pen.text((pad + 4 * unit * _SHARP, 9 * unit * _SHARP + (i + 0.5) * line), row, _INK, font, anchor="lm")
    pen.text((image.width - pad, 9 * unit * _SHARP + 0.5 * line), clock, _SOFT, small, anchor="rm")
    return _shrunk(image)


@lru_cache(maxsize=512)
def _keys(held: frozenset[str], unit: float) -> Image.Image:
    """The keyboard: always W A S D, E, shift and space; other keys while they are held."""
    known = {*_BLOCK, *_WIDE}
    others = [_label(name) for name in sorted(held - known)][:3]
    step, cap, pad = 33 * unit, 29 * unit, 8 * unit
    across = 3 * step + (step * 1.5 if others else 0)
    image, pen = _sheet(across + 2 * pad - (step - cap), 3 * step + 2 * pad - (step - cap))
    _panel(pen, image, unit)
    for name, (x, y) in _BLOCK.items():
        _cap(pen, pad + x * step, pad + y * step, cap, cap, name[-1], name in held, unit)
    for name, (place, text) in _WIDE.items():
        _cap(pen, pad + place * step, pad + 2 * step, 1.5 * step - (step - cap), cap, text, name in held, unit)
    for i, text in enumerate(others):
        _cap(pen, pad + 3 * step, pad + i * step, 1.5 * step - (step - cap), cap, text, True, unit)
    return _shrunk(image)


def _label(name: str) -> str:
    """A short name for a key: "KeyQ" is "Q", "ControlLeft" is "control"."""
    if name in _ARROWS:
        return _ARROWS[name]
    for start in ("Key", "Digit", "Numpad"):
        if name.startswith(start):
            return name[len(start) :]
    return name.removesuffix("Left").removesuffix("Right").lower()


def _panel(pen: ImageDraw.ImageDraw, image: Image.Image, unit: float) -> None:
    pen.rounded_rectangle((0, 0, image.width - 1, image.height - 1), 10 * unit * _SHARP, _GLASS)


def _cap(pen: ImageDraw.ImageDraw, x: float, y: float, w: float, h: float, text: str, held: bool, unit: float) -> None:
    """One key, at pixels of the sprite."""
    box = tuple(value * _SHARP for value in (x, y, x + w, y + h))
    pen.rounded_rectangle(
        box, 5 * unit * _SHARP, _HELD if held else _CAP, None if held else _EDGE, max(1, round(unit * _SHARP))
    )
    size = 16.0 if len(text) == 1 else 12.0
    font = _font(round(size * unit * _SHARP))
    while font.getlength(text) > (w - 4 * unit) * _SHARP and size > 7:
        size -= 1
        font = _font(round(size * unit * _SHARP))
    pen.text(((x + w / 2) * _SHARP, (y + h / 2) * _SHARP), text, _DARK if held else _SOFT, font, anchor="mm")


@lru_cache(maxsize=512)
def _mouse(buttons: frozenset[str], yaw: float, pitch: float, wheel: float, unit: float) -> Image.Image:
    """The mouse with its buttons, and beside it a dial with an arrow for the turn of this tick."""
    side, pad = 91 * unit, 8 * unit
    image, pen = _sheet(1.62 * side + 2 * pad, side + 2 * pad)
    _panel(pen, image, unit)
    s = unit * _SHARP
    thin = max(1, round(1.2 * s))

    # The dial.
    radius, x, y = 0.47 * side * _SHARP, (pad + 0.5 * side) * _SHARP, (pad + 0.5 * side) * _SHARP
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), _CAP, _EDGE, thin)
    pen.line((x - radius, y, x + radius, y), (255, 255, 255, 40), thin)
    pen.line((x, y - radius, x, y + radius), (255, 255, 255, 40), thin)
    amount = math.hypot(yaw, pitch)
    if amount:
        # The square root shows small turns too.
        length = (0.25 + 0.75 * min(1.0, amount / _FULL_LOOK) ** 0.5) * radius * 0.92
        dx, dy = yaw / amount, -pitch / amount
        tip = (x + dx * length, y + dy * length)
        head = min(12 * s, 0.6 * length)
        base = (tip[0] - dx * head, tip[1] - dy * head)
        pen.line((x, y, *base), _HELD, round(5 * s))
        wing = 0.62 * head
        pen.polygon(
            [tip, (base[0] - dy * wing, base[1] + dx * wing), (base[0] + dy * wing, base[1] - dx * wing)], _HELD
        )
    pen.ellipse((x - 3 * s, y - 3 * s, x + 3 * s, y + 3 * s), _HELD if amount else _SOFT)

    # The mouse.
    w, h = 0.46 * side * _SHARP, 0.76 * side * _SHARP
    left, top = (pad + 1.12 * side) * _SHARP, (pad + 0.12 * side) * _SHARP
    body = (left, top, left + w, top + h)
    split = top + 0.42 * h
    pen.rounded_rectangle(body, w / 2, _CAP)
    for name, start, box in (
        ("left", 180, (left, top, left + w / 2, split)),
        ("right", 270, (left + w / 2, top, left + w, split)),
    ):
        if name in buttons:
            pen.pieslice((left, top, left + w, top + w), start, start + 90, _HELD)
            pen.rectangle((box[0], top + w / 2 - 1, box[2], box[3]), _HELD)
    pen.rounded_rectangle(body, w / 2, None, _SOFT, thin)
    pen.line((left, split, left + w, split), _SOFT, thin)
    pen.line((left + w / 2, top, left + w / 2, split), _SOFT, thin)
    hub = _HELD if "middle" in buttons or wheel else _DARK
    pen.rounded_rectangle(
        (left + w / 2 - 4 * s, top + 9 * s, left + w / 2 + 4 * s, top + 24 * s), 4 * s, hub, _SOFT, thin
    )
    return _shrunk(image)


@lru_cache(maxsize=8)
def _arrow(unit: float) -> Image.Image:
    """The pointer; its tip is the upper left corner."""
    s = unit * _SHARP
    image, pen = _sheet(20 * unit, 28 * unit)
    shape = [(0, 0), (0, 22), (5, 17), (9, 26), (13, 24), (9, 16), (16, 16)]
    pen.polygon([(x * s, y * s) for x, y in shape], _HELD, _DARK, max(1, round(1.5 * s)))
    return _shrunk(image)


@lru_cache(maxsize=256)
def _bubble(thought: str, width: int, unit: float) -> Image.Image:
    """What the player thinks, in at most three lines."""
    font = _font(round(15 * unit * _SHARP))
    pad, line = 10 * unit, 20 * unit
    text = _wrapped(thought, font, (width - 2 * pad) * _SHARP, 3).split("\n")
    wide = max(font.getlength(row) for row in text) / _SHARP + 2 * pad
    image, pen = _sheet(min(width, wide + 1), line * len(text) + 1.4 * pad)
    _panel(pen, image, unit)
    for i, row in enumerate(text):
        pen.text((image.width / 2, (0.7 * pad + (i + 0.5) * line) * _SHARP), row, _INK, font, anchor="mm")
    return _shrunk(image)


@lru_cache(maxsize=64)
def _outcome(success: bool | None, why: str, width: int, unit: float) -> Image.Image:
    """How it ended: a coloured mark and the reason."""
    colour, word = {True: (_GOOD, "done"), False: (_BAD, "failed"), None: (_SOFT, "ended")}[success]
    big, small = _font(round(22 * unit * _SHARP)), _font(round(14 * unit * _SHARP))
    pad, s = 12 * unit, unit * _SHARP
    reason = _wrapped(why, small, (width - 2 * pad) * _SHARP, 2).split("\n") if why else []
    mark = 26 * unit
    head = mark + big.getlength(word) / _SHARP
    wide = max([head, *(small.getlength(row) / _SHARP for row in reason)]) + 2 * pad
    image, pen = _sheet(min(width, wide + 1), 30 * unit + 19 * unit * len(reason) + 1.2 * pad)
    _panel(pen, image, unit)
    pen.rounded_rectangle((0, 0, image.width - 1, image.height - 1), 10 * s, None, colour, max(1, round(2 * s)))
    x, y = (image.width - head * _SHARP) / 2, (0.6 * pad + 15 * unit) * _SHARP
    bold = round(3.4 * s)
    if success:
        pen.line([(x, y), (x + 6 * s, y + 6.5 * s), (x + 17 * s, y - 6.5 * s)], colour, bold, joint="curve")
    elif success is False:
        pen.line((x + 2 * s, y - 6.5 * s, x + 15 * s, y + 6.5 * s), colour, bold)
        pen.line((x + 2 * s, y + 6.5 * s, x + 15 * s, y - 6.5 * s), colour, bold)
    else:
        pen.rectangle((x + 2 * s, y - 6 * s, x + 14 * s, y + 6 * s), colour)
    pen.text((x + mark * _SHARP, y), word, colour, big, anchor="lm")
    for i, row in enumerate(reason):
        middle = (0.6 * pad + 30 * unit + (i + 0.5) * 19 * unit) * _SHARP
        pen.text((image.width / 2, middle), row, _INK, small, anchor="mm")
    return _shrunk(image)


def write_video(path: Path | str, frames: Iterable[Picture], fps: float) -> Path:
    """Write `frames`, uint8 (H, W, 3), as a moving picture of the kind that the name of `path` ends in.

    .mp4 (H.264, plays anywhere), .webp or .gif (for pages that show no video). Raises ValueError on another ending, or
    if there are no frames, and OSError if it can't be written; then there is no part of it.
    """
    path = Path(path)
    writers = {".mp4": _write_mp4, ".webp": _write_animation, ".gif": _write_animation}
    if path.suffix not in writers:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(writers)}")
    rest = iter(frames)
    first = next(rest, None)
    if first is None:
        raise ValueError(f"{path}: there are no frames to write")
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        writers[path.suffix](part, first, chain([first], rest), fps)
    return path


def _write_mp4(path: Path, first: Picture, frames: Iterable[Picture], fps: float) -> None:
    import av

    # A file of ours: what PyAV opens itself stays open, and keeps its room on the disk, where the disk is full.
    with path.open("w+b") as file, av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "20", "preset": "veryfast"}
        )
        height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2  # the common pixel format has even sides
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame[:height, :width], format="rgb24")))
        container.mux(stream.encode(None))


def _write_animation(path: Path, first: Picture, frames: Iterable[Picture], fps: float) -> None:
    images = [Image.fromarray(frame) for frame in frames]
    if path.suffix == ".gif":
        # One palette for all pictures, made from some of them, so that colours don't flicker.
        some = np.concatenate([np.asarray(image) for image in images[:: max(1, len(images) // 8)]])
        palette = Image.fromarray(some).quantize(256)
        images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    options: dict[str, Any] = {"quality": 72, "method": 4} if path.suffix == ".webp" else {"optimize": False}
    images[0].save(path, save_all=True, append_images=images[1:], duration=round(1000 / fps), loop=0, **options)

"""How far a game turns for one count of the mouse: measured by turning once around, and remembered.

The view is turned in equal steps until the picture of the beginning comes back: that is 360 degrees, whatever the
game's sensitivity and field of view are. The shift of the picture in one step says how large a step may be, refines
where the turn was complete, and tells a whole turn from a symmetric place: it implies a field of view, which has to be
one that games have. The pitch is compared with the yaw by the shift of the picture's middle.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
from PIL import Image

from envs.desktop.game import Game
from envs.errors import UserError

logger = logging.getLogger(__name__)

Frame = npt.NDArray[np.uint8]
Band = npt.NDArray[np.float32]

_WIDTH = 192  # of the pictures that are compared
_STEP = 1 / 12  # of the width: the shift that a step should have
_FOV = (45.0, 125.0)  # degrees: what games have
_SURE, _LIKELY = 0.85, 0.5  # correlations with the first picture: the turn is complete; it may be
_MEASUREMENTS = 3  # at most: two that agree are wanted
_AGREE = 0.05  # how far two measurements may differ
_ALIKE_AGAIN = 0.7  # correlation with the first picture at a part of a turn: the picture shows there as well
_NEAR = 0.05  # how far from a part of a turn the first picture may be
_TRIES = 3  # a machine under load may stall the game in the middle of it
_MOST = 2000  # counts: a view that these do not turn is not turned by the mouse
_ALIKE = 0.5  # correlation of a picture with its neighbour, below which a shift means nothing


@dataclass(frozen=True)
class Measurement:
    """Degrees for one count of the mouse, negative if the game turns the other way; pitch is 0 if there is none.

    `counts`: of a whole turn, or None if the field of view was used instead. `steady`: whether one large move turns
    as far as many small ones; if not, the measurement holds for this moment alone.
    """

    yaw: float
    pitch: float
    counts: float | None
    steady: bool

    @property
    def degrees_per_count(self) -> tuple[float, float]:
        return self.yaw, self.pitch

    def __str__(self) -> str:
        against = f"{self.counts:.0f} counts for a whole turn" if self.counts else "the field of view"
        return f"{abs(self.yaw):.5f} degrees a count, measured twice, against {against}"


class CalibrationError(UserError):
    """The view did not turn, or nothing seen came back."""


def measure(turn: Callable[[int, int], None], look: Callable[[], Frame], *, fov: float | None = None) -> Measurement:
    """Measure twice what a count of the mouse does, and a third time where the two differ.

    `turn(right, down)` moves the mouse by so many counts and waits until the frame shows it; `look` gives the frame
    (H, W, 3). `fov`: the frame's width in degrees, if known. The view ends where it began. Raises CalibrationError,
    also where no two measurements agree.
    """
    found: list[Measurement] = []
    moved = 0  # counts to the right

    def counted(right: int, down: int) -> None:
        nonlocal moved
        moved += right
        turn(right, down)

    for _ in range(_MEASUREMENTS):
        now = _measure_once(counted, look, fov)
        for before in found:
            if abs(now.yaw / before.yaw - 1.0) < _AGREE:
                turns = round(moved / now.counts) * now.counts if now.counts else 0.0
                turn(round(turns - moved), 0)
                return replace(now, steady=now.steady and before.steady)
        found.append(now)
    raise CalibrationError(
        "the game's degrees per mouse count could not be measured: "
        f"{', '.join(f'{abs(one.yaw):.4f}' for one in found)} came out, and no two agree; set degrees_per_count or fov"
    )


def _measure_once(turn: Callable[[int, int], None], look: Callable[[], Frame], fov: float | None) -> Measurement:
    for _ in range(_TRIES):
        step, shift = _find_step(turn, look)
        whole = _turn_around(turn, look, step, shift, fov)
        if whole is not None:
            break
    per_count = abs(shift) / step
    steady = _is_steady(turn, look, step, shift)
    if whole is None:
        if fov is None:
            raise CalibrationError(
                "the game's degrees per mouse count could not be measured: turning around brought nothing back that "
                "was seen before; set degrees_per_count or fov"
            )
        yaw = math.degrees(math.atan(per_count / _focal(fov)))
    else:
        yaw = 360.0 / whole
    before = _small(look())
    turn(0, step)
    down, alike = _best_shift(before, _small(look()), axis=0)
    turn(0, -step)
    # The picture moves up when the view turns down. A game that walks or does nothing instead shows no such shift.
    ratio = -down / (per_count * step) if alike > _ALIKE else 0.0
    if abs(ratio) < 0.15:
        ratio = 0.0
    elif 0.85 < abs(ratio) < 1.18:  # the shifts are averages over a bent picture; nearly all games turn alike
        ratio = math.copysign(1.0, ratio)
    return Measurement(math.copysign(yaw, -shift), yaw * ratio, whole, steady)


def _find_step(turn: Callable[[int, int], None], look: Callable[[], Frame]) -> tuple[int, float]:
    """Counts that shift the picture by about `_STEP` of its width, and that shift in pixels (right positive)."""
    step, first = 1, _small(look())
    while True:
        turn(step, 0)
        second = _small(look())
        shift, alike = _best_shift(first, second, axis=1)
        if alike > _ALIKE and abs(shift) >= 0.75 * _STEP * _WIDTH:
            return step, shift
        if step == _MOST:
            raise CalibrationError(
                f"the game's degrees per mouse count could not be measured: the view does not turn with the mouse "
                f"({step} counts shift it by {shift:.1f} of {_WIDTH} pixels); set degrees_per_count, or mouse: none"
            )
        grown = 1.1 * _STEP * _WIDTH * step / abs(shift) if alike > _ALIKE and abs(shift) > 1.0 else 2.0 * step
        step, first = min(_MOST, max(step + 1, min(4 * step, round(grown)))), second


def _is_steady(turn: Callable[[int, int], None], look: Callable[[], Frame], step: int, shift: float) -> bool:
    """Whether one turn there and many small ones back end where it began. Warns where they don't."""
    before = _small(look())
    turn(step, 0)
    pieces = 12
    for piece in range(pieces):
        turn(-(step * (piece + 1) // pieces - step * piece // pieces), 0)
    off, alike = _best_shift(before, _small(look()), axis=1)
    if alike > _ALIKE and abs(off) > 0.25 * abs(shift):
        logger.warning(
            "the game turns by another angle for one large move of the mouse than for the same in small ones, so that "
            "turns will be off: switch the acceleration of the mouse off in its settings"
        )
        return False
    return True


def _turn_around(
    turn: Callable[[int, int], None], look: Callable[[], Frame], step: int, shift: float, fov: float | None
) -> float | None:
    """The counts of a whole turn, or None if no picture came back. Ends where it began."""
    low, high = _FOV if fov is None else (fov * 0.85, min(fov * 1.15, 175.0))
    fewest, mostest = (2 * math.pi * _focal(limit) / abs(shift) for limit in (high, low))  # steps
    seen = [_small(look())]
    at, before = 0, (0.0, 0.0)  # counts turned; the shift from the first picture and how alike they are, a step ago
    reach = math.ceil(1.5 * abs(shift))

    def compare() -> tuple[float, float]:
        seen.append(_small(look()))
        return _best_shift(_without_still(seen[0], seen), _without_still(seen[-1], seen), axis=1, reach=reach)

    for number in range(1, math.ceil(mostest) + 2):
        turn(step, 0)
        at += step
        off, alike = compare()
        moved = off - before[0]
        # The turn ended within this step if the first picture was on the one side and is now on the other.
        passed = before[0] * shift <= 0 <= off * shift and 0.7 < moved / shift < 1.4
        if passed and min(before[1], alike) > _LIKELY and number >= fewest:
            end = at - round(step * off / moved)
            turn(end - at, 0)
            rest, sure = compare()
            if sure > _SURE:
                return _first_return(turn, compare, end - step * rest / moved, fewest * step, step / moved)
            turn(at - end, 0)
        before = off, alike
    turn(-at, 0)
    return None


def _first_return(
    turn: Callable[[int, int], None],
    compare: Callable[[], tuple[float, float]],
    whole: float,
    fewest: float,
    counts_per_pixel: float,
) -> float:
    """`whole` counts, or a half or a third of them if the first picture shows there as well: a return may have been
    missed while something walked by. `fewest`: the least counts of a turn. The view ends at the first picture again.
    """
    for parts in (2, 3):
        part = round(whole / parts)
        if part < fewest:
            continue
        turn(-part, 0)
        off, alike = compare()
        turn(part, 0)
        if alike > _ALIKE_AGAIN and abs(off * counts_per_pixel) < _NEAR * part:
            return whole / parts
    return whole


def _focal(fov: float) -> float:
    """Pixels from the eye to the picture, where the picture is as wide as `fov` degrees."""
    return _WIDTH / 2 / math.tan(math.radians(fov / 2))


def _small(frame: Frame) -> Band:
    """The frame in grey, `_WIDTH` pixels wide, without its edges, where games write and show the hands."""
    height = round(_WIDTH * frame.shape[0] / frame.shape[1])
    grey = np.asarray(Image.fromarray(frame).convert("L").resize((_WIDTH, height), Image.Resampling.BOX), np.float32)
    return grey[round(0.1 * height) : round(0.65 * height), round(0.05 * _WIDTH) : round(0.95 * _WIDTH)]


def _without_still(band: Band, seen: Sequence[Band]) -> Band:
    """The picture with what never changes made grey: a crosshair and a frame say nothing about where the view is."""
    some = np.stack(seen[:: max(1, len(seen) // 8)])
    return np.where(np.ptp(some, axis=0) < 3.0, band.mean(), band)


def _best_shift(first: Band, second: Band, *, axis: int, reach: int | None = None) -> tuple[float, float]:
    """By how many pixels the picture moved from `first` to `second` (right or down), and how alike they then are.

    Correlations of what overlaps, from -1 to 1; the peak is placed between pixels by a parabola. `reach`: pixels that
    it may have moved, a quarter of the picture if left out.
    """
    length = first.shape[axis]
    reach = min(reach if reach is not None else length // 4, length // 2)
    scores = []
    for shift in range(-reach, reach + 1):
        a = np.take(first, range(max(0, -shift), length - max(0, shift)), axis)
        b = np.take(second, range(max(0, shift), length - max(0, -shift)), axis)
        a, b = a - a.mean(), b - b.mean()
        scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
        scores.append(float((a * b).sum()) / scale if scale > 0.0 else 0.0)
    peak = int(np.argmax(scores))
    fraction = 0.0
    if 0 < peak < len(scores) - 1:
        before, top, after = scores[peak - 1 : peak + 2]
        bend = before - 2 * top + after
        fraction = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return peak - reach + fraction, scores[peak]


def _file(game: Game, adapter: str) -> Path:
    """Where the measurement of this game with these settings, played through this adapter, is kept."""
    settings = adapter + game.model_dump_json(include={"command", "env", "title", "process", "size"})
    digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
    safe = "".join(c if c.isalnum() else "-" for c in game.name)[:40]
    return platformdirs.user_data_path("ludens", appauthor=False) / "desktop" / f"{safe}-{digest}.json"


def recall(game: Game, adapter: str) -> tuple[float, float] | None:
    """What was measured for this game before, or None. A file that can't be read counts as none."""
    try:
        yaw, pitch = json.loads(_file(game, adapter).read_text())["degrees_per_count"]
        return (float(yaw), float(pitch)) if yaw else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(game: Game, adapter: str, degrees_per_count: tuple[float, float]) -> Path:
    """Keep a measurement; the file, which may be removed to measure anew."""
    path = _file(game, adapter)
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = [round(value, 6) for value in degrees_per_count]
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"game": game.name, "degrees_per_count": rounded}) + "\n")
    draft.replace(path)
    return path

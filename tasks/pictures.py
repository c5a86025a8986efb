"""Pictures in instructions: "go to this", with a picture of what is meant instead of its name."""

from __future__ import annotations

import functools
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from envs.doom.level import Level, Rect, Room, Thing
from envs.doom.levels import TRAINING_THEMES, themes_of
from envs.doom.things import CLASSES
from envs.doom.world import DoomWorld
from tasks.goals import Pair

_PORTRAIT = "portrait:"
_AROUND = 8  # pixels around a thing that a portrait shows
_DISTANCES = (90, 220)  # map units from which portraits are taken
SIZE = (120, 160)
_SITTING = threading.Lock()  # there is one studio, and episodes are played side by side

Picture = npt.NDArray[np.uint8]


def portrait(pair: Pair, seed: int) -> str:
    """The name of a picture of a thing, taken in a room of its own that follows from the seed; `load` draws it."""
    kind, colour = pair
    return f"{_PORTRAIT}{kind}/{colour or ''}/{seed}"


def load(name: str) -> Picture | None:
    """A picture by name: uint8 RGB (H, W, 3) of an image file or a portrait; None for "".

    Raises ValueError where there is no such picture.
    """
    if not name:
        return None
    if name.startswith(_PORTRAIT):
        kind, colour, seed = name[len(_PORTRAIT) :].split("/")
        return _drawn((kind, colour or None), int(seed))
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(Path(name).expanduser()) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"picture {name}: {error.strerror or error}") from error


@functools.lru_cache(maxsize=1)
def _studio() -> DoomWorld:
    return DoomWorld(labels=True)


def _drawn(pair: Pair, seed: int) -> Picture:
    """A thing, straight ahead in an otherwise empty room, cut out of the frame and enlarged to a frame's size."""
    from PIL import Image

    rng = np.random.default_rng([seed, 0xF0])
    theme = themes_of([str(rng.choice(list(TRAINING_THEMES)))])[0]
    room = Room(Rect(0, 0, 512, 512), theme, ceiling=128, light=int(rng.integers(180, 256)), name="studio")
    far = int(rng.integers(*_DISTANCES))
    level = Level((room,), (120, 256, 0), (Thing(*pair, 120 + far, 256 + int(rng.integers(-20, 21))),))
    with _SITTING:
        observation, info = _studio().reset(seed=seed, options={"level": level.to_json()})
    rows, columns = np.nonzero(info["state"].labels == CLASSES[pair])
    if not len(rows):
        raise ValueError(f"picture: nothing is seen of the {pair[1] or ''} {pair[0]}")
    y0, y1 = max(0, rows.min() - _AROUND), rows.max() + 1 + _AROUND
    x0, x1 = max(0, columns.min() - _AROUND), columns.max() + 1 + _AROUND
    cut = Image.fromarray(observation["pixels"][y0:y1, x0:x1])
    return np.asarray(cut.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR))

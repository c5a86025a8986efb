"""Portraits of doom things: pictures that stand in for a name in an instruction."""

from __future__ import annotations

import functools
import threading

import numpy as np
import numpy.typing as npt

from envs.doom.level import Level, Rect, Room, Thing
from envs.doom.placement import TRAINING_THEMES, themes_of
from envs.doom.things import CLASSES
from envs.doom.world import DoomWorld
from tasks.task import Pair

PORTRAIT = "portrait:"  # how the name of a portrait begins
_SIZE = (120, 160)
_AROUND = 8  # pixels around a thing that a portrait shows
_DISTANCES = (90, 220)  # map units from which portraits are taken
_SITTING = threading.Lock()  # there is one studio, and episodes are played side by side


def portrait(pair: Pair, seed: int) -> str:
    """The name of a picture of a thing, taken in a room of its own that follows from the seed; `drawn` draws it."""
    kind, colour = pair
    return f"{PORTRAIT}{kind}/{colour or ''}/{seed}"


def drawn(name: str) -> npt.NDArray[np.uint8]:
    """The picture that `portrait` names, uint8 RGB (120, 160, 3). Raises ValueError where nothing is seen in it."""
    kind, colour, seed = name.removeprefix(PORTRAIT).split("/")
    return _drawn((kind, colour or None), int(seed))


@functools.lru_cache(maxsize=1)
def _studio() -> DoomWorld:
    return DoomWorld(labels=True)


def _drawn(pair: Pair, seed: int) -> npt.NDArray[np.uint8]:
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
    return np.asarray(cut.resize((_SIZE[1], _SIZE[0]), Image.Resampling.BILINEAR))

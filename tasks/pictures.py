"""Pictures in instructions: "go to this", with a picture of what is meant instead of its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks import world_tasks

Picture = npt.NDArray[np.uint8]


def load(name: str, world: str = "") -> Picture | None:
    """A picture by name: uint8 RGB (H, W, 3) of an image file, or one that `world` draws; None for "".

    Raises ValueError if there is no such picture.
    """
    if not name:
        return None
    if (drawn := world_tasks.of(world).picture(name)) is not None:
        return drawn
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(Path(name).expanduser()) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise ValueError(f"picture {name}: {error.strerror or error}") from error

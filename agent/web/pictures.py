"""Pictures that others send in base64: decoded within limits."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
import numpy.typing as npt
from PIL import Image

_MOST_PIXELS = 16 << 20


def read_picture(data: str, longest: int | None = None) -> npt.NDArray[np.uint8]:
    """The picture in a base64 text, uint8 RGB (H, W, 3), its longer side shrunk to at most `longest` pixels.

    Raises ValueError if it is no picture, or too large.
    """
    try:
        file = Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=("PNG", "JPEG", "WEBP"))
        if file.width * file.height > _MOST_PIXELS:
            raise ValueError(f"the picture is too large: {file.width}x{file.height}")
        image = file.convert("RGB")
    except (OSError, binascii.Error, SyntaxError) as error:
        raise ValueError("that is no picture: expected a PNG, JPEG or WebP") from error
    if longest is not None:
        image.thumbnail((longest, longest))
    return np.asarray(image)

"""Pictures as services get them: PNG, or JPEG of a quality."""

from __future__ import annotations

import io
from collections.abc import Sequence

from agent.models.base import Picture
from agent.view import fit, quality_of, smaller

_LEAST = 16  # pixels of a side, below which a picture shrinks no more


def encode(image: Picture, encoding: str = "png") -> tuple[bytes, str]:
    """A picture, uint8 RGB (H, W, 3), as a file and its media type. `encoding`: as in agent.view.View. JPEG keeps the
    colours of every pixel: coloured letters on a page are a pixel or two wide."""
    from PIL import Image

    quality, file = quality_of(encoding), io.BytesIO()
    if quality is None:
        Image.fromarray(image).save(file, "PNG")
        return file.getvalue(), "image/png"
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue(), "image/jpeg"


def within_bytes(pictures: Sequence[Picture], encoding: str, most: int | None) -> tuple[Picture, ...]:
    """The `pictures` that take at most `most` bytes together as they go over the wire: the oldest are left out first,
    then the newest one shrinks."""
    kept = list(pictures)
    if most is None:
        return tuple(kept)
    weights = [_weight(picture, encoding) for picture in kept]
    while sum(weights) > most:
        if len(kept) > 1:
            del kept[0], weights[0]
        elif min(kept[0].shape[:2]) <= _LEAST:
            break
        else:
            kept = [fit(kept[0], smaller((kept[0].shape[0], kept[0].shape[1])))]
            weights = [_weight(kept[0], encoding)]
    return tuple(kept)


def _weight(picture: Picture, encoding: str) -> int:
    """Bytes over the wire, in base64."""
    return -(-len(encode(picture, encoding)[0]) // 3) * 4

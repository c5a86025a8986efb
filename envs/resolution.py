"""`parse_size`: the size of frames, as people write it."""

from __future__ import annotations

import re

from envs.errors import UserError


class SizeError(UserError, ValueError):
    """What is no size, and what was expected."""


def parse_size(text: str, least: int = 16, most: int = 4096, where: str = "resolution: ") -> tuple[int, int]:
    """(width, height) of WIDTHxHEIGHT, pixels, each from `least` to `most`. Raises SizeError, which begins with
    `where`."""
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None or not all(least <= int(side) <= most for side in found.groups()):
        raise SizeError(f"{where}expected WIDTHxHEIGHT of {least} to {most} pixels such as 160x120, got {text!r}")
    return int(found[1]), int(found[2])

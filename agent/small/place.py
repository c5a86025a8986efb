"""Places in thoughts: "red key (12, 7)" and back."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.sight import COLUMNS, NOWHERE, ROWS

_PLACE = re.compile(r"\((\d+), (\d+)\)$")


def read_place(thought: str) -> tuple[str, tuple[int, int]]:
    """The words of a thought, and the place in the picture that it ends with."""
    match = _PLACE.search(thought)
    if match is None:
        return thought, NOWHERE
    return thought[: match.start()].strip(), (min(int(match[1]), COLUMNS), min(int(match[2]), ROWS))


def write_place(words: str, place: Sequence[int]) -> str:
    """The inverse of `read_place`; a thing that is not in view is left out."""
    column, row = place
    return words if column >= COLUMNS else f"{words} ({column}, {row})".strip()

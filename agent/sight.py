"""Places in the picture, as bins of its columns and rows, and what is in view.

The picture is 90 degrees wide unless the level says otherwise. Thoughts, advice and the place tokens of `small` all
count in these bins.
"""

from __future__ import annotations

import math

COLUMNS, ROWS = 80, 24  # bins; one more of each says "not in view". At 160x120: 2 and 5 pixels
NOWHERE = (COLUMNS, ROWS)
FOV = 90.0  # degrees across the picture
DIRECTIONS = ("ahead", "ahead right", "right", "behind right", "behind", "behind left", "left", "ahead left")
VIEW = 44.0  # half of what counts as seen, degrees


def half_view(fov: float) -> float:
    """Half of what counts as seen in a view of `fov` degrees across."""
    return VIEW + (fov - FOV) / 2


def bins(at: tuple[float, float]) -> tuple[int, int]:
    """The bins of a point, its column and row both in [0, 1]."""
    column, row = at
    return min(int(column * COLUMNS), COLUMNS - 1), min(int(row * ROWS), ROWS - 1)


def direction(off: float) -> str:
    """The word, one of DIRECTIONS, for `off` degrees right of where one looks."""
    return DIRECTIONS[round(off / 45.0) % len(DIRECTIONS)]


def column_of(off: float, fov: float = FOV) -> int:
    """The column bin of a direction, degrees right of the centre of a view of `fov` degrees across; COLUMNS where it is
    not in view."""
    if abs(off) >= half_view(fov):
        return COLUMNS
    across = 1.0 if fov == FOV else math.tan(math.radians(fov / 2))
    column = int((0.5 + 0.5 * math.tan(math.radians(off)) / across) * COLUMNS)
    return min(max(column, 0), COLUMNS - 1)

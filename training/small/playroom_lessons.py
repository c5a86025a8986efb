"""`PlayroomLessons`: the playroom is taught as any world, and its things are classes of the segmentation head."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from training.small.classes import PLAYROOM, UNKNOWN
from training.small.lesson_world import LessonWorld


class PlayroomLessons(LessonWorld):
    """How the playroom is taught."""

    def cells(self, cells: npt.NDArray[np.uint8], scene: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        return np.where(cells == UNKNOWN, UNKNOWN, cells + np.int16(PLAYROOM))

"""What the judge sees of an episode: eight frames, the same wherever a judge is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# The frames that a judge sees beside the first one, as decisions before the end.
_BEFORE_END = (12, 8, 5, 3, 2, 1, 0)
JUDGE_FRAMES = 1 + len(_BEFORE_END)
# The words before an instruction that ask how far an episode came. Without them the judge says whether it was done.
HOW_FAR = ("how", "far")

Frames = npt.NDArray[np.uint8]


def picks(count: int) -> tuple[int, ...]:
    """Which of the `count` frames of an episode a judge sees, by number, oldest first."""
    last = count - 1
    return 0, *(max(0, last - back) for back in _BEFORE_END)


def view(frames: Sequence[Frames] | Frames) -> Frames:
    """What a judge sees of an episode: uint8 (JUDGE_FRAMES, H, W, 3).

    `frames`: uint8 (T + 1, H, W, 3), one before every decision and one after the last. A short episode repeats its
    first frame. Raises ValueError where there is no frame.
    """
    if not len(frames):
        raise ValueError("an episode without a frame can't be judged")
    return np.stack([frames[at] for at in picks(len(frames))])

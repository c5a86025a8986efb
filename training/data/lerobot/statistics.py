"""Statistics of a dataset, as LeRobot's normalisers want them: of every column with numbers, and of the pixels.

Mean, standard deviation, minimum and maximum of the whole are exact. The quantiles of numbers are the means of those of
the episodes, weighted with their lengths, as LeRobot itself has them; those of pixels are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}

Numbers = npt.NDArray[np.float64]
Stats = dict[str, Any]


def of_numbers(values: npt.NDArray[Any]) -> dict[str, Numbers]:
    """The statistics of a column (N,) or (N, D), each (D,), and `count` (1,)."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    found["count"] = np.array([len(rows)])
    return found | dict(zip(QUANTILES, np.quantile(rows, list(QUANTILES.values()), axis=0), strict=True))


def combined(stats: Sequence[Mapping[str, Numbers]]) -> dict[str, Numbers]:
    """The statistics of episodes as those of the whole."""
    counts = np.array([one["count"][0] for one in stats], np.float64)
    weights = (counts / counts.sum())[:, None]
    mean = (np.stack([one["mean"] for one in stats]) * weights).sum(0)
    spread = [one["std"] ** 2 + (one["mean"] - mean) ** 2 for one in stats]
    found = {
        "min": np.stack([one["min"] for one in stats]).min(0),
        "max": np.stack([one["max"] for one in stats]).max(0),
        "mean": mean,
        "std": np.sqrt((np.stack(spread) * weights).sum(0)),
        "count": np.array([int(counts.sum())]),
    }
    return found | {q: (np.stack([one[q] for one in stats]) * weights).sum(0) for q in QUANTILES}


class PixelCounts:
    """How often each value of a pixel occurs, by channel."""

    def __init__(self) -> None:
        self.frames = 0
        self._counts = np.zeros((3, 256), np.int64)

    def add(self, frame: npt.NDArray[np.uint8]) -> None:
        """Count a frame, uint8 (H, W, 3)."""
        self.frames += 1
        for channel in range(3):
            self._counts[channel] += np.bincount(frame[..., channel].ravel(), minlength=256)

    def join(self, other: PixelCounts) -> None:
        self.frames += other.frames
        self._counts += other._counts

    def stats(self) -> dict[str, Numbers]:
        """Statistics of pixels from 0 to 1, each (3, 1, 1), and `count` (1,): frames."""
        values = np.arange(256) / 255.0
        shares = self._counts / self._counts.sum(1, keepdims=True)
        mean = shares @ values
        there = self._counts > 0
        found = {
            "min": values[there.argmax(1)],
            "max": values[255 - there[:, ::-1].argmax(1)],
            "mean": mean,
            "std": np.sqrt(np.maximum(shares @ values**2 - mean**2, 0.0)),
        }
        up_to = np.cumsum(shares, 1)
        found |= {name: values[(up_to >= q).argmax(1)] for name, q in QUANTILES.items()}
        return {name: value.reshape(3, 1, 1) for name, value in found.items()} | {"count": np.array([self.frames])}


def plain(stats: Mapping[str, Numbers]) -> Stats:
    """Statistics as lists of numbers."""
    return {name: value.tolist() for name, value in stats.items()}

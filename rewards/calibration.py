"""`Calibration`: what a judge's values mean, as a threshold of success and a chance of success for every value."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

CALIBRATION = "judge.json"  # in a checkpoint's folder


@dataclass(frozen=True)
class Calibration:
    """What a judge's values mean.

    `threshold`: the least value that counts as success. `values` (0 to 100) and `chances` (0 to 1): the points of a
    rising curve, on which a value's chance of success lies. Raises ValueError for a curve that doesn't rise.
    """

    threshold: float
    values: tuple[float, ...] = (0.0, 100.0)
    chances: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        rising = all(np.all(np.diff(side) >= 0.0) for side in (self.values, self.chances))
        if not self.values or len(self.values) != len(self.chances) or not rising:
            raise ValueError("calibration: expected as many values as chances, at least one, both rising")

    def chance(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The chance of success for values from 0 to 100, of the same shape."""
        return np.interp(np.asarray(values, np.float64), self.values, self.chances)

    def save(self, folder: Path) -> None:
        """Write the calibration into a checkpoint's folder."""
        data = {"threshold": self.threshold, "values": self.values, "chances": self.chances}
        (folder / CALIBRATION).write_text(json.dumps(data) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """The calibration in a checkpoint's folder. Raises ValueError where there is none or it can't be read."""
        path = folder / CALIBRATION
        try:
            data: dict[str, Any] = json.loads(path.read_text())
            return cls(float(data["threshold"]), tuple(data["values"]), tuple(data["chances"]))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: no calibration of a judge: {error}") from error


# The share of failures that may pass the threshold on training levels. It leaves room below 5 % on other levels.
MOST_FALSE = 0.03


def fit(values: npt.ArrayLike, truth: npt.ArrayLike, most_false: float = MOST_FALSE) -> Calibration:
    """Fit a calibration to the values of episodes and their `truth`, bool of the same length.

    The threshold is the least that at most the share `most_false` of failures passes. The curve is the rising one that
    fits best (isotonic regression). Raises ValueError where there are no successes or no failures.
    """
    values, truth = np.asarray(values, np.float64), np.asarray(truth, bool)
    bad = np.sort(values[~truth])[::-1]
    if not len(bad) or len(bad) == len(values):
        raise ValueError("a calibration needs successes and failures")
    highest = bad[int(most_false * len(bad))]  # the first failure that must not pass
    above = values[values > highest]
    threshold = (highest + above.min()) / 2 if len(above) else np.nextafter(highest, np.inf)
    points, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    shares = np.bincount(which, weights=truth) / counts
    chances = isotonic_regression(shares, weights=counts).x
    # A level stretch of the curve needs its two ends only.
    ends = np.ones(len(points), bool)
    ends[1:-1] = (np.diff(chances)[:-1] > 0.0) | (np.diff(chances)[1:] > 0.0)
    return Calibration(float(threshold), tuple(points[ends].tolist()), tuple(chances[ends].clip(0.0, 1.0).tolist()))

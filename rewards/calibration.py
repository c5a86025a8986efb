"""`Calibration`: what a judge's values mean, as a threshold of success and a chance of success for every value."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

CALIBRATION = "judge.json"  # in a checkpoint's folder
LEAST_PROGRESS = 0.5  # rank correlation, below which a judge's progress says too little


@dataclass(frozen=True)
class Calibration:
    """What a judge's values mean.

    `threshold`: the least value that counts as success. `values` (0 to 100) and `chances` (0 to 1): the points of a
    rising curve, on which a value's chance of success lies. `verbs`: higher thresholds of verbs that fool the judge
    more often. `progress`: how well the progress that the judge tells ranks episodes that were cut short, as a rank
    correlation; None where it tells none. Raises ValueError for a curve that doesn't rise.
    """

    threshold: float
    values: tuple[float, ...] = (0.0, 100.0)
    chances: tuple[float, ...] = (0.0, 1.0)
    verbs: Mapping[str, float] = field(default_factory=dict)
    progress: float | None = None

    def __post_init__(self) -> None:
        rising = all(np.all(np.diff(side) >= 0.0) for side in (self.values, self.chances))
        if not self.values or len(self.values) != len(self.chances) or not rising:
            raise ValueError("calibration: expected as many values as chances, at least one, both rising")

    def chance(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The chance of success for values from 0 to 100, of the same shape."""
        return np.interp(np.asarray(values, np.float64), self.values, self.chances)

    @property
    def tells_progress(self) -> bool:
        """Whether the progress that the judge tells is worth passing on."""
        return self.progress is not None and self.progress >= LEAST_PROGRESS

    def threshold_of(self, verb: str) -> float:
        """The least value that counts as success for a verb."""
        return self.verbs.get(verb, self.threshold)

    def save(self, folder: Path) -> None:
        """Write the calibration into a checkpoint's folder."""
        data: dict[str, Any] = {"threshold": self.threshold, "values": self.values, "chances": self.chances}
        data |= {"verbs": dict(self.verbs)} if self.verbs else {}
        data |= {} if self.progress is None else {"progress": self.progress}
        (folder / CALIBRATION).write_text(json.dumps(data) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Calibration:
        """The calibration in a checkpoint's folder. Raises ValueError where there is none or it can't be read."""
        path = folder / CALIBRATION
        try:
            data: dict[str, Any] = json.loads(path.read_text())
            verbs = {str(verb): float(least) for verb, least in data.get("verbs", {}).items()}
            progress = None if data.get("progress") is None else float(data["progress"])
            return cls(float(data["threshold"]), tuple(data["values"]), tuple(data["chances"]), verbs, progress)
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path}: no calibration of a judge: {error}") from error


# The share of failures that may pass the threshold on training levels. It leaves room below 5 % on other levels.
MOST_FALSE = 0.03
FEW = 40  # failures, below which a verb gets no threshold of its own


def fit(
    values: npt.ArrayLike, truth: npt.ArrayLike, most_false: float = MOST_FALSE, verbs: Sequence[str] = ()
) -> Calibration:
    """Fit a calibration to the values of episodes and their `truth`, bool of the same length.

    The threshold is the least that at most the share `most_false` of failures passes. `verbs`: those of the episodes;
    one whose failures pass more often gets a higher threshold of its own, by the same rule. The curve is the rising one
    that fits best (isotonic regression). Raises ValueError where there are no successes or no failures.
    """
    values, truth = np.asarray(values, np.float64), np.asarray(truth, bool)
    if truth.all() or not truth.any():
        raise ValueError("a calibration needs successes and failures")
    threshold = _least(values, truth, most_false)
    own: dict[str, float] = {}
    of = np.asarray(verbs, dtype=str)
    for verb in sorted(set(verbs)):
        mine = of == verb
        if (
            np.count_nonzero(~truth[mine]) >= FEW
            and (least := _least(values[mine], truth[mine], most_false)) > threshold
        ):
            own[verb] = least
    points, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    shares = np.bincount(which, weights=truth) / counts
    chances = isotonic_regression(shares, weights=counts).x
    # A level stretch of the curve needs its two ends only.
    ends = np.ones(len(points), bool)
    ends[1:-1] = (np.diff(chances)[:-1] > 0.0) | (np.diff(chances)[1:] > 0.0)
    return Calibration(threshold, tuple(points[ends].tolist()), tuple(chances[ends].clip(0.0, 1.0).tolist()), own)


def _least(values: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_], most_false: float) -> float:
    """The least threshold that at most a share of the failures passes."""
    bad = np.sort(values[~truth])[::-1]
    highest = bad[int(most_false * len(bad))]  # the first failure that must not pass
    above = values[values > highest]
    return float((highest + above.min()) / 2 if len(above) else np.nextafter(highest, np.inf))

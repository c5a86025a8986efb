"""Weights of recorded episodes: how much a learner imitates each of them.

A folder of episodes may hold `weights.json`: a JSON object from the path of each episode, relative to that folder, to
its weight, a number of 0 or more. Episodes that it does not name weigh 0. Without such a file successful episodes and
those without a verdict weigh 1, and failed ones 0.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envs.files import read_regular, write_whole
from training.data.episodes import Episode, EpisodeError

WEIGHTS = "weights.json"


class EpisodeWeights:
    """The weights of the episodes under some folders. `failures`: where no file says otherwise, failed episodes weigh 1
    too. Raises EpisodeError for a file that is not as described above."""

    def __init__(self, roots: Sequence[Path], *, failures: bool = False) -> None:
        self._failures = failures
        self._named = {root: _read(root / WEIGHTS) for root in roots if (root / WEIGHTS).exists()}

    def of(self, episode: Episode) -> float:
        """The weight of an episode."""
        for root, weights in self._named.items():
            if episode.path.is_relative_to(root):
                return weights.get(episode.path.relative_to(root).as_posix(), 0.0)
        return self._default(episode.meta)

    def may_count(self, meta: Mapping[str, Any]) -> bool:
        """Whether an episode with this episode.json may have a weight above 0."""
        return bool(self._named) or self._default(meta) > 0.0

    def _default(self, meta: Mapping[str, Any]) -> float:
        return 1.0 if self._failures or meta["outcome"].get("success") is not False else 0.0


def write_weights(root: Path, weights: Mapping[str, float]) -> None:
    """Write the weights of the episodes under `root`, by their paths relative to it."""
    write_whole(root / WEIGHTS, json.dumps(dict(weights), indent=2) + "\n")


def _read(file: Path) -> dict[str, float]:
    try:
        weights = json.loads(read_regular(file))
    except (OSError, ValueError, RecursionError) as error:
        raise EpisodeError(f"{file}: can't be read: {error}") from error
    if not isinstance(weights, dict) or not all(map(_is_weight, weights.values())):
        raise EpisodeError(f"{file}: expected a JSON object from episodes to numbers of 0 or more")
    return {name: float(weight) for name, weight in weights.items()}


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0

"""The recorded episodes that a checkpoint learned from, as its manifest tells them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agent.lineage import Data, short_path
from training.data.episodes import find_episodes


def episodes_learned(folders: Iterable[Path]) -> list[Data]:
    """The recorded episodes in folders."""
    return [Data(short_path(folder), len(find_episodes(folder)), "episodes") for folder in folders]

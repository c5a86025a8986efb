"""The corpora that a checkpoint learned from, as its manifest tells them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agent.lineage import Data, short_path
from training.small.corpus import Corpus


def corpora_learned(corpora: Iterable[tuple[Path, Corpus]], judged: Path | None = None) -> list[Data]:
    """The frames of corpora, each with its folder, and the judge's episodes."""
    data = [Data(short_path(folder), len(corpus)) for folder, corpus in corpora]
    if judged is not None:
        with (judged / "episodes.jsonl").open("rb") as lines:
            data.append(Data(short_path(judged), sum(1 for _ in lines), "episodes"))
    return data

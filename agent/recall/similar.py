"""Which of all pictures in a store look most like one: an exact search by inner product, block by block.

Exact, since it is fast enough: docs/memory.md has the time of it at 10^6 pictures, beside an approximate index.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.recall.store import Block


@dataclass(frozen=True)
class Alike:
    """A picture that was looked at: where, and how alike it is, the cosine from -1 to 1."""

    source: int
    tick: int
    frame: int
    likeness: float


class Pictures:
    """The embeddings of all pictures, in memory: 4 D bytes a picture. Blocks of another D than the first are left
    out."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        found = list(blocks)
        kept = [block for block in found if block.vectors.shape[1] == found[0].vectors.shape[1]]
        self._sources = _joined([np.full(len(block.ticks), block.source) for block in kept])
        self._ticks = _joined([block.ticks for block in kept])
        self._frames = _joined([block.frames for block in kept])
        self._vectors = (
            np.concatenate([block.vectors for block in kept]).astype(np.float32)
            if kept
            else np.zeros((0, 0), np.float32)
        )

    def __len__(self) -> int:
        return len(self._ticks)

    def nearest(self, vector: npt.NDArray[np.float32], most: int) -> list[Alike]:
        """The `most` pictures that are most alike to a unit vector (D,), most alike first; of those that are as alike
        the newest first."""
        if not len(self):
            return []
        scores = self._vectors @ vector
        best = np.argpartition(-scores, most - 1)[:most] if most < len(scores) else np.arange(len(scores))
        best = best[np.lexsort((-best, -scores[best]))]
        return [Alike(int(self._sources[i]), int(self._ticks[i]), int(self._frames[i]), float(scores[i])) for i in best]


def _joined(parts: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)

"""`Glances`: random frames of which only what is in the cells is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.small import lesson_world
from training.small.corpus import AHEAD, Corpus


@dataclass
class Glances:
    """Batches of such frames. `groups`: corpora that are drawn from as one, with how many frames each group gives to a
    batch."""

    groups: Sequence[tuple[Sequence[Corpus], int]]
    seed: int
    rank: int

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Frames (N, 3, H, W), uint8, and cells (N, 30, 40), int16, of batch number `step`."""
        for corpus, row in self._chosen(step + AHEAD):
            corpus.fetch(np.array([row]))
        chosen = self._chosen(step)
        frames = np.stack([corpus.frames[row] for corpus, row in chosen])
        cells = np.stack([self._cells(corpus, row) for corpus, row in chosen]).astype(np.int16)
        return torch.from_numpy(frames).permute(0, 3, 1, 2), torch.from_numpy(cells)

    @staticmethod
    def _cells(corpus: Corpus, row: int) -> npt.NDArray[Any]:
        return lesson_world.of(corpus.world).cells(corpus.cells[row], corpus.scene[row])

    def _chosen(self, step: int) -> list[tuple[Corpus, int]]:
        rng = np.random.default_rng([self.seed, step, self.rank, 2])
        chosen = []
        for corpora, count in self.groups:
            ends = np.cumsum([len(corpus) for corpus in corpora])
            for row in rng.integers(ends[-1], size=count).tolist():
                number = int(np.searchsorted(ends, row, side="right"))
                chosen.append((corpora[number], row - int(ends[number]) + len(corpora[number])))
        return chosen

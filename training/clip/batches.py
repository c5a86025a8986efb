"""Batches for CLIP: frames, captions that hold in them, and captions that don't."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rewards.clip_encoder import Preparation
from tasks import world_tasks
from training.clip.frames import CaptionedFrames

OWN = 2  # captions a frame that hold in it
HARD = 3  # captions a frame that are easily taken to hold in it
GOALS = 3.0  # how much likelier a goal is drawn than another caption
SENTENCES = 0.5  # share of goals that are said as instructions
_LIGHT = 0.25  # how far brightness and contrast are varied


@dataclass(frozen=True)
class Batch:
    """`pictures` float32 (B, 3, H, W). `tokens` (U, L) of U captions. `holds` bool (B, U): which captions hold in which
    frames."""

    pictures: Tensor
    tokens: Tensor
    holds: Tensor


class Batches:
    """Draws batches from captioned frames; batch number k is always the same.

    A batch is of one world: captions of another one would be told apart by the look of the world. Captions of a frame
    are drawn with a weight of one over how often they hold, since most say what is not in view, and goals more often
    than others. Frames are drawn with the root of the highest weight of their captions.
    """

    def __init__(
        self,
        data: Sequence[CaptionedFrames],
        tokenize: Callable[[list[str]], Tensor],
        prepare: Preparation,
        *,
        size: int,
        seed: int,
    ) -> None:
        self._tokenize, self._prepare, self._size, self._seed = tokenize, prepare, size, seed
        self._worlds = [_World(frames) for frames in data]
        counts = np.array([len(world.data.frames) for world in self._worlds], np.float64)
        self._shares = counts / counts.sum()

    def __call__(self, first: int, steps: int) -> Iterator[list[Batch]]:
        """The batches of steps `first` to `steps`, in one part each."""
        for step in range(first, steps):
            yield [self._batch(np.random.default_rng([self._seed, step]))]

    def _batch(self, rng: np.random.Generator) -> Batch:
        world = self._worlds[int(rng.choice(len(self._worlds), p=self._shares))]
        rows = rng.choice(len(world.weights), self._size, p=world.weights)
        drawn = [caption for row in rows.tolist() for caption in (*world.own(rng, row), *world.hard(rng, row))]
        said = list(dict.fromkeys(drawn))
        holds = np.array([[caption in world.true[row] for caption in said] for row in rows.tolist()], bool)
        return Batch(
            self._pictures(rng, world.data.frames[rows]),
            self._tokenize([world.phrased(rng, caption) for caption in said]),
            torch.from_numpy(holds),
        )

    def _pictures(self, rng: np.random.Generator, frames: npt.NDArray[np.uint8]) -> Tensor:
        """Prepared pictures in other lights."""
        pictures = self._prepare(frames)
        contrast, light = (
            torch.from_numpy(rng.uniform(-_LIGHT, _LIGHT, (len(frames), 1, 1, 1)).astype(np.float32)) for _ in range(2)
        )
        return pictures * (1.0 + contrast) + light


class _World:
    """The frames of one world, and how often each is drawn."""

    def __init__(self, data: CaptionedFrames) -> None:
        self.data = data
        self.true = [frozenset(shown.true) for shown in data.shown]
        counts = Counter(said for shown in data.shown for said in shown.true)
        self._outcomes = world_tasks.of(data.worlds[0]).outcomes
        goals = frozenset(self._outcomes.goals() if self._outcomes is not None else ())
        self._weights = {said: (GOALS if said in goals else 1.0) / count for said, count in counts.items()}
        weights = np.array([max(self._weights[said] for said in shown.true) for shown in data.shown]) ** 0.5
        self.weights = weights / weights.sum()

    def own(self, rng: np.random.Generator, row: int) -> list[str]:
        """Captions that hold in a frame."""
        true = self.data.shown[row].true
        weights = np.array([self._weights[said] for said in true])
        return [true[i] for i in rng.choice(len(true), OWN, p=weights / weights.sum()).tolist()]

    def hard(self, rng: np.random.Generator, row: int) -> list[str]:
        false = self.data.shown[row].false
        return [false[i] for i in rng.permutation(len(false))[:HARD].tolist()]

    def phrased(self, rng: np.random.Generator, caption: str) -> str:
        """The caption, or an instruction that it is the outcome of."""
        if self._outcomes is None or rng.random() >= SENTENCES:
            return caption
        return self._outcomes.sentence(rng, caption) or caption

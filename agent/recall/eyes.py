"""`Eyes` describe pictures in words and embed them as vectors. `PolicyEyes` does it with `small`, or any policy that
captions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from agent.capabilities import Answers, Captions, Frames, HasSpec, KnowsNouns
from agent.small.policy import SmallPolicy

Embeddings = npt.NDArray[np.float32]
_GRID = (6, 8)  # blocks of a picture, rows and columns, where no model embeds it
BATCH = 16  # pictures that are looked at together


class Eyes(Protocol):
    """Looks at pictures. `name`: what they are; embeddings of other eyes can't be compared."""

    @property
    def name(self) -> str: ...

    def describe(self, frames: Sequence[Frames]) -> list[str]:
        """What is in each of B frames, uint8 RGB (H, W, 3), in words; "" where nothing can be told."""
        ...

    def embed(self, frames: Sequence[Frames]) -> Embeddings:
        """Unit vectors (B, D): alike for pictures that show alike things."""
        ...

    def known(self, noun: str) -> str:
        """A noun as `describe` says it; itself where it is unknown."""
        ...

    def shows(self, frames: Sequence[Frames], thing: str) -> list[bool]:
        """Whether each frame shows a thing, such as "red key", by a second way of looking than `describe`."""
        ...


class PolicyEyes:
    """A policy as Eyes. `name`: the policy's, with its version. Frames of any size are shown as its view has them.

    A policy that does not caption describes nothing. One that does not answer takes every thing for shown. `small`
    embeds by its encoder; for other policies a picture is embedded as the colours of its parts.
    """

    def __init__(self, policy: object, name: str) -> None:
        self._policy, self.name = policy, name
        self._view = policy.spec.view if isinstance(policy, HasSpec) else None

    def describe(self, frames: Sequence[Frames]) -> list[str]:
        if not isinstance(self._policy, Captions):
            return [""] * len(frames)
        return self._policy.caption(self._seen(frames))

    def embed(self, frames: Sequence[Frames]) -> Embeddings:
        seen = self._seen(frames)
        if isinstance(self._policy, SmallPolicy):
            return _encoded(self._policy, seen)
        return _unit(np.stack([_colours(frame) for frame in seen]))

    def known(self, noun: str) -> str:
        return (self._policy.known(noun) if isinstance(self._policy, KnowsNouns) else None) or noun

    def shows(self, frames: Sequence[Frames], thing: str) -> list[bool]:
        if not isinstance(self._policy, Answers):
            return [True] * len(frames)
        article = "an" if thing[:1] in "aeiou" else "a"
        answers = self._policy.answer(self._seen(frames), [f"is there {article} {thing}?"] * len(frames))
        return [answer == "yes" for answer in answers]

    def _seen(self, frames: Sequence[Frames]) -> list[Frames]:
        return list(frames) if self._view is None else [self._view.newest(frame) for frame in frames]


@torch.inference_mode()
def _encoded(policy: SmallPolicy, frames: Sequence[Frames]) -> Embeddings:
    """Unit vectors (B, D) by the encoder of `small`: half of it what kinds and colours of things are anywhere in the
    picture, which a small thing changes as much as a large one, half of it the mean token of the picture."""
    image = policy.model.see(torch.from_numpy(np.stack(frames)).to(policy.device).permute(0, 3, 1, 2))
    things = [logits.softmax(1).amax((2, 3))[:, 1:] for logits in policy.model.segmentation(image)]
    parts = (torch.cat(things, 1), image.mean(1))
    return _unit(np.concatenate([_unit(part.float().cpu().numpy()) for part in parts], 1))


def changed(before: Frames | None, now: Frames) -> bool:
    """Whether a frame differs from the one before so that something may have come into view: in any part of some 8 x 8
    pixels by more than noise."""
    if before is None or before.shape != now.shape:
        return True
    height, width = (side // 8 * 8 for side in now.shape[:2])
    if not height or not width:
        return True
    now, before = now[:height, :width], before[:height, :width]
    apart = np.maximum(now, before) - np.minimum(now, before)  # as bytes, which is several times as fast
    rows = apart.reshape(height // 8, 8, width * 3).sum(1, dtype=np.uint16)
    parts = rows.reshape(height // 8, width // 8, 24).sum(2, dtype=np.uint32) / (8 * 24)
    return bool(parts.max() > _NOISE)


_NOISE = 2.0  # of 255; what compression changes in a part of a still picture


def _colours(frame: Frames) -> Embeddings:
    """The mean colour of each part of a frame, less the mean of all, float32 (D,)."""
    rows, columns = (
        np.linspace(0, side, parts + 1).astype(int) for side, parts in zip(frame.shape, _GRID, strict=False)
    )
    means = np.stack(
        [
            frame[a : max(b, a + 1), c : max(d, c + 1)].mean((0, 1), dtype=np.float32)
            for a, b in pairwise(rows)
            for c, d in pairwise(columns)
        ]
    )
    return np.asarray((means - means.mean(0)).ravel() + 1e-3, np.float32)


def _unit(vectors: Embeddings) -> Embeddings:
    made: Embeddings = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return made.astype(np.float32)

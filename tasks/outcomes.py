"""`Outcomes`: what one picture shows once a goal is reached, for rewards that compare words and pictures.

A CLIP model tells which of several captions fits a picture best. A goal is scored by the caption of its outcome,
against captions of the same thing in other states and captions of other goals. A goal whose outcome one picture can't
show, such as a key that was picked up, has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


@dataclass(frozen=True)
class Shown:
    """Captions of one picture by ground truth.

    `true`: all that hold, of what training may say; what is not among them does not hold. `false`: some of those that
    don't hold, which are easily taken to: the same thing in another state, another thing in the same state.
    """

    true: tuple[str, ...]
    false: tuple[str, ...]


class Outcomes(Protocol):
    """The captions of a world."""

    def caption(self, instruction: str) -> str | None:
        """What the picture shows once the instruction is done; None where one picture can't show it, or nobody reads
        the instruction."""

    def contrasts(self, instruction: str) -> Sequence[str]:
        """What it may show instead: the same thing in other states. Empty where `caption` is None."""

    def others(self, instruction: str) -> Sequence[str]:
        """Captions of goals that are about another thing, from which negatives are drawn. Empty where `caption` is
        None, and where other goals may well be reached at the same time."""

    def goals(self) -> Sequence[str]:
        """The captions of all goals that training names."""

    def sentence(self, rng: np.random.Generator, caption: str) -> str | None:
        """An instruction, in a training phrasing, whose outcome has this caption; None for a caption of no goal."""

    def shown(self, state: Any) -> Shown:
        """Captions of the picture of a state with labels, for training alone. No held-out pair is named. Raises
        ValueError for a state without labels."""

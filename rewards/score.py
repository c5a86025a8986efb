"""What a reward says of an episode: a `Score`, or a `Failure` where it can't tell."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """How well an episode went.

    `value`: 0 to 100. `success`: whether the task counts as done. `why`: the reason in a few words. `by`: the name of
    the reward. `saw`: what a model looked at to say so: the decisions before which it saw the picture, by number; the
    number after the last decision's for the final picture. `size`: (height, width) of what it was shown. `progress`:
    the share of the way to success that was gone, from 0 to 1, where the reward tells it. Raises ValueError for a value
    that is no number from 0 to 100 and for a progress that is none from 0 to 1.
    """

    value: float
    success: bool
    why: str
    by: str
    saw: tuple[int, ...] = ()
    size: tuple[int, int] | None = None
    progress: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.value <= 100.0:  # false for NaN too
            raise ValueError(f"score: expected a value from 0 to 100, got {self.value!r}")
        if self.progress is not None and not 0.0 <= self.progress <= 1.0:
            raise ValueError(f"score: expected a progress from 0 to 1, got {self.progress!r}")


@dataclass(frozen=True)
class Failure:
    """The reward could not score an episode, and `why`. It says nothing about how well the player did."""

    why: str

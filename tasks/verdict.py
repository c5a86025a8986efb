"""`Verdict` and `Verifier`: who says whether a task was done, in any world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Verdict:
    """How a task ended. `success`, and `why` in one short sentence."""

    success: bool
    why: str


class Verifier(Protocol):
    """Watches one episode. It keeps state between updates: make a new one for each episode."""

    def update(self, state: Any) -> Verdict | None:
        """Look at the world's ground truth (`info["state"]`); a Verdict once the task is decided, else None.

        Call it with the state after `reset` and then after every step or chunk; durations are counted in the
        state's own ticks, so that it may be called at any cadence.
        """

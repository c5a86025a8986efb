"""`Usage`: what workers did with their time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Usage:
    """`present`: seconds that workers were there while there were jobs, all of them together. `busy`: those that they
    spent on jobs whose results came. `again`: how often a job was done anew because its worker was lost."""

    present: float = 0.0
    busy: float = 0.0
    again: int = 0

    @property
    def idle(self) -> float:
        """The share of their time in which workers did nothing that counts, 0 to 1: they waited, or what they did was
        lost with them."""
        return max(0.0, 1.0 - self.busy / self.present) if self.present else 0.0

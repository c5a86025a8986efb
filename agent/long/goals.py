"""`GoalStack`: the user's goal, its parts, and what the player does now; each ends by a verifier or expires."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Rank = Literal["primary", "secondary", "tertiary"]
End = Literal["done", "refuted", "failed", "expired", "dropped"]

LIVES = {"secondary": 120, "tertiary": 8}  # turns after which a goal expires


@dataclass(frozen=True)
class Pursuit:
    """A goal. `since`: the turn at which it was set. `expires`: the turn at which it is given up; None for the user's,
    which nobody but the user takes back."""

    text: str
    rank: Rank
    since: int
    expires: int | None


@dataclass(frozen=True)
class Ended:
    """How a goal ended, and at which turn. `verified`: whether a judge looked at the frames; None where nobody did."""

    goal: Pursuit
    end: End
    turn: int
    verified: bool | None = None
    why: str = ""


@dataclass
class GoalStack:
    """The primary goal is the user's own sentence; only `begin` sets it. The planner sets the secondary goals, which
    are parts of it, in order, and the tertiary ones, which are the player's steps. `lives`: turns after which a goal of
    each rank expires."""

    primary: Pursuit | None = None
    secondary: list[Pursuit] = field(default_factory=list)
    tertiary: list[Pursuit] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    lives: Mapping[str, int] = field(default_factory=lambda: LIVES)

    def begin(self, text: str, turn: int) -> None:
        """The user sets a goal; the planner's goals for another one are dropped."""
        self.primary = Pursuit(text, "primary", turn, None)
        self.secondary, self.tertiary = [], []

    def set(self, rank: Rank, texts: tuple[str, ...], turn: int) -> None:
        """Replace the planner's goals of a rank. A goal that stays keeps its age."""
        if rank == "primary":
            raise ValueError("only the user sets the primary goal")
        old = {goal.text: goal for goal in self._of(rank)}
        made = [old.get(text) or Pursuit(text, rank, turn, turn + self.lives[rank]) for text in texts]
        for goal in old.values():
            if goal not in made:
                self.ended.append(Ended(goal, "dropped", turn))
        self._of(rank)[:] = made

    def end(
        self, text: str, end: End, turn: int, *, rank: Rank = "tertiary", verified: bool | None = None, why: str = ""
    ) -> Ended | None:
        """A goal of the planner's ended; None where there is none of that rank and text."""
        goals = self._of(rank)
        for goal in goals:
            if goal.text == text:
                goals.remove(goal)
                self.ended.append(Ended(goal, end, turn, verified, why))
                return self.ended[-1]
        return None

    def expire(self, turn: int) -> list[Pursuit]:
        """Give up what is too old."""
        old = [g for g in (*self.tertiary, *self.secondary) if g.expires is not None and turn >= g.expires]
        for goal in old:
            self.end(goal.text, "expired", turn, rank=goal.rank)
        return old

    @property
    def text(self) -> str:
        """The goals in a line."""
        parts = (
            ("primary", [self.primary] if self.primary else []),
            ("secondary", self.secondary),
            ("tertiary", self.tertiary),
        )
        return "; ".join(f"{rank}: {', then '.join(g.text for g in goals)}" for rank, goals in parts if goals)

    def _of(self, rank: Rank) -> list[Pursuit]:
        return self.secondary if rank == "secondary" else self.tertiary

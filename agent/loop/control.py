"""`Control`: pauses, ends and takes over an episode while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.policy import Decision
from envs.action import Action

Order = Literal["play", "wait", "end"]


@dataclass(frozen=True, slots=True)
class Hands:
    """An action that replaces the player's at one tick, and the actor that the episode names for it."""

    action: Action
    actor: str


class Control:
    """The loop asks it once a tick, in the loop's thread. This base class lets the player play.

    `dialogue`: the (who, what) lines that the next decision may know. `since`: the tick from which the time limit
    counts. `way`: the direction, one of agent.sight.DIRECTIONS, in which the way to what is wanted begins, for the
    memory of the next decision; "" where that is not known.
    """

    dialogue: tuple[tuple[str, str], ...] = ()
    since: int = 0

    @property
    def way(self) -> str:
        return ""

    def order(self, tick: int) -> Order:
        """Whether to play `tick`, to ask again in a moment, or to end the episode."""
        return "play"

    def hands(self, tick: int) -> Hands | None:
        """The action that replaces the player's at `tick`; None if the player plays."""
        return None

    def done(self, decision: Decision) -> bool:
        """The player says that it is done. Returns whether the episode goes on nevertheless."""
        return False

    @property
    def why(self) -> str:
        """Why `order` ends the episode; not empty then."""
        return "ended from outside"

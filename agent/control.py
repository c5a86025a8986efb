"""`Control`: how somebody outside steers an episode while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agent.policy import Decision
from envs.action import Action

Order = Literal["play", "wait", "end"]


@dataclass(frozen=True, slots=True)
class Hands:
    """What is done at one tick in the player's stead, and who episodes say has done it."""

    action: Action
    actor: str


class Control:
    """Is asked by the loop, in its thread, once a tick; this one lets the player play.

    `dialogue`: the (who, what) lines that the next decision may know. `since`: the tick from which the time limit
    counts.
    """

    dialogue: tuple[tuple[str, str], ...] = ()
    since: int = 0

    def order(self, tick: int) -> Order:
        """Whether to play `tick`, to ask again in a moment, or to end the episode."""
        return "play"

    def hands(self, tick: int) -> Hands | None:
        """What is done at `tick` without asking the player; None where the player plays."""
        return None

    def done(self, decision: Decision) -> bool:
        """The player says that it is done. Whether the episode goes on all the same."""
        return False

    @property
    def why(self) -> str:
        """Why `order` ends the episode."""
        return "ended from outside"

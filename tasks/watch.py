"""`Watch`: what verifiers of worlds with numbered things have in common. Only what was asked for counts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from tasks.verdict import Verdict

STAND_TICKS = 10
LOOK_TICKS = 14
WRONG_LOOK_TICKS = 24


class Watch(ABC):
    """Ends a task in failure for what was not asked for, and else as the family's own rule says.

    `targets`: numbers of things. `guard_stand`, `guard_look`: whether standing at, or looking at, a wrong thing without
    moving is a failure.
    """

    guard_stand = False
    guard_look = False

    def __init__(self, targets: Iterable[int]) -> None:
        self.targets = frozenset(targets)
        self._since: dict[str, int] = {}

    def update(self, state: Any) -> Verdict | None:
        wrong = self.wrong(state)
        return Verdict(False, f"{wrong}, which was not asked for") if wrong else self.judge(state) or self._guard(state)

    @abstractmethod
    def judge(self, state: Any) -> Verdict | None:
        """The family's own rule."""

    @abstractmethod
    def wrong(self, state: Any) -> str:
        """What was done that was not asked for, such as "took the red cube"; empty where nothing was."""

    @abstractmethod
    def names(self, state: Any) -> list[str]:
        """What each thing is called."""

    @abstractmethod
    def is_at(self, state: Any, thing: int) -> bool: ...

    @abstractmethod
    def looks_at(self, state: Any, thing: int) -> bool: ...

    @abstractmethod
    def where(self, state: Any) -> str:
        """Where the player stands and looks, rounded so that it stays the same while he stands still."""

    def lasts(self, state: Any, what: str, true: bool, ticks: int) -> bool:
        """Whether `what` has been true for so many ticks."""
        if not true:
            self._since.pop(what, None)
            return False
        return bool(state.tick - self._since.setdefault(what, state.tick) >= ticks)

    def _guard(self, state: Any) -> Verdict | None:
        pose = f"pose {self.where(state)}"
        self._since = {key: tick for key, tick in self._since.items() if not key.startswith("pose") or key == pose}
        still = state.tick - self._since.setdefault(pose, state.tick)
        near = min((state.distance(thing) for thing in self.targets), default=math.inf)
        for thing, name in enumerate(self.names(state)):
            if thing in self.targets:
                continue
            if self.guard_stand and still >= STAND_TICKS and self.is_at(state, thing) and state.distance(thing) < near:
                return Verdict(False, f"stands at the {name}, which was not asked for")
            if self.guard_look and still >= WRONG_LOOK_TICKS and self.looks_at(state, thing):
                return Verdict(False, f"looks at the {name}, which was not asked for")
        return None

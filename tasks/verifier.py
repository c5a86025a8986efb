"""Verifiers: they watch ground truth and say when a task is done or lost.

Any world can use `ReturnAtLeast` (worlds that give a reward), `JavaScript` (games in a browser) and `Sequence`; `Watch`
is a base for worlds with numbered things.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tasks.task import VerifierSpec

STAND_TICKS = 10
LOOK_TICKS = 14
WRONG_LOOK_TICKS = 24


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


class Sequential:
    """One verifier after the other; each step begins when the one before has succeeded. `stage`: the step it is at.

    `make` gives a fresh verifier for a step.
    """

    def __init__(self, steps: Iterable[VerifierSpec], make: Callable[[VerifierSpec], Verifier]) -> None:
        self._verifiers = [make(step) for step in steps]
        if not self._verifiers:
            raise ValueError("a sequence needs steps")
        self.stage = 0

    def update(self, state: Any) -> Verdict | None:
        while True:
            verdict = self._verifiers[self.stage].update(state)
            if verdict is None or not verdict.success or self.stage + 1 == len(self._verifiers):
                return verdict
            self.stage += 1


class Impossible:
    """The verifier of what can't be done: a failure from the start."""

    def __init__(self, why: str) -> None:
        self._why = why

    def update(self, state: Any) -> Verdict | None:
        return Verdict(False, self._why)


class ReturnAtLeast:
    """Success once the return of the episode reaches `at_least`; failure where the episode or the time ends before.

    Reads `return` of the world's ground truth: the sum of all rewards since `reset`. A return that is reached before
    anything was done counts as well, so choose `at_least` above 0 where the return begins with 0.
    """

    def __init__(self, at_least: float) -> None:
        if isinstance(at_least, bool) or not isinstance(at_least, int | float) or not math.isfinite(at_least):
            raise ValueError(f"at_least: expected a number, got {at_least!r}")
        self._at_least = at_least

    def update(self, state: Mapping[str, Any]) -> Verdict | None:
        total = state["return"]
        if total >= self._at_least:
            return Verdict(True, f"the return {total:g} reached {self._at_least:g}")
        return None


class JavaScript:
    """Success once the expression `success` holds; failure once `failure` does. Text that one gives is the reason.

    It never sees the page: the world evaluates the expressions, which the task's reset option `javascript` names to it,
    and puts their values into `info["state"]["javascript"]`. `expressions` is that option.
    """

    def __init__(self, success: str, failure: str | None = None) -> None:
        self.expressions = {"success": success} | ({} if failure is None else {"failure": failure})
        for name, expression in self.expressions.items():
            if not isinstance(expression, str) or not expression.strip():
                raise ValueError(f"{name}: expected a JavaScript expression, got {expression!r}")

    def update(self, state: Mapping[str, Any]) -> Verdict | None:
        for name in self.expressions:
            value = state["javascript"][name]
            if value:
                return Verdict(name == "success", value if isinstance(value, str) else self.expressions[name])
        return None


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
        """What was done that was not asked for, such as "took the red cube"; empty if nothing was."""

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

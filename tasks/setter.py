"""`TaskSetter`: proposes tasks. A setter sees pixels and judged outcomes, never ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from envs import plugins

Frame = npt.NDArray[np.uint8]

LONGEST = 200  # characters of an instruction
MOST_TICKS = 100_000  # of a time limit: most of an hour at 35 ticks a second


@dataclass(frozen=True)
class Tried:
    """A task that was tried, and how a reward judged it.

    `id`: of the try, so that none counts twice. `success` and `score` (0 to 100) are None if the reward failed.
    `task`: the id of the suite's task that it was, if it was one. `generation`: of the player that tried. `kind`: of
    the level, the name of the suite that makes such levels.
    """

    id: str
    instruction: str
    success: bool | None
    score: float | None = None
    task: str = ""
    generation: int = 0
    kind: str = ""


@dataclass(frozen=True)
class SetterView:
    """What a setter may know.

    `world`: the world's id. `frames`: what is in view, uint8 RGB (H, W, 3), oldest first; the newest is now. `tried`:
    the tasks tried so far, oldest first. `skills`: the player's estimated chance of success by verb, 0 to 1, for the
    verbs that it has tried. `tick_hz`: ticks in a second of the world. `seed`: for setters that sample. `kinds`: of new
    levels that a task may ask for, by the names of their suites.
    """

    world: str
    frames: tuple[Frame, ...] = ()
    tried: tuple[Tried, ...] = ()
    skills: Mapping[str, float] = field(default_factory=dict)
    tick_hz: float = 35.0
    seed: int = 0
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """A task that a setter proposes.

    `instruction`: one line of text. `time_limit`: ticks. `why`: the setter's reason. `task`: the id of a suite's task,
    where the proposal is one. `seed` and `options`: the arguments of the world's `reset`; None if the player tries the
    task in the level that is in view. `kind`: of SetterView.kinds, if it is to be tried in a new level of that kind.
    Raises ValueError for an invalid instruction or time limit.
    """

    instruction: str
    time_limit: int
    why: str = ""
    task: str = ""
    seed: int | None = None
    options: Mapping[str, Any] | None = None
    kind: str = ""

    def __post_init__(self) -> None:
        text = self.instruction
        if not isinstance(text, str) or not text.strip():
            raise ValueError("the instruction is empty")
        if len(text) > LONGEST or not text.isprintable():
            raise ValueError(f"the instruction is not one line of at most {LONGEST} characters")
        if isinstance(self.time_limit, bool) or not isinstance(self.time_limit, int):
            raise ValueError(f"the time limit is {self.time_limit!r} instead of a whole number of ticks")
        if not 0 < self.time_limit <= MOST_TICKS:
            raise ValueError(f"the time limit is {self.time_limit} ticks instead of 1 to {MOST_TICKS}")


@dataclass(frozen=True)
class Rejected:
    """An answer of a setter that is no proposal: its `text`, and `why` it was refused. It is not repaired."""

    text: str
    why: str


@runtime_checkable
class TaskSetter(Protocol):
    """Proposes tasks for a view. Call it through `propose`, which checks what it says."""

    def propose(self, view: SetterView, n: int) -> Sequence[Proposal | Rejected]:
        """At most `n` proposals. A setter that writes text gives a Rejected for what it wrote off contract."""


@dataclass(frozen=True)
class Proposed:
    """What a setter said: its `proposals`, and what was `rejected`."""

    proposals: tuple[Proposal, ...]
    rejected: tuple[Rejected, ...] = ()


def propose(setter: TaskSetter, view: SetterView, n: int) -> Proposed:
    """At most `n` proposals of a setter for a view, and what was off contract. Raises ValueError for n below 1."""
    if n < 1:
        raise ValueError(f"proposals: expected a number of 1 or more, got {n}")
    proposals: list[Proposal] = []
    rejected: list[Rejected] = []
    said = setter.propose(view, n)
    if not isinstance(said, Iterable):
        return Proposed((), (Rejected(repr(said)[:LONGEST], "it is no list of proposals"),))
    for one in said:
        if isinstance(one, Rejected):
            rejected.append(one)
        elif not isinstance(one, Proposal):
            rejected.append(Rejected(repr(one)[:LONGEST], "it is no Proposal"))
        elif one.kind and one.kind not in view.kinds:
            rejected.append(Rejected(one.instruction, f"no level of the kind {one.kind!r} can be asked for"))
        elif len(proposals) == n:
            rejected.append(Rejected(one.instruction, f"it is one more than the {n} that were asked for"))
        else:
            proposals.append(one)
    return Proposed(tuple(proposals), tuple(rejected))


def load_setter(name: str) -> TaskSetter:
    """A task setter by name, by NAME:ARGUMENT such as suite:doom-vault, or by `package.module:Name`.

    Raises UserError for an unknown name, an argument that it doesn't take, and what is no setter.
    """
    return plugins.make("task setter", name, TaskSetter, "propose(view, n)")  # type: ignore[type-abstract]

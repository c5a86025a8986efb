"""`Task`: what to do, in which world, and the verifier of the outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Pair = tuple[str, str | None]  # the kind and the colour of a thing
# A goal in numbers, as corpora hold it: verb, class of the thing (0 for none), whether its kind alone names it.
#
# A goal has three encodings, each for a use that the others can't serve. A world's Meaning (tasks/*/language.py) is
# what words say, and needs no level. A VerifierSpec is what a verifier checks: the numbers of things in one level, as
# JSON. A Query is a row of an array, three bytes for millions of frames, and has the same form in every world.
Query = tuple[int, int, int]
# Suites say "training" and "held_out"; "wide" is what lessons say beyond them, in worlds that have words for it.
Phrasing = Literal["training", "held_out", "wide"]


def thing_name(kind: str, colour: str | None) -> str:
    """What a thing is called: "red key", or "key" where it has no colour."""
    return f"{colour} {kind}" if colour else kind


@dataclass(frozen=True)
class VerifierSpec:
    """A verifier by name, with its arguments (JSON values)."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A goal in a world.

    `instruction`: text as a person would type it. `world`: a world's name. `seed` and `options` go to its
    `reset`. `time_limit`: ticks. `verifier`: None if nothing can judge it. `verb`: the family that reports group by.
    `picture`: the name of a picture (tasks.pictures) of what is meant, where the instruction does not name it.
    `answer`: what the player has to say, if saying it is the success; such a task has no verifier. `compass`: the
    player's memory tells it in which direction the way begins, as the compass of point-goal navigation does.
    """

    id: str
    instruction: str
    world: str
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    time_limit: int = 700
    verifier: VerifierSpec | None = None
    verb: str = ""
    picture: str = ""
    answer: str = ""
    compass: bool = False

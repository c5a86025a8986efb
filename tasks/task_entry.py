"""`Entry`: a task as a person writes it in a tasks file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """A mapping of a YAML file that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid")


class EntryVerifier(Strict):
    """The verifier of an entry, by name, with its arguments."""

    name: str
    args: dict[str, Any] = Field(default_factory=dict)


MOST = 1_000_000  # tasks of an entry


class Entry(Strict):
    """One entry of a tasks file. It makes a task for every instruction and every seed (docs/tasks.md)."""

    instruction: str | list[str]
    id: str = ""
    verb: str = ""
    world: str = "doom"
    options: dict[str, Any] = Field(default_factory=dict)
    verifier: EntryVerifier | None = None
    seeds: list[int] | None = None
    seed: int = 0
    count: int = Field(default=1, ge=1, le=MOST)
    time_limit: int = Field(default=700, ge=1)

    @model_validator(mode="after")
    def _seeds(self) -> Entry:
        if self.seeds is not None and {"seed", "count"} & self.model_fields_set:
            raise ValueError("give seeds, or seed and count, not both")
        if not self.instruction:
            raise ValueError("instruction: expected a sentence")
        texts = 1 if isinstance(self.instruction, str) else len(self.instruction)
        if texts * len(self.all_seeds()) > MOST:
            raise ValueError(f"instruction: {texts} of them with {len(self.all_seeds())} seeds each; at most {MOST}")
        return self

    def all_seeds(self) -> Sequence[int]:
        """The seeds of the entry, in its order."""
        return self.seeds if self.seeds is not None else range(self.seed, self.seed + self.count)


class EntryError(ValueError):
    """What is wrong in an entry. `place`: where in it, such as ".verifier.args.targets[0]"."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(message)
        self.place = place


def place_of(loc: Sequence[int | str]) -> str:
    """A place as pydantic names it, written as a path: "tasks[0].verifier.name"."""
    out = ""
    for part in loc:
        out += f"[{part}]" if isinstance(part, int) else f"{'.' if out else ''}{part}"
    return out or "the file"


def message_of(error: Any) -> str:
    """What pydantic says of an error, in the words of this project."""
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "is missing"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]

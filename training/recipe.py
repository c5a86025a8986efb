"""Recipes: the configuration files of training runs, and the progress that long jobs report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import pydantic

from envs.errors import UserError
from envs.files import write_whole
from envs.yaml_files import load_yaml

_LONGEST = 60  # characters of a field's value in a message


class Section(pydantic.BaseModel):
    """A recipe or a part of one. It refuses fields that it does not know."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    FREE: ClassVar[frozenset[str]] = frozenset()  # fields that may differ when a run goes on

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a YAML file. Raises ValueError with the path of the field that is wrong."""
        try:
            return cls.of(load_yaml(path))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def of(cls, fields: Any) -> Self:
        """The recipe with these fields. Raises ValueError with the name of the field that is wrong."""
        try:
            return cls.model_validate(fields)
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class OtherRunError(UserError, ValueError):
    """A folder can't hold this run: it is a file, or it holds a run of another recipe."""


@dataclass(frozen=True)
class Progress:
    """How far a job is: `done` of `total` units of `stage`, and figures such as losses and speeds by name."""

    stage: str
    done: int
    total: int
    figures: Mapping[str, float] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The OnProgress that ignores all progress."""


def same_recipe(recipe: Section, out: Path) -> None:
    """Make the folder of a run and write its recipe to `out`/recipe.json, or go on with a run there. Raises
    OtherRunError. Fields that are newer than the run have their defaults."""
    file = out / "recipe.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = recipe.of(json.loads(file.read_text())) if file.exists() else None
    except (FileExistsError, NotADirectoryError) as error:
        raise OtherRunError(f"{out}: is a file, or lies in one; name a folder") from error
    except ValueError as error:
        raise OtherRunError(
            f"{out} holds a run of another recipe ({error}); give another --out or remove it"
        ) from error
    if found is None:
        write_whole(file, json.dumps(recipe.model_dump(mode="json"), indent=2))
        return
    before, now = found.model_dump(mode="json"), recipe.model_dump(mode="json")
    names = [name for name in now if name not in recipe.FREE and before[name] != now[name]]
    if names:
        told = "; ".join(f"{name} is {_cut(before[name])}, not {_cut(now[name])}" for name in names[:3])
        raise OtherRunError(f"{out} holds a run of another recipe: {told}. Give another --out or remove it")


def _cut(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def open_run(recipe: Mapping[str, Any], out: Path, *, resume: bool) -> None:
    """Make the folder of a run and write its recipe, a JSON object, to `out`/recipe.json; or go on with a run there.

    Raises ValueError if `out` holds a run and `resume` is not set, a run of another recipe, or something else.
    """
    wanted = json.loads(json.dumps(recipe))
    file = out / "recipe.json"
    if file.is_file():
        if not resume:
            raise OtherRunError(f"{out}: there is a run already; go on with --resume or name a new folder")
        found = _read(file)
        for name, value in wanted.items():
            if found.get(name) != value:
                raise OtherRunError(f"{out}: the run has {name} {found.get(name)!r}, not {value!r}; name a new folder")
    elif out.exists() and any(out.iterdir()):
        raise OtherRunError(f"{out}: it is not empty and holds no run; name a new folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(wanted, indent=2) + "\n")


def _read(file: Path) -> dict[str, Any]:
    """The recipe of a run. Raises ValueError if it is damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise OtherRunError(f"{file}: it is damaged ({error}); name a new folder") from error
    if not isinstance(found, dict):
        raise OtherRunError(f"{file}: expected an object, got {type(found).__name__}; name a new folder")
    return found

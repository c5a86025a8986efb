"""`load_tasks`: tasks that a person wrote, from a YAML file (docs/tasks.md describes the format)."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from envs.errors import UserError
from envs.yaml_files import YamlFileError, load_yaml
from tasks import world_tasks
from tasks.task import Task
from tasks.task_entry import Entry, EntryError, Strict, message_of, place_of


class TasksFileError(UserError, ValueError):
    """What is wrong in a tasks file, in one line that begins with the file and the place in it."""


class _File(Strict):
    tasks: list[Entry] = Field(min_length=1)


def load_tasks(path: str | Path) -> list[Task]:
    """The tasks of a file, in its order: every instruction of an entry with every one of its seeds.

    Raises TasksFileError (a ValueError) where the file can't be read, is no YAML or breaks the format.
    """
    path = Path(path)
    try:
        data = load_yaml(path)
    except OSError as error:
        raise TasksFileError(f"{path}: {error.strerror}") from error
    except YamlFileError as error:
        raise TasksFileError(f"{path}: {error}") from error
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise TasksFileError(f"{path}: {place_of(first['loc'])}: {message_of(first)}") from error
    tasks: list[Task] = []
    for number, entry in enumerate(file.tasks):
        try:
            tasks += _tasks(entry, entry.id or f"{path.stem}/{number}")
        except EntryError as error:
            raise TasksFileError(f"{path}: tasks[{number}]{error.place}: {error}") from error
    return tasks


def _tasks(entry: Entry, key: str) -> Iterator[Task]:
    texts = [entry.instruction] if isinstance(entry.instruction, str) else entry.instruction
    world = world_tasks.of(entry.world)
    for i, text in enumerate(texts):
        for seed in entry.all_seeds():
            task_id = f"{key}/{i}/{seed}" if len(texts) > 1 else f"{key}/{seed}"
            rng = np.random.default_rng([zlib.crc32(key.encode()), i, seed % 2**32])
            yield world.task_of_entry(entry, task_id, text, seed, rng)

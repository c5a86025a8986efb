"""JSON-lines files that are whole at every moment: read line by line, written anew and renamed."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from envs.errors import UserError


class JsonLinesError(UserError, ValueError):
    """A file that is not what it should be; the message names the file and the line."""


def read(path: Path) -> list[dict[str, Any]]:
    """The objects of a file, one a line. Raises JsonLinesError if it can't be read or a line is no JSON object."""
    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise JsonLinesError(f"{path}: can't be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise JsonLinesError(f"{path}, line {number}: is no JSON: {error}") from error
        if not isinstance(row, dict):
            raise JsonLinesError(f"{path}, line {number}: expected a JSON object, got {line[:40]!r}")
        rows.append(row)
    return rows


def resume(
    path: Path,
    jobs: Iterable[tuple[Mapping[str, Any], Callable[[], dict[str, Any]]]],
    tell: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """The rows of a file after all jobs. A job whose key stands in a row is not done again; each new row is appended at
    once, and told."""
    rows = read(path) if path.exists() else []
    for key, job in jobs:
        if any(key.items() <= row.items() for row in rows):
            continue
        rows.append(job())
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        tell(rows[-1])
    return rows


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write objects, one a line. A reader finds the old file or the new one, also after a crash.

    Raises UserError if the folder can't be written to.
    """
    text = "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows)
    fresh = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fresh.open("x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: can't be written: {error.strerror or error}") from error

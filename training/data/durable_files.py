"""Files that are written once and hashed, and sealed JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class HashingFile:
    """A file to write once from start to end, unbuffered, with the SHA-256 of what was written.

    It has no `seek`, so that nothing that was written and hashed can change.
    """

    def __init__(self, path: Path) -> None:
        self.raw = path.open("xb", buffering=0)
        self._sha = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> int:
        self._sha.update(data)
        view = memoryview(data)
        while view:
            view = view[self.raw.write(view) :]
        return len(data)

    def close(self, *, durable: bool = True) -> str:
        """Close the file, on the disk where `durable`; the SHA-256 of its contents."""
        with self.raw:
            if durable:
                os.fsync(self.raw.fileno())
        return self._sha.hexdigest()


def _spell(meta: Mapping[str, Any]) -> bytes:
    # A line for each entry: readable, and ten times as fast as json's own indentation, which is pure Python.
    lines = (f"{json.dumps(k)}: {json.dumps(meta[k], ensure_ascii=False)}" for k in sorted(meta))
    # What no UTF-8 can hold, such as half a surrogate pair in the words of a game, must not cost the episode.
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode(errors="replace")


def seal(meta: Mapping[str, Any]) -> bytes:
    """The one spelling of `meta` as JSON, with its own SHA-256."""
    meta = json.loads(json.dumps(meta))  # as it will be read: tuples are lists, keys are strings
    return _spell({**meta, "sha256": hashlib.sha256(_spell(meta)).hexdigest()})


def unseal(data: bytes) -> dict[str, Any]:
    """What was sealed. Raises ValueError if a byte was changed."""
    try:
        meta = json.loads(data)
        same = isinstance(meta, dict) and bool(meta.pop("sha256", None)) and seal(meta) == data
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not same:
        raise ValueError("is not as it was written (SHA-256 differs)")
    return dict(meta)


def sync(folder: Path) -> None:
    """Have the disk confirm the names in `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

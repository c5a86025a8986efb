"""Files that are whole or absent: written once and hashed, sealed JSON, and a full disk said as such."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class DiskFullError(OSError):
    """The disk is full; the message names it. Episodes that were finished before are intact."""

    def __init__(self, path: Path, error: OSError) -> None:
        usage = ""
        with suppress(OSError):
            free = shutil.disk_usage(path if path.exists() else path.parent)
            usage = f" ({free.free / 2**20:.0f} of {free.total / 2**20:.0f} MiB free)"
        super().__init__(f"no space left on the disk that holds {path}, mounted at {_mount(path)}{usage}: free some")
        self.errno = error.errno


def _mount(path: Path) -> Path:
    path = path.absolute()
    while not os.path.ismount(path):
        path = path.parent
    return path


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turns a full disk into `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(path, error) from error
        raise


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
    lines = (f"{json.dumps(k)}: {json.dumps(meta[k], sort_keys=True, ensure_ascii=False)}" for k in sorted(meta))
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file. A pipe or a device is not waited for: it raises OSError, as a missing file does."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return file.read()


def seal(meta: Mapping[str, Any]) -> bytes:
    """The one spelling of `meta` as JSON, with its own SHA-256."""
    meta = json.loads(json.dumps(meta))  # as it will be read: tuples are lists, keys are strings
    return _spell({**meta, "sha256": hashlib.sha256(_spell(meta)).hexdigest()})


def unseal(data: bytes) -> dict[str, Any]:
    """What was sealed. Raises ValueError where a byte was changed."""
    try:
        meta = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(meta, dict) or not meta.pop("sha256", None) or seal(meta) != data:
        raise ValueError("is not as it was written (SHA-256 differs)")
    return meta


def sync(folder: Path) -> None:
    """Have the disk confirm the names in `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one piece: whoever reads it finds what was there before, or all of the new."""
    part = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    with disk(path.parent):
        try:
            part.write_bytes(data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

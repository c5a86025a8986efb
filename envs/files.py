"""Files that are whole or absent, a full disk said as such, and files from others that may be none."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(OSError):
    """The disk is full; the message names it. What was finished before is intact."""

    def __init__(self, path: Path, error: OSError) -> None:
        usage = ""
        with suppress(OSError):
            free = shutil.disk_usage(next(place for place in (path, *path.parents) if place.exists()))
            usage = f" ({free.free / 2**20:.0f} of {free.total / 2**20:.0f} MiB free)"
        super().__init__(f"no space left on the disk that holds {path}, mounted at {_mount(path)}{usage}: free some")
        self.errno = error.errno


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, or a user's quota on it, is full."""
    return isinstance(error, OSError) and error.errno in _FULL


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
        if is_full(error) and not isinstance(error, DiskFullError):
            raise DiskFullError(path, error) from error
        raise


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file beside `path`, of the same ending, to write into. It replaces `path` when it is done. A reader of `path`
    finds the old content or all of the new. Raises DiskFullError."""
    part = path.with_name(f".tmp-{uuid.uuid4().hex[:8]}-{path.name}")
    with disk(path.parent):
        try:
            yield part
            os.replace(part, path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file in one piece. What UTF-8 can't hold of a text is replaced. Raises OSError, DiskFullError."""
    with written_whole(path) as part:
        part.write_bytes(data.encode(errors="replace") if isinstance(data, str) else data)


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether it is ours to make `path`: it is not there, and no other process is about to make it. While this lasts
    no other caller is told so; that ends with this process, however it ends. Raises DiskFullError."""
    mark = path.with_name(f".claim-{path.name}")
    with disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        try:
            yield not path.exists()
        finally:
            with suppress(OSError):
                mark.unlink(missing_ok=True)
    finally:
        os.close(handle)


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file. A pipe or a device is not waited for: it raises OSError, as a missing file does."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return file.read()

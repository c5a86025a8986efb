"""What checkpoint folders have in common, whatever model is in them: one error, and writing whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from envs.errors import UserError


class CheckpointError(UserError, ValueError):
    """A checkpoint that is damaged or does not fit this version: one line that says what is wrong and what was
    expected."""


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` when the block ends; an older `out` is replaced. Where the block raises,
    the temporary folder is removed and `out` stays as it was."""
    part = out.with_name(f".tmp-{out.name}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    shutil.rmtree(out, ignore_errors=True)
    os.rename(part, out)

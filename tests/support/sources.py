"""The Python files of this repository, parsed."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("envs", "agent", "tasks", "rewards", "training")


@contextmanager
def collector_off() -> Iterator[None]:
    """No garbage collection inside.

    Where a collection in the middle of `ast.parse` runs a finalizer that itself parses (formatting a traceback does),
    Python 3.11 answers "SystemError: AST constructor recursion depth mismatch".
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    with collector_off():
        return ast.parse(path.read_text(encoding="utf-8"), str(path))


def sources(*folders: str) -> list[Path]:
    """The Python files below these folders of the repository, by default the packages."""
    return [path for folder in folders or PACKAGES for path in sorted((ROOT / folder).rglob("*.py"))]

"""Writes the file map of CONTRIBUTING.md: every Python file of the rooms with the first sentence of its docstring.

    make docs

The map stands between the lines `<!-- files -->` and `<!-- /files -->`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
ROOMS = ("envs", "agent", "tasks", "rewards", "training", "benchmarks", "examples")


def summary(path: Path) -> str:
    """The first sentence of a file's docstring, on one line. Raises ValueError where there is none."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{path.relative_to(ROOT)} has no docstring; expected one line that says what the file holds")
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", paragraph)[0]


def file_map() -> str:
    """The map, as Markdown: a list of files for every folder. Empty `__init__.py` files are left out."""
    lines: list[str] = []
    for room in ROOMS:
        for folder in sorted({path.parent for path in (ROOT / room).rglob("*.py")}):
            paths = [path for path in sorted(folder.glob("*.py")) if path.read_text(encoding="utf-8").strip()]
            if paths:
                lines += ["", f"**{folder.relative_to(ROOT)}/**", ""]
            lines += [f"- `{path.name}`: {summary(path)}" for path in paths]
    return "\n".join(lines).strip()


def filled(page: str) -> str:
    """The page with the map between its marks. Raises ValueError where there is not one pair of marks."""
    new, count = re.subn(
        "<!-- files -->.*?<!-- /files -->",
        lambda _: f"<!-- files -->\n{file_map()}\n<!-- /files -->",
        page,
        flags=re.DOTALL,
    )
    if count != 1:
        raise ValueError(f"{PAGE.name}: expected one pair of files marks, found {count}")
    return new


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote the file map of {PAGE.name}")

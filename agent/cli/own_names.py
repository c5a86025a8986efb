"""The names that Ludens is imported by, and who else brings them.

`agent`, `envs`, `tasks`, `rewards` and `training` are common words. Of two packages that install a folder of one name,
pip writes the files of both into one folder; a folder of that name where Python starts is imported instead of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

NAMES = ("agent", "envs", "tasks", "rewards", "training")
DISTRIBUTION = "ludens"
ROOT = Path(__file__).resolve().parents[2]  # the folder that ours lie in


def others() -> dict[str, list[str]]:
    """The other installed distributions that bring a package of one of our names, by that name."""
    found = packages_distributions()
    theirs = {name: sorted({*found.get(name, ())} - {DISTRIBUTION}) for name in NAMES}
    return {name: who for name, who in theirs.items() if who}


def elsewhere(path: Sequence[str] | None = None) -> list[Path]:
    """Modules and packages of our names in the folders of `path` (by default where Python looks, and the current one)
    that are not ours, in order."""
    folders = dict.fromkeys(Path(entry or ".").resolve() for entry in [*(sys.path if path is None else path), "."])
    found = [
        place
        for folder in folders
        if folder != ROOT
        for name in NAMES
        for place in (folder / name, folder / f"{name}.py")
        if _is_imported(place)
    ]
    return [place for place in found if place.resolve().parent != ROOT]


def _is_imported(place: Path) -> bool:
    """Whether Python imports a file or folder: a folder without code is passed over."""
    if place.suffix == ".py":
        return place.is_file()
    return place.is_dir() and any(place.glob("*.py"))

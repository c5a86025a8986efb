"""Where a checkpoint comes from: its parent, the data that it learned from, the recipe and the commit.

A parent is named by the hash of its content. Since the manifest is part of the content, a hash stands for the whole
chain of ancestors, and a copied or renamed checkpoint keeps its children.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANIFEST, WEIGHTS = "manifest.json", "model.safetensors"  # of a checkpoint of small
VLM_MANIFEST = "ludens.json"  # of a fine-tuned vision-language model, beside the model's own files
# A model of the Hugging Face hub has its configuration alone.
_DESCRIPTIONS = (MANIFEST, VLM_MANIFEST, "config.json")
_ROOT = Path(__file__).parents[1]
_GIT_SECONDS = 5.0


@dataclass(frozen=True)
class Parent:
    """The checkpoint that training started from. `hash`: its content hash, "" in manifests of older versions."""

    name: str
    hash: str = ""


@dataclass(frozen=True)
class Data:
    """A folder or suite that a checkpoint learned from, and how many of a `unit` it holds."""

    name: str
    count: int
    unit: str = "frames"


@dataclass(frozen=True)
class Lineage:
    """Where a checkpoint comes from. `recipe`: `recipe_hash` of what it was trained by. `commit`: `git describe` of the
    code. Both are "" where they are not known."""

    parent: Parent | None = None
    data: tuple[Data, ...] = ()
    recipe: str = ""
    commit: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Lineage:
        """The lineage in a manifest. An older manifest has the parent's name alone, or nothing. Raises ValueError."""
        fields: dict[str, Any] = data if isinstance(data, dict) else {}
        parent, sources = fields.get("parent"), fields.get("data", [])
        if isinstance(parent, str):
            parent = {"name": parent}
        try:
            lineage = cls(
                None if parent is None else Parent(**parent),
                tuple(Data(**source) for source in sources),
                fields.get("recipe", ""),
                fields.get("commit", ""),
            )
        except TypeError:
            raise ValueError("parent or data: expected names, hashes and counts") from None
        found = lineage.parent or Parent("")
        texts = [found.name, found.hash, lineage.recipe, lineage.commit]
        texts += [text for source in lineage.data for text in (source.name, source.unit)]
        if not all(isinstance(text, str) for text in texts) or not all(_is_count(d.count) for d in lineage.data):
            raise ValueError("parent, data, recipe or commit: expected names, hashes and counts")
        return lineage


UNKNOWN = Lineage()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def content_hash(folder: Path) -> str:
    """The SHA-256 of a checkpoint's manifest and weights, which decide how it plays. Its README and the judge's
    calibration do not count: they may be written later. Raises OSError where a file is missing or can't be read."""
    descriptions = [folder / name for name in _DESCRIPTIONS if (folder / name).is_file()]
    weights = sorted(file for file in folder.glob("*.safetensors") if file.is_file())
    if not descriptions or not weights:
        raise FileNotFoundError(f"{folder}: no checkpoint there; it has no manifest or no weights")
    digest = hashlib.sha256()
    for path in (descriptions[0], *weights):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def parent_of(folder: Path) -> Parent:
    """A checkpoint, as its children name it. A model that lies in no folder is named by `folder` alone."""
    try:
        return Parent(folder.resolve().name, content_hash(folder))
    except FileNotFoundError:
        return Parent(short_path(folder))


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """The SHA-256 of a recipe, the same for the same values in any order and on any machine. A path counts as its
    `short_path`, other objects as text."""

    def text(value: Any) -> str:
        return short_path(value) if isinstance(value, Path) else str(value)

    return hashlib.sha256(json.dumps(recipe, sort_keys=True, default=text).encode()).hexdigest()


def short_path(path: Path) -> str:
    """The last two names of a path, which say what is there and not on which machine."""
    return "/".join(path.parts[-2:])


def commit() -> str:
    """`git describe` of this code, with "-dirty" where files are changed; "" outside of a clone."""
    if not (_ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--tags"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

"""The family tree of the checkpoints in some folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.checkpoint import CheckpointError
from agent.lineage import MANIFEST, VLM_MANIFEST, Lineage, content_hash
from agent.small.checkpoint import read_manifest
from agent.vlm.checkpoint import Manifest

_DEPTH = 4  # levels of folders that are searched for checkpoints


@dataclass(frozen=True)
class Member:
    """A checkpoint in a family. `depth`: 0 where its parent is not among the others, otherwise one more than the
    parent's. `broken`: why its manifest can't be read, "" where it can."""

    folder: Path
    hash: str
    lineage: Lineage
    trained: Mapping[str, Any]
    depth: int = 0
    broken: str = ""


def find_checkpoints(folders: Iterable[Path], depth: int = _DEPTH) -> list[Path]:
    """The checkpoint folders among `folders` and up to `depth` levels below them, each once, ordered by name."""
    found: dict[Path, Path] = {}
    for top in folders:
        start = len(top.parts)
        for path, inner, files in os.walk(top):
            here = Path(path)
            # a folder with a manifest and weights is a checkpoint and holds no other; hidden ones are being written
            if {MANIFEST, VLM_MANIFEST} & set(files) and any(name.endswith(".safetensors") for name in files):
                found.setdefault(here.resolve(), here)
                inner.clear()
            elif len(here.parts) - start >= depth:
                inner.clear()
            else:
                inner[:] = sorted(name for name in inner if not name.startswith("."))
    return list(found.values())


def family(folders: Sequence[Path]) -> list[Member]:
    """The family tree of some checkpoint folders: every one behind its parent, with its depth in the tree."""
    members = [_member(folder) for folder in folders]
    hashes = {member.hash for member in members if member.hash}
    children: dict[str, list[Member]] = {}
    for member in members:
        parent = member.lineage.parent.hash if member.lineage.parent else ""
        children.setdefault(parent if parent in hashes else "", []).append(member)
    tree: list[Member] = []
    # a hash covers the parent's own, so that there are no circles; copies of one checkpoint share their children
    waiting = [(member, 0) for member in reversed(children.get("", []))]
    while waiting:
        member, depth = waiting.pop()
        tree.append(Member(member.folder, member.hash, member.lineage, member.trained, depth, member.broken))
        waiting += [(child, depth + 1) for child in reversed(children.pop(member.hash, []) if member.hash else [])]
    return tree


def _member(folder: Path) -> Member:
    try:
        if (folder / MANIFEST).is_file():
            small = read_manifest(folder)
            return Member(folder, content_hash(folder), Lineage.from_json(small), small["trained"])
        vlm = Manifest.read(folder)
        return Member(folder, content_hash(folder), vlm.lineage, vlm.trained)
    except (CheckpointError, OSError) as error:
        return Member(folder, "", Lineage(), {}, broken=str(error))

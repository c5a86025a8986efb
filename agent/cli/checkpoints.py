"""How `agent list` and `agent doctor` show checkpoints: as a family tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.family import Member
    from agent.lineage import Lineage

_SHOWN = 12  # characters of a hash


def tree(members: Sequence[Member]) -> str:
    """Two lines for each member; children are indented under their parents."""
    hashes = {member.hash for member in members}
    lines = []
    for member in members:
        indent = "    " * member.depth
        if member.broken:
            lines.append(f"{indent}{member.folder}  broken: {member.broken}")
            continue
        lineage = member.lineage
        told = [f"from {_parent(lineage, hashes)}", _trained(member.trained)]
        told += [f"{source.name}: {source.count:,} {source.unit}" for source in lineage.data]
        told += [
            f"recipe {lineage.recipe[:_SHOWN]}" * bool(lineage.recipe),
            f"commit {lineage.commit}" * bool(lineage.commit),
        ]
        lines += [f"{indent}{member.folder}  {member.hash[:_SHOWN]}", f"{indent}  {'; '.join(filter(None, told))}"]
    return "\n".join(lines)


def facts(member: Member) -> dict[str, Any]:
    """A member as JSON."""
    return {
        "folder": str(member.folder),
        "hash": member.hash,
        **member.lineage.to_json(),
        "trained": dict(member.trained),
        "depth": member.depth,
        "broken": member.broken,
    }


def relatives(folder: Path) -> list[Member]:
    """The ancestors and descendants of a checkpoint, and itself: of those that lie beside it, beside its run's folder,
    or ship with Ludens."""
    from agent.family import family, find_checkpoints
    from agent.small.checkpoint import SHIPPED

    here = folder.resolve()
    tree = family(find_checkpoints([folder, SHIPPED, *find_checkpoints([here.parents[1]], depth=2)]))
    at = next(number for number, member in enumerate(tree) if member.folder.resolve() == here)
    above: list[Member] = []
    for member in reversed(tree[:at]):
        if member.depth < (above or [tree[at]])[-1].depth:
            above.append(member)
    end = next((n for n in range(at + 1, len(tree)) if tree[n].depth <= tree[at].depth), len(tree))
    return [*reversed(above), *tree[at:end]]


def _parent(lineage: Lineage, hashes: set[str]) -> str:
    if lineage.parent is None:
        return "random weights"
    known = lineage.parent.hash[:_SHOWN]
    if known and lineage.parent.hash in hashes:
        return known
    return f"{lineage.parent.name} {known}".strip() + " (not here)"


def _trained(trained: Any) -> str:
    """The stage and frames of the training, as far as the manifest states them."""
    stage, frames = trained.get("stage"), trained.get("frames")
    parts = [str(stage)] if isinstance(stage, str) else []
    if isinstance(frames, int):
        parts.append(f"{frames:,} frames")
    return ", ".join(parts)

"""The self-improvement runs in a folder: their generations, and what judge and truth say of their tries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envs.errors import UserError
from tasks import json_lines
from training.improve.collect import Try
from training.improve.generation import Generation
from training.improve.scoring import Judgement

_REPORT = "report.json"


def runs(root: Path) -> list[dict[str, Any]]:
    """The finished generations of every run under `root`, JSON values, as report.json has them: {"name", "env",
    "suite", "reward", "generations"}. A report that can't be read is left out."""
    found = []
    for path in sorted(root.rglob(_REPORT)):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            recipe, generations = report["recipe"], report["generations"]
            about = {name: str(recipe[name]) for name in ("env", "suite", "reward")}
            kept = [_summary(one) for one in generations]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # another tool's report
        name = path.parent.relative_to(root).as_posix() if path.parent != root else root.resolve().name
        found.append({"name": name, **about, "generations": kept})
    return found


def _summary(one: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a generation."""
    names = ("generation", "tried", "judged", "true", "gap", "learned_from", "promoted", "why", "minutes")
    suites = {name: {side: row[side] for side in ("parent", "candidate")}
              for group in ("held_out", "old") for name, row in one[group].items()}  # fmt: skip
    return {**{name: one[name] for name in names}, "suites": suites}


def audited(root: Path) -> dict[Path, dict[str, Any]]:
    """What is known of the tries of the generations under `root`, by the episode's path: {"policy", "true", "why",
    "judged"}. A generation that is not scored yet is left out."""
    found: dict[Path, dict[str, Any]] = {}
    for folder in _generations(root):
        generation = Generation(folder.parent, int(folder.name.removeprefix("generation-")))
        try:
            tries = [Try.from_json(one) for one in generation.result("collect")["tries"]]
            scores = generation.result("score")["scores"]
            truth = {row["id"]: row for row in json_lines.read(generation.file("audit.jsonl"))}
        except (UserError, KeyError, TypeError):
            continue
        for one in tries:
            said = Judgement.from_json(scores[one.id]) if one.id in scores else None
            path = (generation.file("episodes") / one.episode).resolve()
            found[path] = {"policy": f"generation {generation.number}", "judged": _judged(said)}
            if one.id in truth:
                found[path] |= {"true": truth[one.id].get("success"), "why": truth[one.id].get("why")}
    return found


def _judged(said: Judgement | None) -> dict[str, Any] | None:
    if said is None:
        return None
    return {"reward": "the run's reward", "value": said.value, "success": said.claimed, "why": said.why}


def _generations(root: Path) -> Iterator[Path]:
    """The folders of generations under `root`, itself included."""
    top = root.resolve()
    for folder in [top, *sorted(top.rglob("generation-*"))]:
        if folder.name.removeprefix("generation-").isdecimal() and folder.is_dir():
            yield folder

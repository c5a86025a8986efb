"""The model card of a checkpoint: its text, and the metadata that the hub reads, results among them (model-index)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.lineage import Lineage, content_hash
from envs.errors import UserError

README = "README.md"
# The figure of a suite by its name in the results of `agent eval`, and what it counts over.
METRICS = {"success": "success rate", "auroc": "AUROC", "exact": "exact answers", "achievable": "achievable proposals"}
_COUNTS = ("episodes", "questions", "proposals")


def results_in(files: Sequence[Path], folder: Path) -> list[dict[str, Any]]:
    """The results in files of `agent eval --json`: one in each, or several by name. Raises UserError for a file that
    holds none, or those of another checkpoint."""
    found = []
    for file in files:
        try:
            data = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"--results {file}: {getattr(error, 'strerror', None) or error}") from error
        several = [data] if isinstance(data, dict) and "suite" in data else getattr(data, "values", list)()
        mine = [one for one in several if isinstance(one, dict) and isinstance(one.get("suite"), str) and _metric(one)]
        if not mine:
            raise UserError(f"--results {file}: no results there; make them with 'agent eval --suite NAME --json FILE'")
        for result in mine:
            _check(result, folder, file)
        found += mine
    return found


def card(
    folder: Path, *, tags: Sequence[str], task: str, results: Sequence[Mapping[str, Any]], license: str | None
) -> str:
    """The text of README.md: that of the folder, or one made of its manifest, behind the metadata."""
    from huggingface_hub import ModelCard, ModelCardData

    file = folder / README
    old = ModelCard(file.read_text(), ignore_metadata_errors=True) if file.is_file() else None
    kept: dict[str, Any] = old.data.to_dict() if old else {}  # type: ignore[no-untyped-call]
    license = license or kept.get("license") or _said_license(old.text if old else "")
    data = ModelCardData(
        model_name=folder.resolve().name if results else None,
        eval_results=[_evaluated(result, task) for result in results] or None,
        **{**kept, "library_name": "ludens", "pipeline_tag": task, "license": license, "tags": ["ludens", *tags]},
    )
    return f"---\n{data.to_yaml()}\n---\n\n{(old.text if old else _made(folder)).strip()}\n"


def _metric(result: Mapping[str, Any]) -> str | None:
    return next((name for name in METRICS if isinstance(result.get(name), float | int)), None)


def _check(result: Mapping[str, Any], folder: Path, file: Path) -> None:
    """Results name the policy that they are of: where it is a folder that is still there, it has to be this one."""
    named = Path(str(result.get("policy", "")).removeprefix("hf:")).expanduser()
    try:
        other = named.is_dir() and content_hash(named) != content_hash(folder)
    except OSError:
        return
    if other:
        raise UserError(f"--results {file}: these are of {named}, another checkpoint than {folder}")


def _evaluated(result: Mapping[str, Any], task: str) -> Any:
    from huggingface_hub import EvalResult

    name = _metric(result)
    assert name is not None
    count = next((result[key] for key in _COUNTS if key in result), None)
    how = {"seed": result.get("seed"), "think": result.get("think"), "count": count}
    interval = result.get("ci", result.get("auroc_ci"))
    return EvalResult(
        task_type=task, task_name="instructions in worlds",
        dataset_type=f"ludens/{result['suite']}", dataset_name=str(result["suite"]),
        dataset_args={key: value for key, value in how.items() if value is not None},
        metric_type=name, metric_name=METRICS[name], metric_value=float(result[name]),
        metric_args=None if interval is None else {"confidence_interval_95": [float(end) for end in interval]},
    )  # fmt: skip


def _said_license(text: str) -> str | None:
    return "apache-2.0" if "Apache-2.0" in text else None


def _made(folder: Path) -> str:
    """A card for a checkpoint that has none: what its manifest says."""
    manifests = [folder / name for name in ("manifest.json", "ludens.json") if (folder / name).is_file()]
    lines = [f"# {folder.resolve().name}", "", "A checkpoint of Ludens."]
    if manifests:
        lineage = Lineage.from_json(json.loads(manifests[0].read_text()))
        lines += ["", "## Where it comes from", ""]
        lines.append(f"- Parent: {lineage.parent.name} {lineage.parent.hash[:12]}".rstrip() if lineage.parent else
                     "- Parent: random weights")  # fmt: skip
        lines += [f"- Data: {data.name}, {data.count:,} {data.unit}" for data in lineage.data]
        lines += [f"- Commit: {lineage.commit}"] * bool(lineage.commit)
    return "\n".join(lines)

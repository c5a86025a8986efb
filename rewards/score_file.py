"""Scores on disk: one JSON-lines file beside the episodes, a line for each episode and reward.

A line is {"episode": "doom-room-0-000003", "reward": "judge:small", "value": 97.2, "success": true, "why": "..."}, or
has "failure" with the reason in place of the last three. A model that looked adds "saw" and "size", and a reward that
tells how far an episode came "progress", see Score.
`episode` is the folder, relative to the file's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rewards.score import Failure, Score
from tasks import json_lines

SCORES = "scores.jsonl"


def save_scores(folder: Path, reward: str, scores: Mapping[str, Score | Failure]) -> Path:
    """Write scores into `folder`/scores.jsonl, which is its path.

    Earlier scores of the same episodes by the same reward are replaced; all others stay. Raises UserError.
    """
    path = folder / SCORES
    kept = json_lines.read(path) if path.exists() else []
    rows = [row for row in kept if row.get("reward") != reward or row.get("episode") not in scores]
    rows += [_row(episode, reward, result) for episode, result in scores.items()]
    json_lines.write(path, sorted(rows, key=lambda row: (str(row.get("episode")), str(row.get("reward")))))
    return path


def load_scores(folder: Path, reward: str) -> dict[str, Score | Failure]:
    """The scores by a reward in `folder`/scores.jsonl, by episode; empty where there is no such file.

    Raises JsonLinesError, a ValueError, for a file that is damaged.
    """
    path = folder / SCORES
    if not path.exists():
        return {}
    rows = [row for row in json_lines.read(path) if row.get("reward") == reward]
    try:
        return {row["episode"]: _result(row) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise json_lines.JsonLinesError(f"{path}: a line is no score: {error!r}") from error


def _row(episode: str, reward: str, result: Score | Failure) -> dict[str, Any]:
    if isinstance(result, Failure):
        return {"episode": episode, "reward": reward, "failure": result.why}
    said: dict[str, Any] = {"value": result.value, "success": result.success, "why": result.why}
    if result.size is not None:
        said |= {"saw": list(result.saw), "size": list(result.size)}
    if result.progress is not None:
        said["progress"] = result.progress
    return {"episode": episode, "reward": reward, **said}


def _result(row: Mapping[str, Any]) -> Score | Failure:
    if "failure" in row:
        return Failure(row["failure"])
    height, width = row.get("size") or (0, 0)
    size = (int(height), int(width)) if height else None
    return Score(
        row["value"], row["success"], row["why"], row["reward"], tuple(row.get("saw", ())), size, row.get("progress")
    )

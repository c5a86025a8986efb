"""Clips for the report: the same goal tried in the first generation and in the last, side by side."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs.errors import UserError
from tasks import json_lines
from tasks.goal_text import goal_of
from training.data.episodes import EpisodeError, read_episode
from training.data.footage import RecordedFootage
from training.data.video import VideoWriter
from training.improve.collect import Try
from training.improve.generation import Generation
from training.improve.scoring import Judgement

MOST = 3  # goals that are shown
_LONGEST = 120  # decisions of a clip
_PER_SECOND = 10.0  # decisions that are shown in a second, about real time


@dataclass(frozen=True)
class Clip:
    """A try as a video. `video`: a data URL. `judged` and `true`: whether it succeeded; None if nobody knows."""

    instruction: str
    video: str
    judged: bool | None
    true: bool | None


@dataclass(frozen=True)
class _Seen:
    """A try with what is known of it."""

    one: Try
    folder: Path
    judged: bool | None
    true: bool | None


def side_by_side(run: Path, env: str, first: int, last: int) -> list[tuple[Clip, Clip]]:
    """Tries of the same goals in two generations of a run, at most MOST; none where a generation has no files any more.

    Goals that the last generation does and the first one does not come first, then those that neither does: the tries
    are the first ones of a goal, not the best.
    """
    sides = [_tries(Generation(run, number), env) for number in (first, last)]
    shared = [goal for goal in sides[1] if goal in sides[0]] if first != last else []
    shared.sort(key=lambda goal: _order(sides[0][goal], sides[1][goal]))
    found: list[tuple[Clip, Clip]] = []
    for goal in shared:
        try:
            found.append((_clip(sides[0][goal]), _clip(sides[1][goal])))
        except (EpisodeError, OSError):  # set aside, or taken away to save room
            continue
        if len(found) == MOST:
            break
    return found


def _order(before: _Seen, after: _Seen) -> tuple[bool, bool]:
    return not (after.judged and not before.judged), bool(before.judged)


def _tries(generation: Generation, env: str) -> dict[str, _Seen]:
    """The first try of every goal of a generation."""
    try:
        rows: Sequence[Mapping[str, Any]] = generation.result("collect")["tries"]
        scores = generation.result("score")["scores"]
        truth = {row["id"]: row["success"] for row in json_lines.read(generation.file("audit.jsonl"))}
    except UserError:
        return {}
    found: dict[str, _Seen] = {}
    for one in map(Try.from_json, map(dict, rows)):
        folder = generation.file("episodes") / one.episode
        judged = Judgement.from_json(scores[one.id]).claimed
        found.setdefault(goal_of(env, one.instruction).text, _Seen(one, folder, judged, truth.get(one.id)))
    return found


def _clip(seen: _Seen) -> Clip:
    video = base64.b64encode(encode(seen.folder)).decode()
    return Clip(seen.one.instruction, f"data:video/mp4;base64,{video}", seen.judged, seen.true)


def encode(episode: Path) -> bytes:
    """An episode as an MP4 that browsers play, a frame for each decision. Raises EpisodeError and OSError."""
    frames = RecordedFootage(read_episode(episode)).decision_frames()
    frames = frames[np.linspace(0, len(frames) - 1, min(len(frames), _LONGEST)).round().astype(int)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        height, width = frames.shape[1:3]
        writer = VideoWriter(path, (height, width), _PER_SECOND, "compact")
        for number, frame in enumerate(frames):
            writer.add(frame, number)
        writer.close(durable=False)
        return path.read_bytes()

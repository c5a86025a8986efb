"""The zoo: attacks on rewards as a folder of pictures that anybody can score a judge on.

`cases.jsonl` has a line of JSON for each case:

    kind         what it is: "success", "plain", an attack of training.evaluation.reward_attacks, or "found: REWARD"
    instruction  what the player was told; `world` and `verb` say where and what kind of thing that is
    success      whether the task was done, by ground truth
    decisions    how many decisions the player took
    frames       lossless WebP pictures of the folder, oldest first: the first frame and those 12, 8, 5, 3, 2, 1 and 0
                 decisions before the end, as far as there are so many
    at           before which decision each frame was seen; after the last one it is `decisions`
    episode      what it is made of: cases of the same episode belong together

Cases share their pictures, which are named by what is in them. A judge is given `instruction` and `frames`.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from agent.small.judge_view import picks
from envs.errors import UserError
from envs.files import write_whole
from tasks.task import Task
from training.evaluation.reward_cases import Case, Frames

SHIPPED = Path(__file__).with_name("hacks")
CASES = "cases.jsonl"
_LONGEST = 2000  # decisions, of a case that is read
_LARGEST = 2**22  # pixels, of a picture that is read


def add_to_zoo(folder: Path, cases: Sequence[Case]) -> None:
    """Write cases into a zoo, behind those that are there; one that is there is not written twice."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = (folder / CASES).read_text().splitlines() if (folder / CASES).exists() else []
    for case in cases:
        at = list(dict.fromkeys(picks(len(case.frames))))
        lines.append(json.dumps({
            "kind": case.kind, "instruction": case.task.instruction, "world": case.task.world, "verb": case.task.verb,
            "success": case.success, "decisions": len(case.frames) - 1,
            "frames": [_picture(folder, case.frames[i]) for i in at], "at": at, "episode": case.episode,
        }))  # fmt: skip
    write_whole(folder / CASES, "\n".join(dict.fromkeys(lines)) + "\n")


def load_zoo(folder: Path) -> list[Case]:
    """Read cases. Between two frames that are there the older one stands. Raises UserError for a folder that holds none
    or a damaged one."""
    try:
        return [_case(folder, json.loads(line)) for line in (folder / CASES).read_text().splitlines()]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: no zoo of attacks: {error}; agent rewards attack --episodes DIR --save ZOO makes one"
        ) from error


def _picture(folder: Path, frame: Frames) -> str:
    """Write a frame, if it isn't there; its name."""
    name = f"{hashlib.sha1(frame.tobytes()).hexdigest()[:12]}.webp"
    if not (folder / name).exists():
        data = io.BytesIO()
        Image.fromarray(frame).save(data, "WEBP", lossless=True, method=6)
        write_whole(folder / name, data.getvalue())
    return name


def _case(folder: Path, line: dict[str, Any]) -> Case:
    """A case of a line. Raises ValueError where it doesn't hold together."""
    at, names, decisions = [int(i) for i in line["at"]], [str(name) for name in line["frames"]], int(line["decisions"])
    if not 0 <= decisions <= _LONGEST:
        raise ValueError(f"decisions: expected 0 to {_LONGEST}, got {decisions}")
    if len(at) != len(names) or at != sorted(set(at)) or at[:1] != [0] or at[-1] != decisions:
        raise ValueError(f"at: expected a number for each of {len(names)} frames, from 0 up to {decisions}, got {at}")
    task = Task(names[-1], str(line["instruction"]), str(line["world"]), verb=str(line["verb"]))
    shown = np.stack([_frame(folder, name) for name in names])
    frames = np.repeat(shown, np.diff([*at, decisions + 1]), axis=0)
    return Case(task, frames, bool(line["success"]), str(line["kind"]), str(line["episode"]))


def _frame(folder: Path, name: str) -> Frames:
    if Path(name).name != name:
        raise ValueError(f"frames: expected the name of a file in the folder, got {name!r}")
    with Image.open(folder / name) as picture:
        if picture.width * picture.height > _LARGEST:
            raise ValueError(f"{name}: {picture.width}x{picture.height} pixels are too many")
        return np.asarray(picture.convert("RGB"))

"""Files, columns and types of a LeRobotDataset v3, as this project writes and reads it.

Source: the reader of lerobot 0.6 (`lerobot.datasets`). Columns that LeRobot has no name for begin with `ludens.`;
LeRobot hands them to whoever trains, and its policies leave them alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from envs.action_vector import COLUMNS

CODEBASE_VERSION = "v3.0"
ROBOT = "keyboard_mouse"

INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
KEPT = "ludens"  # files that only `load` reads, each named by the SHA-256 of its contents

FILES_IN_CHUNK = 1000
DATA_MEGABYTES, VIDEO_MEGABYTES = 100, 200
# LeRobot compares times as float32, within 1e-4 s. Beyond 1,024 s two neighbours are further apart than that.
VIDEO_SECONDS = 1000.0

PIXELS = "observation.images.pixels"
STATE = "observation.state"  # what the hands did in the tick before: most policies of LeRobot want a state
ACTION = "action"
REWARD, DONE, SUCCESS = "next.reward", "next.done", "next.success"
PERSISTENT, EVENTS = "language_persistent", "language_events"
HANDS = ("look.yaw", "look.pitch", "pointer.x", "pointer.y", "wheel")  # what an action has that is no key

# Beside those of KEPT: what LeRobot's columns don't say of a step. The types are those of training.data.episode_schema.
STEP_COLUMNS: Mapping[str, str] = {
    "ludens.action_text": "string",  # at the row that a decision was made on: what was done until the next one
    "ludens.actor": "string",
    "ludens.thought": "string",
    "ludens.speech": "string",
    "ludens.memory": "string",  # that counted at this row
    "ludens.tokens": "string",  # numbers with spaces between them; "" where none are recorded
    "ludens.frame": "int32",
    "ludens.decision": "int32",
    "ludens.asked": "int32",
    "ludens.starved": "bool",
    "ludens.time": "float64",  # seconds since 1970; 0 where it is not recorded
    "ludens.episode": "string",  # at the first row of an episode: JSON of what no other column says of it
}
EXACT = "ludens.hands"  # HANDS as they were recorded; `action` has them as float32
EPISODE = "ludens.episode"
NAME, EPISODE_SUCCESS = "ludens.name", "ludens.success"  # in meta/episodes, to choose episodes by

_SAY = pa.struct([("name", pa.string()), ("arguments", pa.struct([("text", pa.string())]))])
_CALLS = pa.list_(pa.struct([("type", pa.string()), ("function", _SAY)]))
_EVENT = [("role", pa.string()), ("content", pa.string()), ("style", pa.string())]
_END = [("camera", pa.string()), ("tool_calls", _CALLS)]
_LANGUAGE = {
    EVENTS: pa.list_(pa.struct([*_EVENT, *_END])),
    PERSISTENT: pa.list_(pa.struct([*_EVENT, ("timestamp", pa.float32()), *_END])),
}


def features(
    size: tuple[int, int], fps: int, judges: Sequence[str], *, pix_fmt: str, language: bool
) -> dict[str, dict[str, Any]]:
    """The `features` of info.json. `size`: (height, width) of the video's frames. `judges`: the rewards that scored."""
    height, width = size
    video = {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": pix_fmt,
        "video.fps": fps,
        "video.channels": 3,
        "has_audio": False,
        "is_depth_map": False,
    }
    found: dict[str, dict[str, Any]] = {
        PIXELS: {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": video,
        },
        STATE: _feature("float32", COLUMNS),
        ACTION: _feature("float32", COLUMNS),
        REWARD: _feature("float64"),
        DONE: _feature("bool"),
        SUCCESS: _feature("bool"),
    }
    for judge in judges:
        found[score_column(judge)] = _feature("float32")
        found[verdict_column(judge)] = _feature("bool")
    if language:
        found |= {name: _feature("language") for name in (PERSISTENT, EVENTS)}
    found |= {name: _feature(dtype) for name, dtype in STEP_COLUMNS.items()}
    found[EXACT] = _feature("float64", HANDS)
    found["timestamp"] = _feature("float32")
    return found | {name: _feature("int64") for name in ("frame_index", "episode_index", "index", "task_index")}


def _feature(dtype: str, names: Sequence[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [len(names) if names else 1], "names": list(names) if names else None}


def score_column(judge: str) -> str:
    """The column of a reward's scores, 0 to 100; -1 where it gave none."""
    return f"judge.{_plain(judge)}.value"


def verdict_column(judge: str) -> str:
    """The column that says whether a reward calls an episode a success; false where it gave no score."""
    return f"judge.{_plain(judge)}.success"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)


def schema(found: Mapping[str, Mapping[str, Any]]) -> pa.Schema:
    """The columns of the data files for the features of info.json; videos have none."""
    return pa.schema([(name, _type(name, it)) for name, it in found.items() if it["dtype"] != "video"])


def _type(name: str, feature: Mapping[str, Any]) -> pa.DataType:
    dtype, (length,) = feature["dtype"], feature["shape"]
    if dtype == "language":
        return _LANGUAGE[name]
    plain = pa.bool_() if dtype == "bool" else pa.type_for_alias(dtype)
    return plain if length == 1 else pa.list_(plain, length)


def next_file(chunk: int, file: int) -> tuple[int, int]:
    """The numbers of the file after this one."""
    return (chunk, file + 1) if file + 1 < FILES_IN_CHUNK else (chunk + 1, 0)

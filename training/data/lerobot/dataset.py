"""`Dataset`: a LeRobotDataset v3 on disk, of whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from envs.action_vector import COLUMNS
from envs.errors import UserError
from training.data.lerobot import layout

_MINE = "the names of keys, buttons and looks that envs.action_vector.COLUMNS has, such as key.KeyW"


@dataclass(frozen=True)
class Dataset:
    """`info`: what meta/info.json says. `episodes`: the rows of meta/episodes, in order. `tasks`: by number."""

    root: Path
    info: Mapping[str, Any] = field(repr=False)
    episodes: tuple[Mapping[str, Any], ...] = field(repr=False)
    tasks: tuple[str, ...] = field(repr=False)

    @property
    def fps(self) -> float:
        return float(self.info["fps"])

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """For each number of an action, which of envs.action_vector.COLUMNS it is."""
        names = _flat(self.info["features"].get(layout.ACTION, {}).get("names"))
        strange = [name for name in names if name not in COLUMNS]
        if strange or not names:
            shown = ", ".join(strange[:3]) or "without names"
            raise UserError(f"{self.root}: its actions are not of keyboard and mouse ({shown}); expected {_MINE}")
        return tuple(COLUMNS.index(name) for name in names)

    @cached_property
    def camera(self) -> str:
        """The video that is what the player saw: ours, or the only one."""
        videos = [name for name, it in self.info["features"].items() if it.get("dtype") == "video"]
        mine = [name for name in videos if name == layout.PIXELS] or videos
        if len(mine) != 1:
            raise UserError(f"{self.root}: expected one video, got {', '.join(mine) or 'none'}")
        return str(mine[0])

    @property
    def lossless(self) -> bool:
        """Whether frames are as they were exported."""
        return str((self.info["features"][self.camera].get("info") or {}).get("video.pix_fmt")) == "gbrp"

    def rows(self, episode: Mapping[str, Any]) -> pa.Table:
        """The rows of an episode. Raises ValueError where the file lacks them."""
        path = self._inside(
            str(self.info["data_path"]).format(
                chunk_index=episode["data/chunk_index"], file_index=episode["data/file_index"]
            )
        )
        number = int(episode["episode_index"])
        try:
            found = pq.read_table(path, filters=pc.field("episode_index") == number)
        except (OSError, pa.ArrowException) as error:
            raise ValueError(f"{path.relative_to(self.root)} can't be read: {error}") from error
        if len(found) != int(episode["length"]):
            raise ValueError(f"{path.relative_to(self.root)} has {len(found)} rows of it, not {episode['length']}")
        return found

    def _inside(self, path: str) -> Path:
        """A file of the dataset. Raises ValueError for one that is not in its folder."""
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ValueError(f"{path} is not in the folder of the dataset")
        return self.root / path

    def video(self, episode: Mapping[str, Any]) -> tuple[Path, float]:
        """The video of an episode, and the second at which it begins there."""
        said = {
            name: episode[f"videos/{self.camera}/{name}"] for name in ("chunk_index", "file_index", "from_timestamp")
        }
        path = str(self.info["video_path"]).format(
            video_key=self.camera, chunk_index=said["chunk_index"], file_index=said["file_index"]
        )
        return self._inside(path), float(said["from_timestamp"])


def _flat(names: Any) -> list[str]:
    """The names of an action's numbers, which LeRobot has as a list, or as lists by the part of a robot."""
    lists = list(names.values()) if isinstance(names, Mapping) else [names]
    return [str(name) for one in lists for name in (one if isinstance(one, Sequence) else ())]


def open_dataset(root: Path) -> Dataset:
    """The dataset in the folder `root`. Raises UserError where it is none, or of another version."""
    try:
        info = json.loads((root / layout.INFO).read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        if not version.startswith("v3."):
            raise UserError(
                f"{root} has the version {version}; expected v3.0. Convert it: "
                f"python -m lerobot.scripts.convert_dataset_v21_to_v30 --repo-id=NAME --root={root}"
            )
        wanted = {"fps", "features", "data_path", "video_path"} - info.keys()
        if wanted or not float(info["fps"]) > 0:
            raise ValueError(f"it says no {min(wanted, default='rate')}")
        tasks = pq.read_table(root / layout.TASKS).to_pylist()
        named = sorted(
            (int(row["task_index"]), str(row.get("task", row.get("__index_level_0__", "")))) for row in tasks
        )
        files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
        episodes = [row for path in files for row in _without_statistics(path).to_pylist()]
    except FileNotFoundError as error:
        raise UserError(f"{root} is no LeRobotDataset: {error.filename} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
        raise UserError(f"{root} can't be read as a LeRobotDataset: {error}") from error
    return Dataset(root, info, tuple(episodes), tuple(name for _, name in named))


def _without_statistics(path: Path) -> pa.Table:
    names = [name for name in pq.read_schema(path).names if not name.startswith("stats/")]
    return pq.read_table(path, columns=names)

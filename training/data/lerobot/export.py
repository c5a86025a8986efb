"""`export`: recorded episodes as a LeRobotDataset v3."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from envs.errors import UserError
from envs.files import disk, read_regular
from rewards.score import Failure, Score
from rewards.score_file import SCORES, load_scores
from tasks import json_lines
from training.data.episode_schema import EXTRAS
from training.data.episodes import DamagedEpisodeError, Episode, find_episodes, read_episode
from training.data.lerobot import layout, statistics
from training.data.lerobot.files import DataFiles, EpisodeFiles, VideoFiles
from training.data.lerobot.pictures import Coding, even, pixel_format
from training.data.lerobot.rows import Columns, step_columns, table
from training.data.looks import LOOKS

Scores = Mapping[str, Score | Failure | None]


@dataclass(frozen=True)
class Source:
    """A recorded episode to export. `name`: its folder below the root that it was found under, and unique. `scores`: by
    reward."""

    path: Path
    name: str
    scores: Mapping[str, Score | Failure]


@dataclass
class Exported:
    """What an export wrote. `skipped`: why, by the path of the episode. `notes`: what a person should know."""

    out: Path
    fps: int = 0
    episodes: int = 0
    frames: int = 0
    tasks: int = 0
    bytes: int = 0
    judges: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def sources(roots: Sequence[Path]) -> list[Source]:
    """The episodes under `roots`, with their scores. Raises UserError where there is none."""
    found: list[Source] = []
    taken: set[str] = set()
    for root in roots:
        for path in find_episodes(root):
            name = root.resolve().name if path == root else path.relative_to(root).as_posix().replace("/", "--")
            unique = name
            while unique in taken:
                unique = f"{unique}-again"
            taken.add(unique)
            found.append(Source(path, unique, dict(_scores(path, root))))
    if not found:
        raise UserError(f"no episode under {', '.join(map(str, roots))}: make some with agent record --out DIR")
    return found


def _scores(path: Path, root: Path) -> Iterator[tuple[str, Score | Failure]]:
    """What rewards said of an episode: scores.jsonl lies in a folder above it."""
    path, root = path.resolve(), root.resolve()
    for folder in path.parents:
        if (folder / SCORES).is_file():
            rewards = sorted({str(row.get("reward")) for row in json_lines.read(folder / SCORES)})
            for reward in rewards:
                score = load_scores(folder, reward).get(path.relative_to(folder).as_posix())
                if score is not None:
                    yield reward, score
        if folder in (root, root.parent):
            return


def export(
    episodes: Sequence[Source],
    out: Path,
    *,
    coding: Coding = "h264",
    language: bool = True,
    successes: bool = False,
    on_episode: Callable[[], None] = lambda: None,
) -> Exported:
    """Write episodes as a LeRobotDataset v3 into the new folder `out`; it has that name when it is whole.

    `coding`: how frames are kept. `language`: whether the language columns are there, which lerobot has since 0.6 and
    older versions can't load. `successes`: whether those alone are written that are known to succeed. An episode that
    is damaged or empty is skipped. Raises UserError where `out` exists, the episodes are not of one frame size and tick
    rate, or none is left.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; name another --out, or remove it")
    folder = out.parent / f".export-{out.name}-{uuid.uuid4().hex[:8]}"  # no name that `repair` looks for
    with disk(out.parent):
        try:
            writer = _Writer(folder, out, episodes, coding, language, successes)
            for source in episodes:
                writer.add(source)
                on_episode()
            exported = writer.finish()
            folder.rename(out)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return exported


class _Writer:
    """Writes a dataset episode by episode. The first whole episode decides on frame size and rate."""

    def __init__(
        self,
        folder: Path,
        out: Path,
        episodes: Sequence[Source],
        coding: Coding,
        language: bool,
        successes: bool,
    ) -> None:
        self._folder, self._coding, self._language, self._successes = folder, coding, language, successes
        self._judges = sorted({reward for source in episodes for reward in source.scores})
        self._done = Exported(out, judges=tuple(self._judges))
        self._tasks: dict[str, int] = {}
        self._first: Episode | None = None
        self._episodes = EpisodeFiles(folder)
        self._stats: dict[str, list[Mapping[str, statistics.Numbers]]] = {}
        self._pixels = statistics.PixelCounts()

    def add(self, source: Source) -> None:
        try:
            episode = read_episode(source.path)
            episode.verify()
            why_not = self._why_not(episode)
            if why_not:
                self._done.skipped[str(source.path)] = why_not
                return
            frames, actions = episode.frames(), episode.actions()
        except DamagedEpisodeError as error:
            self._done.skipped[str(source.path)] = str(error)
            return
        assert len(actions) == len(episode.steps)
        if self._first is None:
            self._begin(episode)
        self._check(episode)
        self._add(source, episode, frames)

    def _why_not(self, episode: Episode) -> str:
        """Why an episode is not exported; empty if it is."""
        if not len(episode.steps) or not episode.meta["frames"]:
            return "it has no tick or no frame"
        return "" if episode.success or not self._successes else "it is not known to succeed"

    def _add(self, source: Source, episode: Episode, frames: npt.NDArray[np.uint8]) -> None:
        length, index, begin = len(episode.steps), self._done.episodes, self._done.frames
        shown = np.maximum.accumulate(episode.steps["frame"].to_numpy())
        instructions = episode.steps["instruction"].to_pylist()
        for told in instructions:
            self._tasks.setdefault(told, len(self._tasks))
        columns = step_columns(episode, self._done.fps, {judge: source.scores.get(judge) for judge in self._judges})
        columns |= {
            "episode_index": np.full(length, index),
            "index": np.arange(begin, begin + length),
            "task_index": [self._tasks[told] for told in instructions],
            layout.EPISODE: [self._about(source.name, episode, frames, int(shown[-1]))] + [""] * (length - 1),
        }
        stats = self._count(columns, frames)
        self._episodes.add(
            {
                "episode_index": index,
                "tasks": list(dict.fromkeys(instructions)),
                "length": length,
                "dataset_from_index": begin,
                "dataset_to_index": begin + length,
                **self._data.add(table(columns, self._schema)),
                **self._video.add(frames, np.maximum(shown, 0)),
                layout.NAME: source.name,
                layout.EPISODE_SUCCESS: episode.success,
                **{f"stats/{name}/{key}": it for name, one in stats.items() for key, it in one.items()},
            }
        )
        self._done.episodes += 1
        self._done.frames += length

    def _count(self, columns: Columns, frames: npt.NDArray[np.uint8]) -> dict[str, statistics.Stats]:
        """The statistics of an episode, which are also added to those of the whole."""
        stats = {name: statistics.of_numbers(np.asarray(columns[name])) for name in self._counted}
        for name, found in stats.items():
            self._stats.setdefault(name, []).append(found)
        pixels = statistics.PixelCounts()
        for frame in frames:
            pixels.add(frame)
        self._pixels.join(pixels)
        stats[layout.PIXELS] = pixels.stats()
        return {name: statistics.plain(one) for name, one in stats.items()}

    def _begin(self, first: Episode) -> None:
        self._first = first
        self._done.fps = fps = max(1, round(first.tick_hz))
        if fps != first.tick_hz:
            self._done.notes.append(f"the world has {first.tick_hz:g} ticks a second; the dataset says {fps} fps")
        size = even((first.meta["frame_size"][0], first.meta["frame_size"][1]))
        self._features = layout.features(
            size, fps, self._judges, pix_fmt=pixel_format(self._coding), language=self._language
        )
        self._schema = layout.schema(self._features)
        self._counted = [
            name for name, it in self._features.items() if it["dtype"] not in ("video", "string", "language")
        ]
        self._data = DataFiles(self._folder)
        self._video = VideoFiles(self._folder, size, fps, self._coding)

    def _check(self, episode: Episode) -> None:
        assert self._first is not None
        for name, what in (("frame_size", "frames of {} pixels"), ("tick_hz", "{} ticks a second")):
            mine, first = episode.meta[name], self._first.meta[name]
            if mine != first:
                raise UserError(
                    f"{episode.path} has {what.format(mine)}, {self._first.path} has {first}: a dataset has one kind; "
                    "export each by itself"
                )

    def _about(self, name: str, episode: Episode, frames: npt.NDArray[np.uint8], shown: int) -> str:
        """JSON: the name, what episode.json says, and the names of the files that hold what no column does."""
        kept = {
            name: self._keep(read_regular(episode.path / name))
            for name in (EXTRAS, LOOKS)
            if name in episode.meta["checksums"]
        }
        if len(frames) > shown + 1:  # what was seen after the last tick
            png = BytesIO()
            Image.fromarray(frames[-1]).save(png, "png", compress_level=1)
            kept["frame"] = self._keep(png.getvalue())
        meta = {name: value for name, value in episode.meta.items() if name != "checksums"}
        return json.dumps({"name": name, "meta": meta, "kept": kept}, ensure_ascii=False)

    def _keep(self, data: bytes) -> str:
        name = sha256(data).hexdigest()
        path = self._folder / layout.KEPT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return name

    def finish(self) -> Exported:
        if not self._done.episodes:
            why = next(iter(self._done.skipped.values()), "there is none")
            raise UserError(f"no episode can be exported: {why}")
        self._data.close()
        self._video.close()
        self._episodes.close()
        (self._folder / "meta").mkdir(exist_ok=True)
        _write_tasks(self._folder / layout.TASKS, list(self._tasks))
        stats = {name: statistics.plain(statistics.combined(found)) for name, found in self._stats.items()}
        stats[layout.PIXELS] = statistics.plain(self._pixels.stats())
        _write_json(self._folder / layout.STATS, stats)
        self._done.tasks = len(self._tasks)
        _write_json(self._folder / layout.INFO, self._info())
        self._done.bytes = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        return self._done

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": layout.CODEBASE_VERSION,
            "fps": self._done.fps,
            "features": self._features,
            "total_episodes": self._done.episodes,
            "total_frames": self._done.frames,
            "total_tasks": self._done.tasks,
            "chunks_size": layout.FILES_IN_CHUNK,
            "data_files_size_in_mb": layout.DATA_MEGABYTES,
            "video_files_size_in_mb": layout.VIDEO_MEGABYTES,
            "data_path": layout.DATA_PATH,
            "video_path": layout.VIDEO_PATH,
            "robot_type": layout.ROBOT,
            "splits": {"train": f"0:{self._done.episodes}"},
        }


def _write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """The instructions, each at the row of its number; `pandas` makes them the index, as LeRobot wants them."""
    found = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks, pa.string())})
    about = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {**about, "name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    index = {**about, "name": None, "field_name": None}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [index],
        "columns": [number, about],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    pq.write_table(found.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")

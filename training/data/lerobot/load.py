"""`load`: the episodes of a LeRobotDataset v3 as episodes of ours.

What `export` wrote comes back as it was: actions, words, rewards, outcomes, annotations, times. Frames come back as
they are in the dataset's video: exactly where it is lossless, else as H.264 left them. A dataset whose actions have our
names is read as well if somebody else wrote it, or if LeRobot's tools cut or joined it.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from envs.action import Action
from envs.action_vector import COLUMNS, from_vectors
from envs.files import disk, read_regular
from training.data.durable_files import HashingFile
from training.data.episode_schema import EXTRAS, FORMAT, STEPS, VIDEO, check_begun
from training.data.episodes import DamagedEpisodeError, complete, read_episode
from training.data.lerobot import layout
from training.data.lerobot.dataset import Dataset
from training.data.lerobot.pictures import Frame, read_frames
from training.data.looks import LOOKS
from training.data.tables import parquet, steps_table
from training.data.versions import versions
from training.data.video import VideoWriter

# What contents that are not as they should be raise; anybody may have written them.
_WRONG = (ValueError, KeyError, IndexError, TypeError, AttributeError, UnidentifiedImageError, pa.ArrowException)
_CLOSE = 1e-6  # how far an exact number may be from its float32, as a share


@dataclass
class Imported:
    """What an import wrote. `there`: episodes that `out` had already. `skipped`: why, by the number of the episode.
    `lost`: what LeRobot's tools did not keep, by how many episodes lack it."""

    out: Path
    episodes: int = 0
    ticks: int = 0
    there: int = 0
    lossless: bool = False
    skipped: dict[str, str] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


def load(dataset: Dataset, out: Path, *, on_episode: Callable[[], None] = lambda: None) -> Imported:
    """Write the episodes of a dataset into the folder `out`; those that are there are left alone. An episode that can't
    be read is skipped. Raises UserError for a dataset that is not of keyboard and mouse."""
    done = Imported(out, lossless=dataset.lossless)
    assert dataset.columns  # raises, before anything is written
    taken: set[str] = set()
    for number, episode in enumerate(dataset.episodes):
        try:
            _load_one(dataset, episode, out, taken, done)
        except (*_WRONG, DamagedEpisodeError) as error:
            done.skipped[str(episode.get("episode_index", number))] = f"{type(error).__name__}: {error}"
        on_episode()
    return done


def _load_one(dataset: Dataset, episode: Mapping[str, Any], out: Path, taken: set[str], done: Imported) -> None:
    rows = dataset.rows(episode)
    if not len(rows):
        raise ValueError("it has no row")
    about = _about(rows)
    name = _unique(about.get("name") or f"episode-{int(episode['episode_index']):06d}", taken)
    path = out / name
    if path.exists():
        done.there += 1
        return
    actions, steps = _actions(dataset, rows), _steps(dataset, rows)
    meta = _meta(dataset, rows, about, steps)
    folder = out / f".new-{name}-{uuid.uuid4().hex[:8]}"
    with disk(out):
        folder.mkdir(parents=True)
        try:
            sums, frames, lost = _files(dataset, episode, about, steps["frame"], meta, folder)
            table = _table(actions, steps)
            sums[STEPS] = _write(folder / STEPS, parquet(table))
            decisions = len(set(steps["decision"]) - {-1})
            meta |= {"ticks": len(table), "frames": frames, "decisions": decisions, "checksums": sums}
            complete(folder, path, meta, durable=True)
            _check(path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    for what in lost:
        done.lost[what] = done.lost.get(what, 0) + 1
    done.episodes += 1
    done.ticks += len(table)


def _check(path: Path) -> None:
    """Read all of an episode, whose contents anybody may have written; where it is none, it goes. Raises
    DamagedEpisodeError."""
    try:
        episode = read_episode(path)
        assert len(episode.steps) == len(episode.actions())
        episode.extras()
        assert episode.looks is not None
    except Exception:
        shutil.rmtree(path, ignore_errors=True)
        raise


def _unique(name: Any, taken: set[str]) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", str(name)).lstrip(".-")[:120] or "episode"
    unique, number = plain, 1
    while unique in taken:
        number += 1
        unique = f"{plain}-{number}"
    taken.add(unique)
    return unique


def _about(rows: pa.Table) -> dict[str, Any]:
    """What the exporter said of an episode beside its columns; empty where another program wrote it."""
    text = rows[layout.EPISODE][0].as_py() if layout.EPISODE in rows.column_names else ""
    said = json.loads(text) if text else {}
    if not isinstance(said, dict):
        raise ValueError(f"{layout.EPISODE}: expected an object")
    return said


def _actions(dataset: Dataset, rows: pa.Table) -> list[Action]:
    """What was done: keys and buttons of `action`, and numbers as they were recorded, where they are those of
    `action`."""
    vectors = np.zeros((len(rows), len(COLUMNS)))
    vectors[:, list(dataset.columns)] = _matrix(rows, layout.ACTION)
    if layout.EXACT in rows.column_names:
        exact = _matrix(rows, layout.EXACT)
        for number, name in enumerate(layout.HANDS):
            column = vectors[:, COLUMNS.index(name)]
            same = np.isclose(column, exact[:, number], rtol=_CLOSE, atol=0.0)
            column[same] = exact[same, number]
    return from_vectors(vectors)


def _matrix(rows: pa.Table, name: str) -> npt.NDArray[np.float64]:
    values = np.array(rows[name].to_pylist(), np.float64)
    if values.ndim != 2:
        raise ValueError(f"column {name!r}: expected rows of numbers of one length")
    return values


def _steps(dataset: Dataset, rows: pa.Table) -> dict[str, list[Any]]:
    """The columns of steps.parquet beside the actions; where the dataset lacks one, the plainest that can be said."""
    length = len(rows)

    def column(name: str, otherwise: Any) -> list[Any]:
        return rows[name].to_pylist() if name in rows.column_names else [otherwise] * length

    steps = {name: column(f"ludens.{name}", "") for name in ("thought", "speech")}
    steps["instruction"] = [dataset.tasks[number] for number in column("task_index", 0)]
    steps["actor"] = column("ludens.actor", "agent")
    steps["frame"] = rows["ludens.frame"].to_pylist() if "ludens.frame" in rows.column_names else list(range(length))
    steps |= {name: column(f"ludens.{name}", -1) for name in ("decision", "asked")}
    steps["starved"] = column("ludens.starved", False)
    steps["reward"] = column(layout.REWARD, 0.0)
    steps["memory"] = _changes(column("ludens.memory", ""))
    steps["time"] = [time or None for time in column("ludens.time", 0.0)]
    steps["tokens"] = [[int(token) for token in text.split()] or None for text in column("ludens.tokens", "")]
    return steps


def _changes(memories: list[str]) -> list[str | None]:
    """The memory where it changes; null elsewhere."""
    before = ["", *memories[:-1]]
    return [now if now != last else None for now, last in zip(memories, before, strict=True)]


def _table(actions: list[Action], steps: Mapping[str, list[Any]]) -> pa.Table:
    rows = []
    for tick, action in enumerate(actions):
        now = {name: values[tick] for name, values in steps.items()}
        rows.append(
            (
                tick, now["frame"], sorted(action.keys), sorted(action.buttons), *action.look,
                *(action.pointer or (None, None)), action.wheel, now["instruction"], now["actor"], now["decision"],
                now["asked"], now["thought"], now["speech"], now["reward"], now["starved"], now["memory"], now["time"],
                now["tokens"],
            )
        )  # fmt: skip
    return steps_table(rows)


def _meta(dataset: Dataset, rows: pa.Table, about: Mapping[str, Any], steps: Mapping[str, list[Any]]) -> dict[str, Any]:
    """What episode.json will say, but counts and checksums: what the exporter kept of it, or what the columns say."""
    height, width, _ = dataset.info["features"][dataset.camera]["shape"]
    told: dict[str, Any] = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "versions": versions(),
        "tick_hz": dataset.fps,
        "frame_size": [height, width],
        "instruction": steps["instruction"][0],
        "actor": steps["actor"][0],
        "policy": "",
        "task": None,
        "outcome": _outcome(rows),
    }
    meta = dict(about.get("meta") or told)
    meta["quality"] = "lossless"  # of the video that is written now
    if not dataset.lossless:
        meta["imported"] = "frames from H.264 of a LeRobotDataset"
    check_begun(meta)
    return meta


def _outcome(rows: pa.Table) -> dict[str, Any]:
    """How it went, as far as LeRobot's columns say."""
    success = None
    if layout.SUCCESS in rows.column_names:
        success = bool(rows[layout.SUCCESS][len(rows) - 1].as_py())
    return {"success": success, "done": None, "decided": None, "why": "", "ticks": len(rows)}


def _files(
    dataset: Dataset, episode: Mapping[str, Any], about: Mapping[str, Any], drawn: list[int], meta: Mapping[str, Any],
    folder: Path,
) -> tuple[dict[str, str], int, list[str]]:  # fmt: skip
    """Write the video and what no column holds. The checksums, how many frames the video has, and what is lost."""
    kept, lost = about.get("kept", {}), []
    height, width = meta["frame_size"]
    video = VideoWriter(folder / VIDEO, (height, width), meta["tick_hz"], "lossless")
    last: Frame | None = None
    try:
        for tick, frame in enumerate(_frames(dataset, episode, len(drawn), (height, width))):
            if drawn[tick] >= 0:
                last = frame
                if video.add(frame, tick) != drawn[tick]:
                    raise ValueError("column 'ludens.frame': expected 0, 1, 2, ... at the rows that were drawn")
        if "frame" in kept:
            data = _kept(dataset, kept["frame"])
            if data is not None:
                last = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
            else:
                lost.append("the frame after the last tick")
            if last is not None:
                video.add(np.ascontiguousarray(last[:height, :width]), len(drawn))
        sums = {VIDEO: video.close()}
    except BaseException:
        video.abort()
        raise
    for name in (EXTRAS, LOOKS):
        if name in kept:
            data = _kept(dataset, kept[name])
            if data is None:
                lost.append(name)
            else:
                sums[name] = _write(folder / name, data)
    return sums, video.count, lost


def _frames(dataset: Dataset, episode: Mapping[str, Any], count: int, size: tuple[int, int]) -> Iterator[Frame]:
    """The frame of each row, without the edge that made its size even."""
    path, begin = dataset.video(episode)
    for frame in read_frames(path, begin, count, dataset.fps):
        if frame.shape[0] < size[0] or frame.shape[1] < size[1]:
            raise ValueError(f"the video has frames of {frame.shape[1]}x{frame.shape[0]}, not {size[1]}x{size[0]}")
        yield np.ascontiguousarray(frame[: size[0], : size[1]])


def _kept(dataset: Dataset, name: Any) -> bytes | None:
    """A file that only this project reads; None where LeRobot's tools left it behind. Raises ValueError if it is not
    what its name says."""
    if not re.fullmatch(r"[0-9a-f]{64}", str(name)):
        raise ValueError(f"{layout.KEPT}/: {name!r} is no SHA-256")
    try:
        data = read_regular(dataset.root / layout.KEPT / name)
    except OSError:
        return None
    if sha256(data).hexdigest() != name:
        raise ValueError(f"{layout.KEPT}/{name}: its contents are not those that were written (SHA-256 differs)")
    return data


def _write(path: Path, data: bytes | memoryview) -> str:
    file = HashingFile(path)
    file.write(data)
    return file.close()

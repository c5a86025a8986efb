"""Episodes on disk: a folder with `steps.parquet`, `video.mp4`, `episode.json` and, for training data, `extras.npz`.

A folder is written under a temporary name and renamed when it is whole, so that what has an episode's name is an
episode. Every file is named with its SHA-256 in `episode.json`, which has one spelling for its contents, so that any
changed byte in any file is found. docs/data.md describes the format.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agent.episode import Frame, Look, Outcome, Start, Step, Subscriber
from envs.action import Action, KeyboardMouse
from envs.files import DiskFullError, disk, read_regular
from tasks.task import Task
from training.data.durable_files import HashingFile, seal, sync, unseal
from training.data.episode_schema import (
    EXTRAS,
    FORMAT,
    META,
    SCHEMA,
    STEPS,
    VIDEO,
    check_meta,
    guessed_space,
    read_extras,
    read_steps,
)
from training.data.looks import LOOKS, Shown, looks_table, read_looks
from training.data.tables import npz, parquet, steps_table
from training.data.versions import versions
from training.data.video import Quality, VideoWriter, iterate_video, read_video, video_ticks

logger = logging.getLogger(__name__)

__all__ = [
    "FORMAT",
    "SCHEMA",
    "DamagedEpisodeError",
    "DiskFullError",
    "Episode",
    "EpisodeError",
    "EpisodeWriter",
    "Recorder",
    "find_episodes",
    "read_episode",
]

QUARANTINE = "quarantine"
TEMPORARY = ".tmp-"
JOURNAL, JOURNAL_META = "steps.arrow", "start.json"
JOURNAL_SECONDS = 1.0  # a killed writer loses at most so much


class EpisodeError(Exception):
    """Something is wrong with an episode on disk."""


class DamagedEpisodeError(EpisodeError):
    """An episode that can't be trusted: the message names the file and what is wrong with it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.why = why


class EpisodeWriter:
    """Writes one episode, tick by tick. `finish` makes it an episode; until then it has a temporary name.

    `path`: the folder to be. `meta`: JSON values for episode.json, such as task, seed and policy. `durable`: whether
    the disk has confirmed everything when `finish` returns; without it a power cut may leave a damaged episode,
    which reading finds out. Raises FileExistsError if `path` is taken and DiskFullError if the disk is full;
    then the temporary folder is gone.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        frame_size: tuple[int, int],
        tick_hz: float,
        quality: Quality = "lossless",
        meta: Mapping[str, Any] | None = None,
        durable: bool = True,
    ) -> None:
        self.path = Path(path)
        if self.path.exists():
            raise FileExistsError(f"{self.path}: there is an episode already")
        self._durable = durable
        self._meta = {
            **(meta or {}),
            "format": FORMAT,
            "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "tick_hz": tick_hz,
            "frame_size": list(frame_size),
            "quality": quality,
            "versions": versions(),
        }
        self._folder = self.path.parent / f"{TEMPORARY}{self.path.name}-{uuid.uuid4().hex[:8]}"
        self._rows: list[tuple[Any, ...]] = []
        self._notes: list[tuple[int, Mapping[str, Any]]] = []
        self._looks: list[Look] = []
        self._journal: pa.RecordBatchStreamWriter | None = None
        self._journaled = 0
        self._flushed = time.monotonic()
        self._decision = -1
        self._memory = ""
        self._video: VideoWriter | None = None
        with disk(self.path.parent):
            # The lock tells `repair` that this writer is alive; it goes with the process, however that ends. The folder
            # gets the name that `repair` looks for only when it is locked.
            fresh = self._folder.with_name(f".new-{self._folder.name}")
            fresh.mkdir(parents=True)
            self._lock = os.open(fresh, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fresh.rename(self._folder)
        with self._guarded():
            self._video = VideoWriter(self._folder / VIDEO, frame_size, tick_hz, quality)

    def add(self, step: Step) -> None:
        """Write one tick."""
        action, decision = step.action, step.decision
        thought = speech = ""
        memory: str | None = None
        tokens: tuple[int, ...] | None = None
        if decision is not None and step.index != self._decision:
            self._decision, thought, speech = step.index, decision.thought, decision.speech
            tokens = decision.tokens or None
            if step.look is not None:
                self.look(replace(step.look, picture=None, decision=step.index))
            if step.memory != self._memory:
                self._memory = memory = step.memory
        with self._guarded():
            assert self._video is not None
            index = -1 if step.frame is None else self._video.add(step.frame, step.tick)
            if step.notes:
                self._notes.append((step.tick, step.notes))
            self._rows.append(
                (
                    step.tick,
                    index,
                    sorted(action.keys),
                    sorted(action.buttons),
                    *action.look,
                    *(action.pointer or (None, None)),
                    action.wheel,
                    step.instruction,
                    step.actor,
                    step.index,
                    step.asked,
                    thought,
                    speech,
                    step.reward,
                    step.starved,
                    memory,
                    step.time,
                    tokens,
                )
            )
            if time.monotonic() - self._flushed > JOURNAL_SECONDS:
                self._flush()

    def look(self, look: Look) -> None:
        """A model was shown something. Any thread may say so."""
        self._looks.append(look)

    def finish(self, outcome: Mapping[str, Any], frame: Frame | None = None) -> Path:
        """Complete the episode; `frame` is what was seen after the last tick. Its folder."""
        with self._guarded():
            assert self._video is not None
            if frame is not None:
                self._video.add(frame, self._rows[-1][0] + 1 if self._rows else 0)
            if self._journal is not None:
                self._journal.close()
            sums = {VIDEO: self._video.close(durable=self._durable)}
            sums[STEPS] = self._write(STEPS, parquet(steps_table(self._rows)))
            if self._looks:
                drawn = [*(row[1] for row in self._rows), self._video.count - 1]
                sums[LOOKS] = self._write(LOOKS, parquet(looks_table(self._looks, drawn)))
            if self._notes:
                sums[EXTRAS] = self._write(EXTRAS, npz(self._notes))
            self._meta |= {
                "ticks": len(self._rows),
                "frames": self._video.count,
                "decisions": len({row[11] for row in self._rows} - {-1}),
                "outcome": dict(outcome),
                "checksums": sums,
            }
            complete(self._folder, self.path, self._meta, durable=self._durable)
        os.close(self._lock)
        return self.path

    def abort(self) -> None:
        """Leave no trace of the episode. Never raises."""
        if self._video is not None:
            self._video.abort()
        if self._journal is not None:
            with suppress(OSError, pa.ArrowException):
                self._journal.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        with suppress(OSError):
            os.close(self._lock)

    def _write(self, name: str, data: bytes | memoryview) -> str:
        file = HashingFile(self._folder / name)
        file.write(data)
        return file.close(durable=self._durable)

    def _flush(self) -> None:
        """Save the rows so far to a journal, for `repair`; short episodes are over before there is one."""
        if self._journal is None:
            (self._folder / JOURNAL_META).write_bytes(seal(self._meta))
            self._journal = pa.ipc.new_stream(self._folder / JOURNAL, SCHEMA)
        for batch in steps_table(self._rows[self._journaled :]).to_batches():
            self._journal.write_batch(batch)
        self._journaled = len(self._rows)
        self._flushed = time.monotonic()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with disk(self.path.parent):
                yield
        except Exception:
            self.abort()
            raise


def complete(folder: Path, path: Path, meta: Mapping[str, Any], *, durable: bool) -> None:
    """Write episode.json into a temporary folder, take the journal out, and give the folder its name."""
    for name in (JOURNAL, JOURNAL_META):
        (folder / name).unlink(missing_ok=True)
    file = HashingFile(folder / META)
    file.write(seal(meta))
    file.close(durable=durable)
    if durable:
        sync(folder)
    os.rename(folder, path)
    if durable:
        sync(path.parent)


def _task(task: Task | None) -> dict[str, Any] | None:
    # As dataclasses.asdict, which would copy a level's every part.
    return {**vars(task), "verifier": task.verifier and vars(task.verifier)} if task else None


class Recorder(Subscriber):
    """Records one episode into the folder `path`, as a subscriber of the loop.

    `task`, `policy` and `meta` go to episode.json. `episode`: the path, once it is written.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        task: Task | None = None,
        policy: str = "",
        quality: Quality = "lossless",
        meta: Mapping[str, Any] | None = None,
        durable: bool = True,
    ) -> None:
        self.path = Path(path)
        self.episode: Path | None = None
        self._task = task
        self._quality: Quality = quality
        self._durable = durable
        self._meta = {**(meta or {}), "task": _task(task), "policy": policy}
        self._writer: EpisodeWriter | None = None

    def on_start(self, start: Start) -> None:
        self.episode = None
        self._writer = EpisodeWriter(
            self.path,
            frame_size=start.frame_size,
            tick_hz=start.tick_hz,
            quality=self._quality,
            durable=self._durable,
            meta={
                **self._meta,
                "instruction": start.instruction,
                "seed": start.seed,
                # A level can be large: what the task says already is not said twice.
                "options": None if self._task and start.options == self._task.options else dict(start.options),
                "actor": start.actor,
                "space": None if start.space is None else start.space.to_json(),
                "controls": dict(start.controls),
            },
        )

    def on_look(self, look: Look) -> None:
        writer = self._writer
        if writer is not None:
            writer.look(look)

    def on_step(self, step: Step) -> None:
        if self._writer is not None:
            try:
                self._writer.add(step)
            except Exception:
                self._writer = None  # an episode with a hole is none; the loop reports why
                raise

    def on_end(self, outcome: Outcome, frame: Frame | None) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            self.episode = writer.finish(outcome.to_json(), frame)


@dataclass(frozen=True)
class Episode:
    """An episode on disk. Its files are read, and checked against their SHA-256, when they are first asked for.

    `meta`: what episode.json says. All of it raises DamagedEpisodeError where a file is missing or changed.
    """

    path: Path
    meta: dict[str, Any] = field(repr=False)

    @property
    def outcome(self) -> dict[str, Any]:
        result: dict[str, Any] = self.meta["outcome"]
        return result

    @property
    def success(self) -> bool | None:
        result: bool | None = self.meta["outcome"].get("success")
        return result

    @property
    def task(self) -> dict[str, Any] | None:
        return self.meta.get("task")

    @property
    def options(self) -> dict[str, Any]:
        """What the world was reset with."""
        options = self.meta.get("options")
        result: dict[str, Any] = (self.task or {}).get("options", {}) if options is None else options
        return result

    @property
    def instruction(self) -> str:
        """The instruction at the start; `steps` has the one of every tick."""
        result: str = self.meta.get("instruction") or ""
        return result

    @property
    def tick_hz(self) -> float:
        result: float = self.meta["tick_hz"]
        return result

    @property
    def controls(self) -> dict[str, str]:
        """What the world said that its keys do; older episodes say nothing."""
        return self.meta.get("controls") or {}

    @cached_property
    def space(self) -> KeyboardMouse:
        """The actions of the world; of an older episode, which does not name them, those of a first-person game and
        what was done besides."""
        told = self.meta.get("space")
        return guessed_space(self.actions()) if told is None else KeyboardMouse.from_json(told)

    @cached_property
    def steps(self) -> pa.Table:
        """A row for each tick, as SCHEMA says."""
        with self._damaged(STEPS):
            return read_steps(self._bytes(STEPS), self.meta["ticks"], self.meta["frames"])

    def actions(self) -> list[Action]:
        """What was done, an Action for each tick."""
        names = ("keys", "buttons", "yaw", "pitch", "pointer_x", "pointer_y", "wheel")
        columns = [self.steps[name].to_pylist() for name in names]
        with self._damaged(STEPS):
            return [
                Action(frozenset(keys), frozenset(buttons), (yaw, pitch), None if x is None else (x, y), wheel)
                for keys, buttons, yaw, pitch, x, y, wheel in zip(*columns, strict=True)
            ]

    @cached_property
    def _video(self) -> bytes:
        return self._bytes(VIDEO)

    def frames(self) -> npt.NDArray[np.uint8]:
        """All frames, uint8 (N, H, W, 3); the `frame` column points into them, the last one is the final view."""
        with self._damaged(VIDEO):
            frames, _ = read_video(self._video, self.tick_hz, self._size, self.meta["frames"])
            if len(frames) != self.meta["frames"]:
                raise ValueError(f"holds {len(frames)} frames, not {self.meta['frames']}")
        return frames

    def frame(self, index: int) -> Frame:
        """One frame, without decoding those long before it. Raises IndexError."""
        if not 0 <= index < self.meta["frames"]:
            raise IndexError(f"frame {index} of {self.meta['frames']}")
        with self._damaged(VIDEO):
            if index >= len(self._ticks):
                raise ValueError(f"holds {len(self._ticks)} frames, not {self.meta['frames']}")
            frame = next(iterate_video(self._video, self.tick_hz, self._size, self._ticks[index]), None)
            if frame is None:
                raise ValueError(f"has no frame {index}")
        return frame[0]

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.meta["frame_size"]
        return height, width

    @cached_property
    def _ticks(self) -> list[int]:
        """The tick of each frame."""
        return video_ticks(self._video, self.tick_hz)

    @cached_property
    def looks(self) -> tuple[Shown, ...]:
        """Who was shown what; empty for scripts, and in older episodes."""
        if LOOKS not in self.meta["checksums"]:
            return ()
        with self._damaged(LOOKS):
            return read_looks(self._bytes(LOOKS), self.meta["ticks"], self.meta["frames"])

    def extras(self) -> dict[str, npt.NDArray[Any]]:
        """The training annotations by name, and `tick`: when each was made. Empty where there are none."""
        if EXTRAS not in self.meta["checksums"]:
            return {}
        with self._damaged(EXTRAS):
            return read_extras(self._bytes(EXTRAS), self.meta["ticks"])

    @contextmanager
    def _damaged(self, name: str) -> Iterator[None]:
        """What is wrong with a file, a ValueError, is told as a DamagedEpisodeError."""
        try:
            yield
        except ValueError as error:
            raise DamagedEpisodeError(self.path / name, str(error)) from error

    def verify(self) -> None:
        """Check every file against its SHA-256. Raises DamagedEpisodeError at the first that differs."""
        for name in self.meta["checksums"]:
            self._bytes(name)

    def _bytes(self, name: str) -> bytes:
        path = self.path / name
        try:
            data = read_regular(path)
        except OSError as error:
            raise DamagedEpisodeError(path, f"can't be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != self.meta["checksums"][name]:
            raise DamagedEpisodeError(path, f"its {len(data)} bytes are not those that were written (SHA-256 differs)")
        return data


def read_episode(path: Path | str) -> Episode:
    """The episode in the folder `path`. Raises DamagedEpisodeError if it is none, or episode.json was changed or
    lacks what an episode has to say."""
    file = Path(path) / META
    try:
        meta = unseal(read_regular(file))
        if meta.get("format") != FORMAT:
            raise ValueError(f"has format {meta.get('format')!r}; this version reads format {FORMAT}")
        check_meta(meta)
    except OSError as error:
        raise DamagedEpisodeError(file, f"can't be read: {error.strerror}") from error
    except ValueError as error:
        raise DamagedEpisodeError(file, str(error)) from error
    return Episode(Path(path), meta)


def find_episodes(*roots: Path | str) -> list[Path]:
    """The episode folders under `roots`, in order of name; temporary and quarantined ones are not among them."""
    found = []
    for root in roots:
        for folder, folders, files in os.walk(root):
            folders[:] = [name for name in folders if name != QUARANTINE and not name.startswith(".")]
            if META in files:
                found.append(Path(folder))
                folders.clear()
    return sorted(found)

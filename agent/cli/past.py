"""`Recording`: recorded episodes and plain videos as the long memory reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from agent.capabilities import Frames
from agent.memory import EpisodeMemory
from agent.recall.indexing import Drawn, every
from agent.recall.store import DID, SAID, THOUGHT, TOLD, Event
from envs.errors import UserError
from envs.files import read_regular
from training.data.episodes import Episode, EpisodeError, find_episodes, read_episode
from training.data.video import iterate_video, video_ticks

_MOST_SIDE = 16_384  # pixels
_USUAL_HZ = 25.0  # of a video that does not tell its rate


class Recording(Protocol):
    """Footage that can be looked at. `print`: changes where the footage does. `began`: seconds since 1970. `ticks`: its
    length. `video`: the file."""

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def video(self) -> Path: ...
    @property
    def print(self) -> str: ...
    @property
    def tick_hz(self) -> float: ...
    @property
    def began(self) -> float: ...
    @property
    def ticks(self) -> int: ...

    def events(self) -> list[Event]:
        """What is known of it beside the pictures."""
        ...

    def footage(self, after: int) -> Iterator[Drawn]:
        """The frames to look at behind a tick, in order of time."""
        ...

    def frame(self, index: int) -> Frames | None:
        """The frame that `footage` gave that index; None where it is not there."""
        ...


def recordings(path: Path) -> list[Recording]:
    """The recordings in a folder of episodes or runs, oldest first, or the one that a video file is. Raises
    UserError."""
    if not path.exists():
        raise UserError(f"{path}: there is no such folder or file; name a run, such as runs/NAME, or a video")
    if path.is_file():
        return [PlainVideo.open(path)]
    try:
        found = [RecordedEpisode(read_episode(folder), path) for folder in find_episodes(path)]
    except EpisodeError as error:
        raise UserError(f"{error}; take it out of the folder, or record it again") from error
    if not found:
        raise UserError(f"{path}: no episode is in there; name a run of agent play, chat or record, or a video file")
    return sorted(found, key=lambda one: (one.began, one.name))


@dataclass(frozen=True)
class RecordedEpisode:
    """An episode. `root`: the folder that its name is relative to."""

    episode: Episode
    root: Path

    @property
    def path(self) -> Path:
        return self.episode.path

    @property
    def video(self) -> Path:
        return self.path / "video.mp4"

    @property
    def name(self) -> str:
        inside = self.path.relative_to(self.root) if self.path.is_relative_to(self.root) else self.path
        return str(inside) if inside.parts else self.path.resolve().name

    @property
    def print(self) -> str:
        return str(self.episode.meta["checksums"]["video.mp4"])

    @property
    def tick_hz(self) -> float:
        return self.episode.tick_hz

    @property
    def ticks(self) -> int:
        return int(self.episode.meta["ticks"])

    @property
    def began(self) -> float:
        try:
            return datetime.fromisoformat(str(self.episode.meta.get("created"))).timestamp()
        except ValueError:
            return 0.0

    def events(self) -> list[Event]:
        """Instructions, what was done under each, and what the player said and thought."""
        rows = self.episode.steps.select(["tick", "instruction", "decision", "thought", "speech"]).to_pylist()
        return [*self._deeds(rows), *_words(rows)]

    def _deeds(self, rows: Sequence[dict[str, Any]]) -> Iterator[Event]:
        actions = self.episode.actions()
        start = 0
        for at in range(1, len(rows) + 1):
            if at < len(rows) and rows[at]["instruction"] == rows[start]["instruction"]:
                continue
            instruction, first, last = rows[start]["instruction"], rows[start]["tick"], rows[at - 1]["tick"]
            if instruction:
                yield Event(0, TOLD, first, last, instruction)
            memory = EpisodeMemory(instruction, self.tick_hz, self.episode.controls)
            memory.acted(actions[start:at])
            yield Event(0, DID, first, last, memory.text.removeprefix("did: "))
            start = at
        if rows and (why := self.episode.outcome.get("why")):
            yield Event(0, DID, rows[-1]["tick"], rows[-1]["tick"], f"the episode ended: {why}")

    def footage(self, after: int) -> Iterator[Drawn]:
        try:
            self.episode.verify()
            data = read_regular(self.video)
            index = {tick: at for at, tick in enumerate(video_ticks(data, self.tick_hz))}
            due, apart = after + 1, every(self.tick_hz)
            height, width = self.episode.meta["frame_size"]
            for frame, tick in iterate_video(data, self.tick_hz, (height, width), max(0, after + 1)):
                if tick >= due:
                    due = tick + apart
                    yield frame, tick, index.get(tick, -1)
        except (EpisodeError, ValueError, OSError) as error:
            raise UserError(f"{error}; take the episode out of the folder, or record it again") from error

    def frame(self, index: int) -> Frames | None:
        try:
            return self.episode.frame(index)
        except (EpisodeError, IndexError):
            return None


def _words(rows: Sequence[dict[str, Any]]) -> Iterator[Event]:
    """What the player said and thought; a line that is repeated in a row is one event."""
    for kind, column in ((SAID, "speech"), (THOUGHT, "thought")):
        begun: Event | None = None
        for row in rows:
            text = row[column]
            if not text:
                continue
            if begun is not None and begun.text == text:
                begun = Event(0, kind, begun.first, row["tick"], text, decision=begun.decision)
                continue
            if begun is not None:
                yield begun
            begun = Event(0, kind, row["tick"], row["tick"], text, decision=row["decision"])
        if begun is not None:
            yield begun


@dataclass(frozen=True)
class PlainVideo:
    """A video that nobody recorded here. A tick is a frame at its average rate, and a frame's index is its tick."""

    path: Path
    tick_hz: float
    ticks: int

    @classmethod
    def open(cls, path: Path) -> PlainVideo:
        """Raises UserError for what is no video."""
        import av

        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                rate = float(stream.average_rate or 0.0) or _USUAL_HZ
                if not (0 < stream.width <= _MOST_SIDE and 0 < stream.height <= _MOST_SIDE):
                    raise ValueError(f"frames of {stream.width}x{stream.height} pixels")
                if stream.duration is not None and stream.time_base is not None:
                    seconds = float(stream.duration * stream.time_base)
                else:
                    seconds = (container.duration or 0) / av.time_base
        except Exception as error:  # FFmpeg's binding raises anything on bytes from elsewhere
            raise UserError(f"{path}: no video that can be read: {error}; expected an MP4 or a run's folder") from error
        return cls(path, rate, round(seconds * rate))

    @property
    def video(self) -> Path:
        return self.path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def began(self) -> float:
        return self.path.stat().st_mtime

    @property
    def print(self) -> str:
        about = self.path.stat()
        return f"{about.st_size} {about.st_mtime_ns}"

    def events(self) -> list[Event]:
        return []

    def footage(self, after: int) -> Iterator[Drawn]:
        due, apart = after + 1, every(self.tick_hz)
        for frame, tick in self._decoded(max(0, after + 1)):
            if tick >= due:
                due = tick + apart
                yield frame(), tick, tick

    def frame(self, index: int) -> Frames | None:
        for frame, tick in self._decoded(index):
            if tick >= index:
                pixels: Frames = frame()
                return pixels
        return None

    def _decoded(self, start: int) -> Iterator[tuple[Any, int]]:
        """Frames from the last key frame before tick `start` on: what makes its pixels, and its tick."""
        import av

        try:
            with av.open(str(self.path)) as container:
                stream = container.streams.video[0]
                if start and stream.time_base is not None:
                    container.seek(round(start / self.tick_hz / stream.time_base), stream=stream)
                for picture in container.decode(stream):
                    if picture.time is not None and picture.width <= _MOST_SIDE and picture.height <= _MOST_SIDE:
                        yield partial(picture.to_ndarray, format="rgb24"), round(picture.time * self.tick_hz)
        except Exception as error:  # as above
            raise UserError(f"{self.path}: can't be decoded: {error}") from error

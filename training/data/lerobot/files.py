"""The data and video files of a dataset while it is written: a new file where one is full."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.lerobot import layout
from training.data.lerobot.pictures import Coding, PackedVideo, padded

_MEGABYTE = 2**20
_TOGETHER = 64  # rows of meta/episodes that are written as one row group


class _Files:
    """Parquet files of one schema. `pattern`: of their paths below `folder`."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder, self._pattern, self.at = folder, pattern, (0, 0)
        self._writer: pq.ParquetWriter | None = None

    @property
    def _path(self) -> Path:
        return self._folder / self._pattern.format(chunk_index=self.at[0], file_index=self.at[1])

    def turn(self) -> tuple[int, int]:
        """Go on to the next file where this one is full; the numbers of the file."""
        if self._writer is not None and self._path.stat().st_size >= layout.DATA_MEGABYTES * _MEGABYTE:
            self.close()
            self.at = layout.next_file(*self.at)
        return self.at

    def write(self, rows: pa.Table) -> None:
        """Append a row group."""
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(self._path, rows.schema, compression="snappy")
        self._writer.write_table(rows, row_group_size=max(1, len(rows)))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class DataFiles:
    """The rows of episodes, a row group for each."""

    def __init__(self, folder: Path) -> None:
        self._files = _Files(folder, layout.DATA_PATH)

    def add(self, rows: pa.Table) -> dict[str, Any]:
        """Write the rows of an episode; where they are, for meta/episodes."""
        chunk, file = self._files.turn()
        self._files.write(rows)
        return {"data/chunk_index": chunk, "data/file_index": file}

    def close(self) -> None:
        self._files.close()


class EpisodeFiles:
    """meta/episodes: a row for each episode."""

    def __init__(self, folder: Path) -> None:
        self._files = _Files(folder, layout.EPISODES_PATH)
        self._rows: list[Mapping[str, Any]] = []
        self._schema: pa.Schema | None = None

    def add(self, row: Mapping[str, Any]) -> None:
        if not self._rows:
            self._files.turn()
        chunk, file = self._files.at
        self._rows.append({**row, "meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file})
        if len(self._rows) == _TOGETHER:
            self._write()

    def _write(self) -> None:
        if self._schema is None:
            found = pa.Table.from_pylist(self._rows[:1]).schema
            at = found.get_field_index(layout.EPISODE_SUCCESS)  # null where nobody judged
            self._schema = found.set(at, pa.field(layout.EPISODE_SUCCESS, pa.bool_()))
        self._files.write(pa.Table.from_pylist(self._rows, self._schema))
        self._rows = []

    def close(self) -> None:
        if self._rows:
            self._write()
        self._files.close()


class VideoFiles:
    """Videos with the frames of episodes, one after the other. `size`: (height, width), even."""

    def __init__(self, folder: Path, size: tuple[int, int], fps: int, coding: Coding) -> None:
        self._folder, self._size, self._fps, self._coding = folder, size, fps, coding
        self._at = (0, 0)
        self._video: PackedVideo | None = None

    def add(self, frames: npt.NDArray[np.uint8], shown: npt.NDArray[Any]) -> dict[str, Any]:
        """Write a frame for each row of an episode, `frames[shown]`; where they are, for meta/episodes."""
        if self._video is not None and self._full(len(shown)):
            self.close()
            self._at = layout.next_file(*self._at)
        if self._video is None:
            path = layout.VIDEO_PATH.format(video_key=layout.PIXELS, chunk_index=self._at[0], file_index=self._at[1])
            self._video = PackedVideo(self._folder / path, self._size, self._fps, self._coding)
        begin = self._video.frames
        for index in shown:
            self._video.add(padded(frames[index]))
        place = {"chunk_index": self._at[0], "file_index": self._at[1], "from_timestamp": begin / self._fps}
        place["to_timestamp"] = self._video.frames / self._fps
        return {f"videos/{layout.PIXELS}/{name}": value for name, value in place.items()}

    def _full(self, more: int) -> bool:
        assert self._video is not None
        if (self._video.frames + more) / self._fps > layout.VIDEO_SECONDS:
            return True
        return self._video.bytes >= layout.VIDEO_MEGABYTES * _MEGABYTE

    def close(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None

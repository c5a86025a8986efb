"""Frames in the videos of a dataset: one file holds many episodes, one frame for each row of the data."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

Frame = npt.NDArray[np.uint8]
Coding = Literal["h264", "lossless"]

KEY_FRAMES = 8  # rows between key frames: LeRobot reads single rows in any order
# CRF 18 is what people call visually lossless. RGB without quantisation is lossless; few players show it.
_CODECS: dict[Coding, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", {"crf": "18", "preset": "veryfast"}),
    "lossless": ("libx264rgb", "gbrp", {"qp": "0", "preset": "veryfast"}),
}


def pixel_format(coding: Coding) -> str:
    return _CODECS[coding][1]


def even(size: tuple[int, int]) -> tuple[int, int]:
    """A size (height, width) rounded up to even numbers, as H.264 in yuv420p wants it."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def padded(frame: Frame) -> Frame:
    """A frame of even size: the last row and column come twice where they must."""
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


class PackedVideo:
    """A video file that frames are appended to at 1/fps seconds from one another. `size`: (height, width), even."""

    def __init__(self, path: Path, size: tuple[int, int], fps: int, coding: Coding) -> None:
        codec, pixel_format, options = _CODECS[coding]
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.frames = path, 0
        self._container = av.open(str(path), "w", format="mp4")
        stream: Any = self._container.add_stream(codec, rate=fps, options=dict(options))
        stream.height, stream.width = size
        stream.pix_fmt = "rgb24" if coding == "lossless" else pixel_format
        stream.codec_context.gop_size = KEY_FRAMES
        stream.codec_context.max_b_frames = 0
        stream.codec_context.thread_count = 1  # more only wait for one another on small frames
        self._base = stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        self._stream = stream

    def add(self, frame: Frame) -> None:
        """Append a frame, uint8 RGB (H, W, 3)."""
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = self.frames, self._base
        self._container.mux(self._stream.encode(picture))
        self.frames += 1

    @property
    def bytes(self) -> int:
        """How large the file is so far."""
        return self.path.stat().st_size

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


def read_frames(path: Path, begin: float, count: int, fps: float) -> Iterator[Frame]:
    """`count` frames of a video from `begin` seconds on, uint8 RGB (H, W, 3). Raises ValueError where the file has
    not so many, or can't be decoded."""
    first, found = round(begin * fps), 0
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            base = stream.time_base
            if base is None:
                raise ValueError("the video has no times")
            container.seek(round(begin / base), stream=stream)
            for picture in container.decode(stream):
                if picture.time is None or round(picture.time * fps) < first:
                    continue
                if found == count:
                    break
                if round(picture.time * fps) != first + found:
                    raise ValueError(f"the video has no frame at {(first + found) / fps:.3f} s")
                found += 1
                yield picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    except (FFmpegError, OSError, IndexError) as error:
        raise ValueError(f"the video can't be decoded: {error}") from error
    if found < count:
        raise ValueError(f"the video holds {found} of the {count} frames from {begin:.3f} s on")

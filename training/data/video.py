"""Frames to video and back: fragmented MP4, which a killed writer leaves decodable up to its last fragment."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt
from av.error import FFmpegError

from envs.files import read_regular
from training.data.durable_files import HashingFile

Frame = npt.NDArray[np.uint8]
Quality = Literal["lossless", "compact"]

KEY_FRAMES = 15  # frames between key frames: random access costs at most so many decodes
# PNG in MP4 beats lossless H.264 on drawn worlds: a third of the bytes and of the time to decode, as fast to write
# (docs/data.md), and every frame decodes on its own.
_CODECS: dict[str, tuple[str, dict[str, str]]] = {
    "lossless": ("png", {"compression_level": "1", "pred": "none"}),
    "compact": ("libx264", {"crf": "23", "preset": "ultrafast", "tune": "zerolatency"}),
}
_MOVFLAGS = "frag_keyframe+empty_moov+default_base_moof"


class VideoWriter:
    """Writes frames to an MP4. `lossless`: they decode bit-identical. `compact`: H.264 that any player shows.

    `tick_hz`: frames carry their tick as their time. Raises OSError if the disk refuses.
    """

    def __init__(self, path: Path, frame_size: tuple[int, int], tick_hz: float, quality: Quality = "lossless") -> None:
        self._file = HashingFile(path)
        self._container = av.open(self._file, "w", format="mp4", options={"movflags": _MOVFLAGS})
        rate = Fraction(tick_hz).limit_denominator(1001)
        codec, options = _CODECS[quality]
        stream: Any = self._container.add_stream(codec, rate=rate, options=dict(options))
        stream.height, stream.width = frame_size
        even = frame_size[0] % 2 == 0 and frame_size[1] % 2 == 0
        stream.pix_fmt = "rgb24" if quality == "lossless" else "yuv420p" if even else "yuv444p"
        stream.codec_context.thread_count = 1  # more only wait for one another on small frames
        stream.codec_context.gop_size = KEY_FRAMES
        self._base = stream.time_base = stream.codec_context.time_base = 1 / rate
        self._stream = stream
        self.count = 0

    def add(self, frame: Frame, tick: int) -> int:
        """Append `frame`, uint8 RGB (H, W, 3), seen at `tick` (rising); its index in the video."""
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts, picture.time_base = tick, self._base
        self.count += 1
        for packet in self._stream.encode(picture):
            self._container.mux(packet)
        return self.count - 1

    def close(self, *, durable: bool = True) -> str:
        """Finish the file, on the disk where `durable`; the SHA-256 of its contents."""
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        self._container.close()
        return self._file.close(durable=durable)

    def abort(self) -> None:
        """Let go of the file, finished or not. Never raises."""
        with suppress(FFmpegError, OSError, ValueError):
            self._container.close()
        self._file.raw.close()


def read_video(
    data: bytes, tick_hz: float, size: tuple[int, int], most: int
) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """All frames of a video, uint8 (N, H, W, 3), and their ticks. `size`: height and width. Raises ValueError if it
    can't be decoded, has another size, or more than `most` frames."""
    frames: list[Frame] = []
    ticks: list[int] = []
    for frame, tick in iterate_video(data, tick_hz, size):
        if len(frames) == most:
            raise ValueError(f"holds more than {most} frames")
        frames.append(frame)
        ticks.append(tick)
    if not frames:
        raise ValueError("the video holds no frame")
    return np.stack(frames), ticks


def iterate_video(data: bytes, tick_hz: float, size: tuple[int, int], start: int = 0) -> Iterator[tuple[Frame, int]]:
    """The frames of a video from tick `start` on, each with its tick. `size`: height and width. Raises ValueError where
    it can't be decoded or has another size."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            _check_size(stream, size)  # before anything of that size is decoded
            if start:
                if stream.time_base is None:
                    raise ValueError("the video has no times")
                container.seek(round(start / tick_hz / stream.time_base), stream=stream)
            for picture in container.decode(stream):
                _check_size(picture, size)
                if picture.time is None:
                    raise ValueError("the video has a frame without a time")
                tick = round(picture.time * tick_hz)
                if tick >= start:
                    yield picture.to_ndarray(format="rgb24").astype(np.uint8, copy=False), tick
    except Exception as error:  # FFmpeg's binding raises anything on bytes from elsewhere, AttributeError for one
        if isinstance(error, ValueError) and not isinstance(error, FFmpegError):
            raise
        raise ValueError(f"the video can't be decoded: {error}") from error


def _check_size(picture: Any, size: tuple[int, int]) -> None:
    if (picture.height, picture.width) != size:
        raise ValueError(f"the video has frames of {picture.width}x{picture.height}, not {size[1]}x{size[0]}")


def video_ticks(data: bytes, tick_hz: float) -> list[int]:
    """The tick of each frame of a video; nothing is decoded. Raises ValueError if it is no video."""
    try:
        with av.open(io.BytesIO(data), "r") as container:
            packets = container.demux(container.streams.video[0])
            return sorted(round(p.pts * p.time_base * tick_hz) for p in packets if p.pts is not None and p.time_base)
    except Exception as error:  # as above
        raise ValueError(f"the video can't be read: {error}") from error


def cut_to_whole_fragments(path: Path) -> bool:
    """Cut what a killed writer left behind its last whole fragment; whether there is a fragment at all.

    An MP4 is a row of boxes, each with its size (4 bytes, big-endian) and its name (4 bytes) at its head; a fragment
    is a `moof` and the `mdat` behind it.
    """
    data, at, whole = read_regular(path), 0, 0
    while at + 8 <= len(data):
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size < 8 or at + size > len(data):
            break
        at += size
        if name == b"mdat":
            whole = at
    if whole and whole < len(data):
        os.truncate(path, whole)
    return whole > 0

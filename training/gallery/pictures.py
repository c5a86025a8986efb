"""The pictures of an episode in a gallery: its last frame, and a video that browsers play in real time."""

from __future__ import annotations

import io
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

from envs.files import read_regular
from training.data.episode_schema import VIDEO
from training.data.episodes import DamagedEpisodeError, Episode
from training.data.video import iterate_video

_MOST_FRAMES = 900  # of a video: of a longer episode every second, third, ... frame is shown


def thumbnail(episode: Episode) -> bytes:
    """The last frame as a JPEG. Raises DamagedEpisodeError."""
    try:
        frame = episode.frame(episode.meta["frames"] - 1)
    except IndexError as error:
        raise DamagedEpisodeError(episode.path / VIDEO, "holds no frame") from error
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "JPEG", quality=85)
    return data.getvalue()


def write_clip(episode: Episode, path: Path) -> None:
    """Write the recorded frames at their ticks as an H.264 MP4, which seeks. Raises DamagedEpisodeError and OSError."""
    episode.verify()
    every = max(1, math.ceil(episode.meta["frames"] / _MOST_FRAMES))
    height, width = episode.meta["frame_size"]
    rate = Fraction(episode.tick_hz).limit_denominator(1001)
    try:
        frames = iterate_video(read_regular(episode.path / VIDEO), episode.tick_hz, (height, width))
        with av.open(str(path), "w", format="mp4") as container:
            stream: Any = container.add_stream("libx264", rate=rate, options={"crf": "24", "preset": "veryfast"})
            height, width = height // 2 * 2, width // 2 * 2  # the common pixel format has even sides
            stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
            stream.time_base = stream.codec_context.time_base = 1 / rate
            stream.codec_context.thread_count = 1
            for number, (frame, tick) in enumerate(frames):
                if number % every == 0:
                    picture = av.VideoFrame.from_ndarray(frame[:height, :width], format="rgb24")
                    picture.pts, picture.time_base = tick, 1 / rate
                    container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except ValueError as error:
        raise DamagedEpisodeError(episode.path / VIDEO, str(error)) from error

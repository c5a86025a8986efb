"""What episodes cost: bytes a frame, frames a second written and read, for both kinds of video, on frames of Doom.

    python benchmarks/episode_io.py [--frames 15] [--episodes 40]

One process. Rates and times are CPU time, which other work on the machine hardly changes; "ms/episode" is wall-clock
time. Every episode holds a frame every 4 ticks. The error is the mean difference of a pixel, 0 to 255.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from agent.episode import Step
from envs.action import Action
from envs.doom.world import DoomWorld
from training.data.episodes import EpisodeWriter, read_episode
from training.data.video import Quality

TICKS = 4


def walk(count: int) -> list[Any]:
    """Frames of a random walk through generated rooms."""
    world = DoomWorld()
    world.action_space.seed(0)
    frames: list[Any] = []
    while len(frames) < count:
        observation, _ = world.reset(seed=len(frames))
        for _ in range(min(30, count - len(frames))):
            frames.append(observation["pixels"])
            observation, *_ = world.step_chunk([world.action_space.sample()] * TICKS)
    world.close()
    return frames


def measure(root: Path, frames: list[Any], length: int, quality: Quality, durable: bool) -> str:
    """Write and read episodes of `length` frames; a row of the table."""
    action = Action(keys=frozenset({"KeyW"}), look=(3.0, 0.0))
    paths = []
    start, clock = time.process_time(), time.perf_counter()
    for first in range(0, len(frames), length):
        part = frames[first : first + length]
        writer = EpisodeWriter(
            root / f"{quality}-{durable}-{first}", frame_size=part[0].shape[:2], tick_hz=35.0, quality=quality,
            durable=durable,
        )  # fmt: skip
        for tick in range(TICKS * len(part)):
            frame = part[tick // TICKS] if tick % TICKS == 0 else None
            at = tick // TICKS
            writer.add(Step(tick, frame, action, 0.0, "go to it", "agent", False, None, at, TICKS * at, {}))
        paths.append(writer.finish({"success": True}))
    written, waited = time.process_time() - start, time.perf_counter() - clock

    start = time.process_time()
    pictures = np.concatenate([read_episode(path).frames() for path in paths])
    read = time.process_time() - start
    error = float(np.abs(pictures.astype(np.int16) - np.stack(frames)).mean())

    rng = np.random.default_rng(0)
    start = time.process_time()
    for _ in range(100):
        read_episode(paths[rng.integers(len(paths))]).frame(int(rng.integers(length)))
    single = (time.process_time() - start) / 100
    size = sum((path / "video.mp4").stat().st_size for path in paths) / len(frames)
    columns = (
        f"{quality}{', durable' if durable else ''}",
        f"{size:,.0f}",
        f"{1000 * written / len(paths):.1f}",
        f"{1000 * waited / len(paths):.1f}",
        f"{len(frames) / written:,.0f}",
        f"{len(frames) / read:,.0f}",
        f"{1000 * single:.1f}",
        f"{error:.2f}",
    )
    return f"| {' | '.join(columns)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=15, help="frames an episode")
    parser.add_argument("--episodes", type=int, default=40)
    options = parser.parse_args()
    frames = walk(options.frames * options.episodes)
    print(f"{options.episodes} episodes of {options.frames} frames, cores {sorted(os.sched_getaffinity(0))}")
    print("| video | bytes/frame | CPU ms/episode | ms/episode | frames/s written | frames/s read | ms/frame | error |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as root:
        for quality in ("lossless", "compact"):
            for durable in (False, True):
                print(measure(Path(root), frames, options.frames, quality, durable))


if __name__ == "__main__":
    main()

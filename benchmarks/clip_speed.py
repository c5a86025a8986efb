"""How much the reward `clip` costs beside its encoder: frames/s of both, in turn.

    python benchmarks/clip_speed.py --frames 256 --rounds 9

The bare encoder is open_clip's own `encode_image` on batches of prepared pictures; beside it, the same with the
preparation of the pictures. The reward gets the same frames of Doom, each with a goal, as the collection of rollouts
hands them over: it prepares and encodes them and compares each with its goal and the negatives. All run on one thread.
The processor time of this process counts, so that other work on the machine slows none of them more than another.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import open_clip
import torch

from envs.action import Action
from envs.doom.world import DoomWorld
from rewards.clip import BATCH, SHIPPED, Clip
from rewards.reward import Frames
from tasks.doom import suites

SUITE = "doom-room"
SEED = 4242
ENCODER, PREPARED, REWARD = "bare encoder", "bare encoder and preparation", "reward clip"


def seen(clip: Clip, count: int) -> tuple[list[str], Frames]:
    """Instructions whose outcome a frame can show, and a frame of a level of each: while the player turns."""
    tasks = [task for task in suites.evaluation(SUITE).tasks(SEED, 40) if clip.goal(task.world, task.instruction)]
    said, frames = [], []
    with closing(DoomWorld()) as world:
        for task in tasks[:count]:
            world.reset(seed=task.seed, options=dict(task.options))
            observation, *_ = world.step_chunk([Action(look=(5.0, 0.0))] * 4)
            said.append(task.instruction)
            frames.append(observation["pixels"])
    return said, np.stack(frames)


def contenders(model: Path, count: int) -> dict[str, Callable[[], int]]:
    """What is measured: each goes through `count` frames."""
    clip = Clip.load(str(model))
    said, some = seen(clip, 16)
    frames = np.stack(list(islice(cycle(some), count)))
    instructions = list(islice(cycle(said), count))
    encoder = open_clip.create_model(f"local-dir:{model}").eval()
    prepare = clip.encoder.prepare
    starts = range(0, count, BATCH)
    prepared = [prepare(frames[at : at + BATCH]) for at in starts]

    @torch.inference_mode()
    def bare() -> int:
        for pictures in prepared:
            encoder.encode_image(pictures)
        return count

    @torch.inference_mode()
    def with_preparation() -> int:
        for at in starts:
            encoder.encode_image(prepare(frames[at : at + BATCH]))
        return count

    def reward() -> int:
        goals = [clip.goal("doom", instruction) for instruction in instructions]
        return len(clip.chances([goal for goal in goals if goal is not None], frames))

    return {ENCODER: bare, PREPARED: with_preparation, REWARD: reward}


def measure(runs: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Frames a second of processor time of each, in turn, after a round that does not count."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            began = time.process_time()
            count = run()
            if number:
                rates[name].append(count / (time.process_time() - began))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="a folder in open_clip's format")
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rates = measure(contenders(options.model, options.frames), options.rounds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{options.frames} frames in batches of {BATCH}\n\n| what | frames/s of one core |\n|---|---:|")
    for name, value in medians.items():
        print(f"| {name} | {value:.0f} |")
    for name in (ENCODER, PREPARED):
        print(f"\n{REWARD} of {name}: {medians[REWARD] / medians[name]:.2f}")
    if options.json:
        Path(options.json).write_text(json.dumps({"frames/s": rates}, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Tries for the judge: what a player does when it is told something, and the verifier's verdict on it.

The expert's episodes of training.small.judge_episodes are clear: it does what it is told, or something else, or too
little. A player's own tries are what a judge has to judge: those that almost succeed, that end too early, or that do it
by detours. They are sampled in training levels, half of them with the instruction of the level's task and half with
another goal that the level holds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agent.small.judge_view import JUDGE_FRAMES, view
from agent.small.model import FRAME_SIZE
from envs.doom.level import Level
from envs.doom.world import DoomWorld
from envs.world import World
from rewards.reward import Frames, VerifiedFootage
from rewards.score import Failure, Score
from tasks import json_lines
from tasks.doom.language import Meaning
from tasks.task import Task, VerifierSpec
from training.recipe import OnProgress, Progress, ignore_progress
from training.rl.load import load_learnable
from training.rl.rollouts import Collector, Rollout, Start, sampler
from training.small.judge_goals import done, failed, goal_of, goals_of, judged_suite, say, spec_for
from training.workers.hire import hire
from training.workers.workers import Failed

PLAYED = "played.jsonl"  # what was played of a set that is not whole
_PORTION = 96  # tries that a process samples together
_WORLDS = 32
_NEXT_LEVEL = 1_000_003  # added to a task's number where its level is no good


@dataclass(frozen=True)
class Order:
    """Tries of a suite: the rows in the arrays, and the numbers of their tasks, which begin with `first`."""

    row: int
    suite: str
    first: int
    count: int


def play(
    out: Path,
    counts: Mapping[str, int],
    seed: int,
    *,
    policy: str = "small",
    temperature: float = 1.0,
    time_limit: int = 240,
    workers: str | int = 2,
    on_progress: OnProgress = ignore_progress,
) -> Path:
    """Sample a policy's tries and write them to the folder `out` as training.small.judge_episodes.collect does.

    `counts`: tries of each judged suite. `temperature`: of sampling. `time_limit`: ticks of a try, at most.
    What a run that was stopped had played stays; the same arguments are expected to follow. Raises ValueError for a
    suite that is held out or not fit for the judge, and RuntimeError where a process can't play.
    """
    orders = list(_orders(counts))
    if not orders:
        raise ValueError("no tries to sample")
    out.mkdir(parents=True, exist_ok=True)
    total = sum(counts.values())
    frames, kept = out / "frames.npy", out / PLAYED
    if not kept.exists():
        shape = (total, JUDGE_FRAMES, *FRAME_SIZE, 3)
        np.lib.format.open_memmap(frames, mode="w+", dtype=np.uint8, shape=shape)
    played = {row["row"]: row["lines"] for row in json_lines.read(kept)} if kept.exists() else {}
    left = [order for order in orders if order.row not in played]
    make = partial(_Player, frames, policy, temperature, time_limit, seed)
    with hire(make, workers, most=max(1, len(left))) as crew:
        for order, result in crew.run(left):
            if isinstance(result, Failed):
                raise RuntimeError(f"{order.suite}/{seed}/{order.first} and following: {result.error}")
            played[order.row] = result
            json_lines.write(kept, [{"row": row, "lines": lines} for row, lines in sorted(played.items())])
            on_progress(Progress("try", sum(map(len, played.values())), total))
    json_lines.write(out / "episodes.jsonl", [line for _, lines in sorted(played.items()) for line in lines])
    kept.unlink()
    return out


def _orders(counts: Mapping[str, int]) -> list[Order]:
    found, row = [], 0
    for suite, count in counts.items():
        judged_suite(suite)
        for first in range(0, count, _PORTION):
            size = min(_PORTION, count - first)
            found.append(Order(row, suite, first, size))
            row += size
    return found


class Watcher:
    """Samples tries of a policy, and keeps what a reward would see of them.

    `policy`: see training.rl.load. `temperature`: of sampling. `make_world`: called when a world is needed.
    """

    name, sees_truth = "watcher", False  # as a Reward, which a Collector asks

    def __init__(self, policy: str, temperature: float, make_world: Callable[[], World] = DoomWorld) -> None:
        self._policy, self._temperature = load_learnable(policy), temperature
        self._frames: list[Frames] = []
        self._collector = Collector(make_world, _WORLDS, self)

    def watch(self, tasks: Sequence[Task], seed: int) -> list[tuple[Rollout, Frames]]:
        """A try at each task, and its frames: uint8 (T + 1, H, W, 3), one before each of T decisions and one after the
        last. `seed`: of what is drawn."""
        self._frames = []
        starts = [Start(task, at) for at, task in enumerate(tasks)]
        draw = sampler(self._policy, self._temperature, seed)
        played = self._collector.collect(self._policy.spec, draw, starts)
        return list(zip(played.rollouts, self._frames, strict=True))

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        """Keep the frames; the scores mean nothing."""
        self._frames += [episode.decision_frames() for episode in episodes]
        return [Score(0.0, False, "", self.name) for _ in episodes]

    def close(self) -> None:
        self._collector.close()


class _Player:
    """A Worker that samples tries and puts their frames into the array at `path`."""

    def __init__(self, path: Path, policy: str, temperature: float, time_limit: int, seed: int) -> None:
        self._frames = np.load(path, mmap_mode="r+", allow_pickle=False)
        self._watcher = Watcher(policy, temperature)
        self._limit, self._seed = time_limit, seed

    def work(self, order: Order) -> list[dict[str, Any]]:
        """Sample some tries; what is to be known about each."""
        key = (self._seed, order.first, zlib.crc32(order.suite.encode()), 0, 11)
        rng = np.random.default_rng(key)
        asked = [self._asked(order, order.first + at, rng) for at in range(order.count)]
        played = self._watcher.watch([task for task, _, _ in asked], int(rng.integers(2**31)))
        lines = []
        rows = range(order.row, order.row + order.count)
        for row, (one, frames), (task, goal, level) in zip(rows, played, asked, strict=True):
            # Every second frame is the second view of a reward that is asked twice.
            self._frames[row] = view(frames[::2] if rng.random() < 0.25 else frames)
            spec, success = task.verifier, bool(one.true_success)
            assert spec is not None
            lines.append({
                "instruction": task.instruction, "success": success,
                "reason": done(level, spec) if success else failed(level, spec, ""), "source": "tried",
                "suite": order.suite, "verb": goal.verb, "seed": task.seed, "decisions": len(one.decisions),
            })  # fmt: skip
        return lines

    def close(self) -> None:
        self._watcher.close()

    def _asked(self, order: Order, index: int, rng: np.random.Generator) -> tuple[Task, Meaning, Level]:
        """A task for a try, what it means, and its level."""
        suite = judged_suite(order.suite)
        while True:
            try:
                task = suite.task(self._seed, index, evaluation=False)
                level = Level.from_json(task.options["level"])
                goal, spec = goal_of(task, level)
            except ValueError:
                index += _NEXT_LEVEL
                continue
            text = task.instruction
            if rng.random() < 0.5:
                goal, spec, text = _another(rng, level) or (goal, spec, text)
            limit = min(self._limit, task.time_limit)
            return replace(task, instruction=text, verifier=spec, verb=goal.verb, time_limit=limit), goal, level


def _another(rng: np.random.Generator, level: Level) -> tuple[Meaning, VerifierSpec, str] | None:
    """A random goal that the level holds; None where there is none that can be done."""
    found = goals_of(level)
    for at in rng.permutation(len(found)):
        spec = spec_for(level, found[at])
        if spec is not None:
            return found[at], spec, say(rng, level, found[at])
    return None

"""Tries for the judge: what a player does when it is told something, and the verifier's verdict on it.

The expert's episodes of training.small.judge_episodes are clear: it does what it is told, or something else, or too
little. A player's own tries are what a judge has to judge: those that almost succeed, that end too early, or that do it
by detours. They are sampled in training levels, half of them with the instruction of the level's task and half with
another goal that the level holds. The expert's episodes are of doom; tries may be of any world whose language small
speaks.
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
from agent.view import View
from envs import plugins
from envs.doom.level import Level
from envs.doom.world import DoomWorld
from envs.world import World
from rewards.reward import Frames, VerifiedFootage
from rewards.score import Failure, Score
from tasks import json_lines, world_tasks
from tasks.doom.language import Meaning
from tasks.doom.suites import DoomSuite
from tasks.suite import Suite
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
_SIGHT = View.stretched(FRAME_SIZE)


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
        tried_suite(suite)
        for first in range(0, count, _PORTION):
            size = min(_PORTION, count - first)
            found.append(Order(row, suite, first, size))
            row += size
    return found


def tried_suite(name: str) -> Suite:
    """A suite of single steps, of training, in which tries are sampled. Raises ValueError for any other."""
    other = None if name.startswith("judge-") else world_tasks.suite(name)
    if other is None or other.world == "doom":
        return judged_suite(name)
    if world_tasks.of(other.world).language is None:
        raise ValueError(f"suite {name!r}: the judge reads no instructions of the world {other.world!r}")
    return world_tasks.training(name)


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


@dataclass(frozen=True)
class _Asked:
    """What a player is told, with what is said of a failure and of a success at it."""

    task: Task
    reasons: tuple[str, str]


_Ask = Callable[[Task, np.random.Generator], _Asked]


class _Player:
    """A Worker that samples tries and puts their frames into the array at `path`."""

    def __init__(self, path: Path, policy: str, temperature: float, time_limit: int, seed: int) -> None:
        self._frames = np.load(path, mmap_mode="r+", allow_pickle=False)
        self._make = partial(Watcher, policy, temperature)
        self._watchers: dict[str, Watcher] = {}
        self._limit, self._seed = time_limit, seed

    def work(self, order: Order) -> list[dict[str, Any]]:
        """Sample some tries; what is to be known about each."""
        key = (self._seed, order.first, zlib.crc32(order.suite.encode()), 0, 11)
        rng = np.random.default_rng(key)
        suite = tried_suite(order.suite)
        ask = _in_doom if isinstance(suite, DoomSuite) else _anywhere
        asked = [self._asked(suite, ask, order.first + at, rng) for at in range(order.count)]
        played = self._watcher(suite.world).watch([one.task for one in asked], int(rng.integers(2**31)))
        lines = []
        rows = range(order.row, order.row + order.count)
        for row, (one, frames), said in zip(rows, played, asked, strict=True):
            # Every second frame is the second view of a reward that is asked twice.
            shown = view(frames[::2] if rng.random() < 0.25 else frames)
            self._frames[row] = [_SIGHT.newest(frame) for frame in shown]
            task, success = said.task, bool(one.true_success)
            lines.append({
                "instruction": task.instruction, "success": success, "reason": said.reasons[success], "source": "tried",
                "suite": order.suite, "verb": task.verb, "seed": task.seed, "decisions": len(one.decisions),
            })  # fmt: skip
        return lines

    def close(self) -> None:
        for watcher in self._watchers.values():
            watcher.close()

    def _watcher(self, world: str) -> Watcher:
        if world not in self._watchers:
            self._watchers[world] = self._make(lambda: plugins.load("world", world)())
        return self._watchers[world]

    def _asked(self, suite: Suite, ask: _Ask, index: int, rng: np.random.Generator) -> _Asked:
        """What the player is told in one of the suite's levels."""
        while True:
            try:
                made = ask(suite.task(self._seed, index, evaluation=False), rng)
            except ValueError:
                index += _NEXT_LEVEL
                continue
            return replace(made, task=replace(made.task, time_limit=min(self._limit, made.task.time_limit)))


def _in_doom(task: Task, rng: np.random.Generator) -> _Asked:
    """A task or another goal of its level. Raises ValueError for a task without a goal."""
    level = Level.from_json(task.options["level"])
    goal, spec = goal_of(task, level)
    text = task.instruction
    if rng.random() < 0.5:
        goal, spec, text = _another(rng, level) or (goal, spec, text)
    told = replace(task, instruction=text, verifier=spec, verb=goal.verb)
    return _Asked(told, (failed(level, spec, ""), done(level, spec)))


def _anywhere(task: Task, rng: np.random.Generator) -> _Asked:
    """A task of another world or one with another thing; the reasons are its goal in the world's plain words. Raises
    ValueError for an instruction that nobody reads."""
    world = world_tasks.of(task.world)
    if rng.random() < 0.5:
        task = world.other_task(rng, task) or task
    meaning = world.language.read(task.instruction) if world.language is not None else None
    if meaning is None or world.language is None:
        raise ValueError(f"nobody reads {task.instruction!r}")
    goal = world.language.plain(meaning)
    return _Asked(task, (f"did not {goal}", f"did {goal}"))


def _another(rng: np.random.Generator, level: Level) -> tuple[Meaning, VerifierSpec, str] | None:
    """A random goal that the level holds; None where there is none that can be done."""
    found = goals_of(level)
    for at in rng.permutation(len(found)):
        spec = spec_for(level, found[at])
        if spec is not None:
            return found[at], spec, say(rng, level, found[at])
    return None

"""Frames with captions from ground truth, of training levels: what a CLIP model of a world learns from.

The expert plays with disturbances, lingers at what it reached, and now and then somebody else wanders about. Some
frames of every episode are kept, with all captions that hold in them (`tasks.outcomes`).
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.small.model import FRAME_SIZE
from agent.view import fit
from envs.files import write_whole
from tasks import world_tasks
from tasks.outcomes import Shown
from tasks.task import Task
from training.data.disturb import NOISE, random_walk
from training.recipe import OnProgress, Progress, ignore_progress
from training.small.demonstrate import open_world
from training.workers.hire import hire
from training.workers.workers import Failed

FRAMES, CAPTIONS = "frames.npy", "captions.jsonl"
KEPT = 12  # frames of an episode
_AT_THE_END = 4  # of them, from what follows the success and what comes right before it
_LINGER = 6  # decisions after the success
_BURST = 4  # the most random decisions in a row
_PORTION = 16  # tasks
_IDLE = 0.15  # share of episodes in which somebody wanders about
_WANDER = 40  # decisions of such an episode

Frame = npt.NDArray[np.uint8]
Moment = tuple[Frame, Shown]


@dataclass(frozen=True)
class CaptionedFrames:
    """Frames and what is said of them: `frames` uint8 (N, H, W, 3), and N lists of captions that hold and that don't.
    `worlds`: the world of every frame."""

    frames: npt.NDArray[np.uint8]
    shown: Sequence[Shown]
    worlds: Sequence[str]

    @classmethod
    def load(cls, folder: Path) -> CaptionedFrames:
        """What `collect` wrote; the frames are mapped. Raises ValueError where the folder is not whole."""
        try:
            lines = [json.loads(line) for line in (folder / CAPTIONS).read_text().splitlines()]
            frames = np.load(folder / FRAMES, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise ValueError(f"{folder}: no whole set of captioned frames: {error.strerror}") from error
        if len(frames) != len(lines):
            raise ValueError(f"{folder}: {len(frames)} frames, but {len(lines)} lines of captions")
        shown = [Shown(tuple(line["true"]), tuple(line["false"])) for line in lines]
        return cls(frames, shown, [line["world"] for line in lines])


def collect(
    out: Path,
    counts: Mapping[str, int],
    seed: int,
    *,
    evaluation: bool = False,
    workers: str | int = 2,
    on_progress: OnProgress = ignore_progress,
) -> Path:
    """Write captioned frames of `counts` episodes of each suite to the folder `out`, which it returns.

    `evaluation`: levels of evaluation's half of the seeds; held-out suites may be among them. A folder that is whole is
    left as it is, and a run that was killed goes on. Raises ValueError for a suite that is held out, and for a world
    without outcomes.
    """
    if (out / CAPTIONS).exists():
        return out
    jobs: list[Task] = []
    for name, episodes in counts.items():
        suite = world_tasks.suite(name) if evaluation else world_tasks.training(name)
        if world_tasks.of(suite.world).outcomes is None:
            raise ValueError(f"suite {name!r}: world {suite.world!r} has no captions of outcomes")
        jobs += [suite.task(seed, index, evaluation=evaluation) for index in range(episodes)]
    if not jobs:
        raise ValueError("no episodes to collect")
    parts = out / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    portions = [Portion(parts / f"{i:06d}.npz", tuple(jobs[i : i + _PORTION])) for i in range(0, len(jobs), _PORTION)]
    todo = [portion for portion in portions if not portion.path.exists()]
    done = len(portions) - len(todo)
    if todo:
        with hire(partial(Collector, seed), workers, most=len(todo)) as crew:
            for portion, result in crew.run(todo):
                if isinstance(result, Failed):
                    raise RuntimeError(f"{portion.tasks[0].id} and following: {result.error}")
                done += 1
                on_progress(Progress("frames", min(done * _PORTION, len(jobs)), len(jobs)))
    _merge(out, portions)
    shutil.rmtree(parts)
    return out


@dataclass(frozen=True)
class Portion:
    """Tasks that are played one after the other, and the file of their moments."""

    path: Path
    tasks: tuple[Task, ...]


def _merge(out: Path, portions: Sequence[Portion]) -> None:
    """Put the moments of all portions into one array and one file of captions."""
    found = [np.load(portion.path, allow_pickle=False) for portion in portions]
    lines = [str(line) for part in found for line in part["lines"]]
    frames = np.lib.format.open_memmap(out / FRAMES, "w+", np.uint8, (len(lines), *FRAME_SIZE, 3))
    row = 0
    for part in found:
        mine = part["frames"]
        frames[row : row + len(mine)] = mine
        row += len(mine)
        part.close()
    frames.flush()
    write_whole(out / CAPTIONS, ("\n".join(lines) + "\n").encode())


class Collector:
    """A Worker that plays tasks and writes some moments of each."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._worlds: dict[str, Any] = {}

    def work(self, job: Portion) -> int:
        """Play a portion; the number of its frames."""
        moments = [(task, moment) for task in job.tasks for moment in self._play(task)]
        lines = [
            json.dumps({"world": task.world, "task": task.id, "true": shown.true, "false": shown.false})
            for task, (_, shown) in moments
        ]
        content = io.BytesIO()
        np.savez(content, frames=np.stack([frame for _, (frame, _) in moments]), lines=np.array(lines))
        write_whole(job.path, content.getvalue())
        return len(moments)

    def close(self) -> None:
        for world in self._worlds.values():
            world.close()

    def _play(self, task: Task) -> list[Moment]:
        """Some moments of an episode, in their order."""
        if task.world not in self._worlds:
            self._worlds[task.world] = open_world(task.world)
        world, brought = self._worlds[task.world], world_tasks.of(task.world)
        rng = np.random.default_rng([self._seed, task.seed])
        outcomes = brought.outcomes
        assert outcomes is not None
        frames, states = [], []
        for frame, state in _episode(world, task, rng):
            frames.append(frame)
            states.append(state)
        late = rng.permutation(np.arange(max(0, len(frames) - 2 * _LINGER), len(frames)))[:_AT_THE_END]
        any_time = rng.permutation(len(frames))[: KEPT - len(late)]
        rows = sorted({*late.tolist(), *any_time.tolist()})
        return [(fit(frames[i], FRAME_SIZE), outcomes.shown(states[i])) for i in rows]


def _episode(world: Any, task: Task, rng: np.random.Generator) -> Iterator[tuple[Frame, Any]]:
    """Frames and states of an episode, one before every decision and after the last one."""
    observation, info = world.reset(seed=task.seed, options=task.options)
    verifier = world_tasks.verifier_of(task)
    idle = task.verifier is None or rng.random() < _IDLE
    decide = None if idle or task.verifier is None else world_tasks.of(task.world).expert(task.verifier)
    noise, linger, tick = 0, _WANDER if idle else _LINGER, 0
    done = idle
    while tick < task.time_limit and linger:
        yield observation["pixels"], info["state"]
        if noise == 0 and rng.random() < NOISE:
            noise = int(rng.integers(1, _BURST + 1))
        wild = noise > 0 or decide is None
        noise = max(0, noise - 1)
        decision = random_walk(rng) if wild or decide is None else decide(info["state"])
        observation, _, terminated, truncated, info = world.step_chunk(decision.actions)
        tick += len(decision.actions)
        if not done and verifier is not None:
            done = verifier.update(info["state"]) is not None
        linger -= done
        if terminated or truncated:
            break
    yield observation["pixels"], info["state"]

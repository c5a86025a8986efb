"""Cases of which the truth is known, made of recorded episodes: successes, failures, and ways to fool a reward.

An episode succeeds where the goal is reached in it: it was not so at the start, and is so at the end. Recorded episodes
end soon after the verdict of their verifier, so these follow from it without the game. A success in which nothing was
done, such as that of "stand still", looks like its start and its halves, so nothing is cut off it or left alone of it:

    success              as recorded
    failure              as recorded
    near miss            a success that stops one to six decisions before its verdict
    cut short            the first half of a success
    rewound              a success that is played back to its start: nothing is left of it
    done before it began nothing but the end of a success: it was so all the time
    idle                 nothing but the start of an episode
    wrong object         a success of something else: the instruction names another thing of the level
    relabelled           a success of something else: the instruction is that of another task
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tasks import world_tasks
from tasks.goal_text import goal_of
from tasks.task import Task
from training.data.episodes import Episode
from training.data.footage import RecordedFootage, task_of

KINDS = (
    "success", "failure", "near miss", "cut short", "rewound", "done before it began", "idle", "wrong object",
    "relabelled",
)  # fmt: skip
_STILL = 12  # frames of a case in which nothing happens
_FEW = 4  # decisions: of a shorter success there is nothing to cut off

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """Frames that a reward is asked about. `episode`: the folder's name; all cases of an episode fall into the same
    half when a reward is calibrated."""

    task: Task
    frames: Frames
    success: bool
    kind: str
    episode: str

    @property
    def why(self) -> str:
        return self.kind

    def decision_frames(self) -> Frames:
        return self.frames

    @property
    def held_back(self) -> bool:
        """Whether the case is of the half that figures are reported on, not of the half that a threshold is fitted
        to."""
        return bool(zlib.crc32(self.episode.encode()) & 1)


def cases_of(episode: Episode, others: Sequence[Task]) -> Iterator[Case]:
    """The cases of one recorded episode. `others`: tasks that an instruction may come from. Nothing of an episode
    without a verdict. Raises DamagedEpisodeError."""
    task, footage = task_of(episode), RecordedFootage(episode)
    if episode.success is None:
        return
    rng = np.random.default_rng(zlib.crc32(episode.path.name.encode()))
    frames = footage.decision_frames()

    def case(kind: str, shown: Frames, asked: Task = task, success: bool = False) -> Case:
        return Case(asked, shown, success, kind, episode.path.name)

    still = episode.success and not acted(episode)
    if not still:
        yield case("idle", np.repeat(frames[:1], _STILL, axis=0))
    if not episode.success:
        yield case("failure", frames)
        return
    yield case("success", frames, success=True)
    before = decided_at(episode, len(frames))
    if before >= _FEW and not still:
        cut = max(1, before - int(rng.integers(1, 7)))
        yield case("near miss", frames[:cut])
        yield case("cut short", frames[: max(1, before // 2)])
        yield case("rewound", np.concatenate([frames, frames[-2::-1]]))
    if not still:
        yield case("done before it began", np.repeat(frames[-1:], _STILL, axis=0))
    other = world_tasks.of(task.world).other_words(rng, task)
    if other is not None:
        yield case("wrong object", frames, replace(task, instruction=other))
    mine = goal_of(task.world, task.instruction)
    fitting = [one for one in others if one.world == task.world and goal_of(one.world, one.instruction) != mine]
    if fitting:
        asked = fitting[int(rng.integers(len(fitting)))]
        yield case("relabelled", frames, replace(task, instruction=asked.instruction, verb=asked.verb))


def acted(episode: Episode) -> bool:
    """Whether anything was pressed or moved in an episode."""
    steps = episode.steps
    pressed = any(any(steps[name].to_pylist()) for name in ("keys", "buttons"))
    return pressed or any(steps[name].to_numpy().any() for name in ("yaw", "pitch", "wheel"))


def decided_at(episode: Episode, frames: int) -> int:
    """How many of the frames, one a decision, came before the verdict."""
    steps = episode.steps
    decided = episode.outcome.get("decided")
    asked = np.unique(steps["asked"].to_numpy())
    asked = asked[asked >= 0]
    before = int((asked < decided).sum()) if decided is not None else frames - 1
    return min(before, frames - 1)

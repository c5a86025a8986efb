"""`RewardWrapper`: puts a reward on any world, so that every library of reinforcement learning can train on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
import numpy.typing as npt

from envs.action import Action
from envs.errors import UserError
from envs.world import Observation, World
from rewards.reward import Footage, Frames, Reward, VerifiedFootage, load_reward, score_pairs
from rewards.score import Failure, Score
from tasks.task import Task

LONGEST = 2000  # frames of an episode that are kept for a reward that scores whole episodes


@runtime_checkable
class FrameReward(Reward, Protocol):
    """A reward that can score a single frame."""

    def goal(self, world: str, instruction: str, picture: str = "") -> Any:
        """A goal that frames are scored against; None where one frame can't show its outcome."""

    def chances(self, goals: Sequence[Any], frames: Frames) -> npt.NDArray[np.float32]:
        """The chance, 0 to 1, that each of B frames shows that the goal of its row is reached."""

    @property
    def threshold(self) -> float:
        """The chance from which on the goal counts as reached."""


def goal_and_frames(reward: FrameReward, task: Task, episode: Footage) -> tuple[Any, Frames] | Failure:
    """The goal of a task, and the frames of an episode of it; a Failure where one of them can't be had."""
    goal = reward.goal(task.world, task.instruction, task.picture)
    if goal is None:
        return Failure(f"one frame can't show whether {task.instruction!r} is done")
    try:
        return goal, episode.decision_frames()
    except Exception as error:  # a broken file must not end the scoring of the others
        return Failure(f"its frames can't be read: {error}")


class WholeEpisodes:
    """A FrameReward that scores episodes at their ends alone, as it was measured: asked after every frame, it has as
    many chances to be wrong."""

    def __init__(self, part: Reward) -> None:
        self.name, self.sees_truth, self.part = part.name, part.sees_truth, part

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        return self.score_pairs([(task, episode) for episode in episodes])

    def score_pairs(self, pairs: Sequence[tuple[Task, VerifiedFootage]]) -> list[Score | Failure]:
        return score_pairs(self.part, pairs)


class EveryFrame:
    """A FrameReward that scores an episode by the best frame that a decision led to, as learning sees it that asks
    after every decision. It has as many chances to be wrong, so it needs a higher threshold than one that is asked at
    the end."""

    sees_truth = False

    def __init__(self, part: FrameReward) -> None:
        self.name, self.part = f"frames:{part.name}", part

    @property
    def threshold(self) -> float:
        return self.part.threshold

    def goal(self, world: str, instruction: str, picture: str = "") -> Any:
        return self.part.goal(world, instruction, picture)

    def chances(self, goals: Sequence[Any], frames: Frames) -> npt.NDArray[np.float32]:
        return self.part.chances(goals, frames)

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        return [self._score(task, episode) for episode in episodes]

    def _score(self, task: Task, episode: VerifiedFootage) -> Score | Failure:
        found = goal_and_frames(self, task, episode)
        if isinstance(found, Failure):
            return found
        goal, frames = found
        first = min(1, len(frames) - 1)
        chances = self.chances([goal] * (len(frames) - first), frames[first:])
        best = int(np.argmax(chances))
        chance = float(chances[best])
        return Score(
            100.0 * chance, chance >= self.threshold, f"{chance:.2f} in frame {first + best}", self.name,
            saw=(first + best,),
        )  # fmt: skip


def load_every_frame(part: str) -> EveryFrame:
    """`frames:A`: a reward that scores frames. Raises UserError."""
    reward = load_reward(part)
    if not isinstance(reward, FrameReward):
        raise UserError(f"reward frames:{part}: {part} scores no single frames")
    return EveryFrame(reward)


class RewardWrapper(gymnasium.Wrapper[Observation, Action, Observation, Action]):
    """A world whose reward comes from a reward model.

    A FrameReward scores every frame: the reward is 1 where the chance reaches its threshold, and the episode ends there
    (`ends`). With `shaped` the reward of a step is the difference of chances instead, and 1 more at the end. Any other
    reward scores the whole episode when it ends, by its success; an episode that it can't score earns 0, and says so in
    `info["reward_failure"]`. `info["chance"]` is the chance of the last frame; `info["state"]` is taken out.

    `reward`: a reward, or its name. `name`: the world's, by which its language is known. Raises ValueError for a reward
    that sees ground truth, and for an instruction whose outcome the reward can't see.
    """

    def __init__(
        self,
        world: World,
        reward: Reward | str,
        instruction: str,
        *,
        name: str,
        ends: bool = True,
        shaped: bool = False,
    ) -> None:
        super().__init__(world)
        self._reward = load_reward(reward) if isinstance(reward, str) else reward
        if self._reward.sees_truth:
            raise ValueError(f"reward {self._reward.name!r} sees ground truth: an agent must not learn from it")
        self._task = Task("wrapped", instruction, name)
        self._ends, self._shaped = ends, shaped
        self._goal: Any = None
        if isinstance(self._reward, FrameReward):
            self._goal = self._reward.goal(name, instruction)
            if self._goal is None:
                raise ValueError(f"reward {self._reward.name!r}: one frame can't show whether {instruction!r} is done")
        self._frames: list[Frames] = []
        self._chance = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._frames = [] if self._goal is not None else [observation["pixels"]]
        self._chance = self._chance_of(observation)
        return observation, self._told(info)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(action)
        info = self._told(info)
        if self._goal is None:
            self._frames.append(observation["pixels"])
            del self._frames[: max(0, len(self._frames) - LONGEST)]
            value = self._whole(info) if terminated or truncated else 0.0
            return observation, value, terminated, truncated, info
        before, self._chance = self._chance, self._chance_of(observation)
        assert isinstance(self._reward, FrameReward)
        reached = self._chance >= self._reward.threshold
        value = (self._chance - before if self._shaped else 0.0) + float(reached and (self._ends or not self._shaped))
        info["chance"] = self._chance
        return observation, value, terminated or (reached and self._ends), truncated, info

    def _chance_of(self, observation: Observation) -> float:
        if self._goal is None:
            return 0.0
        assert isinstance(self._reward, FrameReward)
        return float(self._reward.chances([self._goal], observation["pixels"][None])[0])

    def _whole(self, info: dict[str, Any]) -> float:
        """The reward of a whole episode."""
        (result,) = score_pairs(self._reward, [(self._task, _Seen(np.stack(self._frames)))])
        if isinstance(result, Failure):
            info["reward_failure"] = result.why
            return 0.0
        return float(result.success)

    @staticmethod
    def _told(info: dict[str, Any]) -> dict[str, Any]:
        """What a learner may know."""
        return {name: value for name, value in info.items() if name != "state"}


class _Seen:
    """The frames of an episode that goes on."""

    success: bool | None = None
    why = ""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def decision_frames(self) -> Frames:
        return self._frames

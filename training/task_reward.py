"""`TaskReward`: the tasks of a suite, with a reward model in the place of the truth."""

from __future__ import annotations

from typing import Any

import gymnasium

from envs.action import Action
from rewards.reward import Reward, load_reward
from rewards.wrapper import RewardWrapper
from tasks.task_environment import TaskEnvironment

_TRIES = 100  # tasks that are drawn until the reward can see the outcome of one


class TaskReward(gymnasium.Wrapper[Any, Any, Any, Action]):
    """A TaskEnvironment whose reward is that of a reward model, as rewards.wrapper.RewardWrapper gives it.

    `reward`: a reward, or its name; it sees pixels and the instruction. A task whose outcome it can't see is passed
    over. Raises ValueError for a reward that sees ground truth, or that can see the outcome of no task.
    """

    def __init__(self, env: TaskEnvironment, reward: Reward | str, *, shaped: bool = False) -> None:
        super().__init__(env)
        self._reward = load_reward(reward) if isinstance(reward, str) else reward
        if self._reward.sees_truth:
            raise ValueError(f'reward {self._reward.name!r} sees ground truth: reward="truth" is the one that may')
        self._tasks, self._shaped = env, shaped
        self._rewarded: RewardWrapper | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next task whose outcome the reward can see."""
        for _ in range(_TRIES):
            number = self._tasks.draw(seed, options)
            task = self._tasks.numbered(number)
            try:
                env: Any = self._tasks
                self._rewarded = RewardWrapper(
                    env, self._reward, task.instruction, name=task.world, shaped=self._shaped
                )
            except ValueError as error:
                if options and options.get("task") is not None:
                    raise
                seed, refused = None, error
                continue
            return self._rewarded.reset(options={"task": number})
        raise refused

    def step(self, action: Action) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._rewarded is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        return self._rewarded.step(action)

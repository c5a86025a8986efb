"""Train with a library of reinforcement learning: PPO of Stable-Baselines3 on a world and a reward model.

    pip install 'ludens[benchmarks]'
    python examples/stable_baselines3_ppo.py clip ppo.zip 50000
    python examples/stable_baselines3_ppo.py examples.write_a_reward:Change

`RewardWrapper` makes a Gymnasium environment of a world, a reward and an instruction. The library is used unchanged: it
wants an array of pixels and numbered actions, and two small wrappers make them.
"""

from __future__ import annotations

import sys
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3 import PPO
from stable_baselines3.common.monitor import Monitor

from envs import plugins
from envs.action import Action
from envs.world import Observation
from envs.wrappers import TimeLimit
from rewards.reward import Reward
from rewards.wrapper import RewardWrapper
from tasks import world_tasks

ACTIONS = (
    Action(keys=frozenset({"KeyW"})),
    Action(look=(-4.0, 0.0)),
    Action(look=(4.0, 0.0)),
    Action(keys=frozenset({"KeyW"}), look=(-4.0, 0.0)),
    Action(keys=frozenset({"KeyW"}), look=(4.0, 0.0)),
)
TICKS = 70  # two seconds

Pixels = npt.NDArray[np.uint8]


class Levels(gymnasium.Wrapper[Observation, Action, Observation, Action]):
    """Every episode begins in the level of one task."""

    def __init__(self, env: gymnasium.Env[Observation, Action], seed: int, options: dict[str, Any]) -> None:
        super().__init__(env)
        self._seed, self._options = seed, options

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        return self.env.reset(seed=self._seed, options=self._options)


class Numbered(gymnasium.ActionWrapper[Observation, int, Action]):
    """One of ACTIONS for each tick."""

    def __init__(self, env: gymnasium.Env[Observation, Action]) -> None:
        super().__init__(env)
        self.action_space = gymnasium.spaces.Discrete(len(ACTIONS))  # type: ignore[assignment]

    def action(self, action: int) -> Action:
        return ACTIONS[int(action)]


class Small(gymnasium.ObservationWrapper[Pixels, int, Observation]):
    """Every second pixel of every second row."""

    def __init__(self, env: gymnasium.Env[Observation, int]) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(0, 255, (60, 80, 3), np.uint8)

    def observation(self, observation: Observation) -> Pixels:
        return observation["pixels"][::2, ::2]


def environment(reward: Reward | str, number: int = 0) -> gymnasium.Env[Pixels, int]:
    """A task of doom-basic as a library of reinforcement learning wants it."""
    task = world_tasks.training("doom-basic").task(0, number, evaluation=False)
    world = TimeLimit(plugins.load("world", task.world)(), TICKS)
    rewarded = RewardWrapper(world, reward, task.instruction, name=task.world)
    return Small(Numbered(Levels(rewarded, task.seed, dict(task.options))))


def main(reward: Reward | str, steps: int = 20_000, rollout: int = 512) -> PPO:
    env = Monitor(environment(reward))
    model = PPO("CnnPolicy", env, n_steps=rollout, batch_size=64, n_epochs=4, seed=0, device="cpu")
    model.learn(steps)
    print(f"{model.num_timesteps} steps; the last returns were {env.get_episode_rewards()[-5:]}")
    env.close()
    return model


if __name__ == "__main__":
    trained = main(sys.argv[1], steps=int(sys.argv[3]) if len(sys.argv) > 3 else 20_000)
    if len(sys.argv) > 2:  # examples/remote_policy.py plays with it
        trained.save(sys.argv[2])

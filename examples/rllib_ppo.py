"""Train with RLlib: PPO of its new API stack on our tasks as Gymnasium makes them.

    pip install 'ludens[rllib]'
    python examples/rllib_ppo.py ludens/doom-basic-v0 --iterations 20 --env-runners 2

RLlib is used unchanged. Its networks take no bytes, so a wrapper of Gymnasium makes numbers within 0 and 1 of the
pictures, and halves their size. `made` is called in the process of every runner, where Gymnasium has to learn our names
anew.
"""

from __future__ import annotations

import argparse
from typing import Any

import gymnasium
import numpy as np
import ray
from gymnasium.wrappers import TransformObservation
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.tune.registry import register_env

SMALL = gymnasium.spaces.Box(0.0, 1.0, (60, 80, 3), np.float32)
NETWORK = DefaultModelConfig(
    conv_filters=[[16, 8, 4], [32, 4, 2], [32, 3, 1]],  # type: ignore[list-item]
    head_fcnet_hiddens=[256],
    vf_share_layers=True,
)


def made(config: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """The environment of a configuration: `env_id`, and what `gymnasium.make` takes beside it."""
    import training.registration  # noqa: F401 - registers ludens/...

    env: gymnasium.Env[Any, Any] = gymnasium.make(**{"actions": "discrete", "instruction": "none", **config})
    return TransformObservation(env, lambda pixels: np.float32(pixels[::2, ::2]) / np.float32(255), SMALL)


def configured(env_id: str, env_runners: int = 0, batch: int = 512, **more: Any) -> PPOConfig:
    """PPO on an environment. `env_runners`: processes that play; with 0 this one does. `batch`: steps an iteration."""
    register_env("ludens", made)
    config = PPOConfig().environment("ludens", env_config={"id": env_id, **more})
    config = config.env_runners(num_env_runners=env_runners).learners(num_learners=0)
    return (
        config.training(train_batch_size_per_learner=batch, minibatch_size=min(128, batch), num_epochs=4, lr=3e-4)
        .rl_module(model_config=NETWORK)
        .debugging(seed=0)
    )


def main(config: PPOConfig, iterations: int) -> list[dict[str, Any]]:
    """What every iteration reported."""
    if not ray.is_initialized():
        ray.init(include_dashboard=False)
    algorithm = config.build_algo()
    results = []
    for number in range(1, iterations + 1):
        results.append(algorithm.train())
        played = results[-1]["env_runners"]
        print(
            f"{number}: {played['num_env_steps_sampled_lifetime']:.0f} steps, "
            f"mean return {played.get('episode_return_mean', float('nan')):.3f}"
        )
    algorithm.stop()
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("env_id", nargs="?", default="ludens/doom-basic-v0")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--env-runners", type=int, default=0)
    parser.add_argument("--reward", default="truth")
    args = parser.parse_args()
    main(configured(args.env_id, args.env_runners, reward=args.reward), args.iterations)

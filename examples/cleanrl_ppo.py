"""Train in the style of CleanRL: PPO in one file, on our tasks as Gymnasium makes them.

    python examples/cleanrl_ppo.py --env-id ludens/doom-basic-v0 --reward truth --total-steps 200000
    python examples/cleanrl_ppo.py --env-id ludens/doom-basic-v0 --reward judge --num-envs 4

The policy sees the picture and the words of the instruction, so it can learn to do what it is told. Schulman et al.
2017, with the details of Huang et al. 2022 that matter here: orthogonal weights, advantages normalised by batch, the
value's loss unclipped. An episode of doom-basic has up to 132 steps of four ticks.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import nn

import training.registration  # noqa: F401 - registers ludens/...
from envs.instructions import WORDS


@dataclass
class Args:
    """What can be said on the command line."""

    env_id: str = "ludens/doom-basic-v0"
    reward: str = "truth"
    total_steps: int = 200_000
    num_envs: int = 4
    num_steps: int = 128
    learning_rate: float = 2.5e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    minibatches: int = 4
    epochs: int = 4
    clip: float = 0.1
    entropy: float = 0.01
    value: float = 0.5
    max_grad_norm: float = 0.5
    seed: int = 1


def layer(module: nn.Linear | nn.Conv2d, std: float = 2**0.5) -> nn.Module:
    nn.init.orthogonal_(module.weight, std)
    assert module.bias is not None
    nn.init.zeros_(module.bias)
    return module


class Agent(nn.Module):
    """Actor and critic over the picture, at half its size, and the sum of the instruction's words."""

    def __init__(self, actions: int) -> None:
        super().__init__()
        self.eyes = nn.Sequential(
            layer(nn.Conv2d(3, 32, 8, stride=4)), nn.ReLU(), layer(nn.Conv2d(32, 64, 4, stride=2)), nn.ReLU(),
            layer(nn.Conv2d(64, 64, 3, stride=1)), nn.ReLU(), nn.Flatten(), nn.LazyLinear(256), nn.ReLU(),
        )  # fmt: skip
        self.words = nn.EmbeddingBag(WORDS, 256, mode="sum", padding_idx=0)
        self.actor = layer(nn.Linear(512, actions), 0.01)
        self.critic = layer(nn.Linear(512, 1), 1.0)

    def hidden(self, pixels: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        picture = pixels[:, ::2, ::2].permute(0, 3, 1, 2).float() / 255.0
        return torch.cat([self.eyes(picture), torch.tanh(self.words(words))], 1)

    def forward(
        self, pixels: torch.Tensor, words: torch.Tensor, action: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Action, its log-probability, the entropy and the value."""
        hidden = self.hidden(pixels, words)
        chances = torch.distributions.Categorical(logits=self.actor(hidden))
        action = chances.sample() if action is None else action
        return action, chances.log_prob(action), chances.entropy(), self.critic(hidden).flatten()


def tensors(observation: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.as_tensor(observation["pixels"]), torch.as_tensor(observation["instruction"])


def main(args: Args) -> list[float]:
    """The returns of the episodes, in order."""
    torch.manual_seed(args.seed)
    envs = gymnasium.make_vec(
        args.env_id, num_envs=args.num_envs, reward=args.reward, actions="discrete", instruction="ids",
        vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
    )  # fmt: skip
    agent = Agent(int(envs.single_action_space.n))  # type: ignore[attr-defined]
    pixels, words = tensors(envs.reset(seed=args.seed)[0])
    agent(pixels, words)  # sizes the lazy layer
    optimizer = torch.optim.Adam(agent.parameters(), args.learning_rate, eps=1e-5)
    shape = (args.num_steps, args.num_envs)
    kept = {"pixels": torch.zeros(*shape, *pixels.shape[1:], dtype=torch.uint8)}
    kept |= {"words": torch.zeros(*shape, *words.shape[1:], dtype=words.dtype)}
    kept |= {name: torch.zeros(shape) for name in ("log_prob", "reward", "over", "value")}
    actions = torch.zeros(shape, dtype=torch.long)
    returns: list[float] = []
    running = np.zeros(args.num_envs)
    begun = time.time()
    for update in range(1, args.total_steps // (args.num_steps * args.num_envs) + 1):
        for step in range(args.num_steps):
            with torch.no_grad():
                action, log_prob, _, value = agent(pixels, words)
            observation, reward, terminated, truncated, _ = envs.step(action.numpy())
            over = np.logical_or(terminated, truncated)
            kept["pixels"][step], kept["words"][step], actions[step] = pixels, words, action
            kept["log_prob"][step], kept["value"][step] = log_prob, value
            kept["reward"][step], kept["over"][step] = torch.as_tensor(reward), torch.as_tensor(over)
            running += reward
            returns += running[over].tolist()
            running[over] = 0.0
            pixels, words = tensors(observation)
        learn(args, agent, optimizer, kept, actions, agent(pixels, words)[3].detach())
        done = update * args.num_steps * args.num_envs
        mean = np.mean(returns[-100:]) if returns else float("nan")
        print(
            f"{done} steps, {len(returns)} episodes, mean return {mean:.3f}, {done / (time.time() - begun):.0f} steps/s"
        )
    envs.close()
    return returns


def learn(
    args: Args, agent: Agent, optimizer: torch.optim.Optimizer, kept: dict[str, torch.Tensor], actions: torch.Tensor,
    following: torch.Tensor,
) -> None:  # fmt: skip
    """An update. `following`: the value of what came after the last step."""
    advantages, last = torch.zeros_like(kept["reward"]), torch.zeros(args.num_envs)
    for step in reversed(range(args.num_steps)):
        after = following if step == args.num_steps - 1 else kept["value"][step + 1]
        goes_on = 1.0 - kept["over"][step]
        delta = kept["reward"][step] + args.gamma * after * goes_on - kept["value"][step]
        advantages[step] = last = delta + args.gamma * args.gae_lambda * goes_on * last
    targets = (advantages + kept["value"]).flatten()
    flat = {name: value.flatten(0, 1) for name, value in kept.items()}
    chosen, gains = actions.flatten(), advantages.flatten()
    for _ in range(args.epochs):
        for batch in torch.randperm(len(chosen)).chunk(args.minibatches):
            _, log_prob, entropy, value = agent(flat["pixels"][batch], flat["words"][batch], chosen[batch])
            ratio = (log_prob - flat["log_prob"][batch]).exp()
            gain = (gains[batch] - gains[batch].mean()) / (gains[batch].std() + 1e-8)
            policy = torch.max(-gain * ratio, -gain * ratio.clamp(1 - args.clip, 1 + args.clip)).mean()
            error = 0.5 * (value - targets[batch]).square().mean()
            optimizer.zero_grad()
            (policy + args.value * error - args.entropy * entropy.mean()).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
            optimizer.step()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name, value in vars(Args()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    main(Args(**vars(parser.parse_args())))

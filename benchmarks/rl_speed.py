"""How fast on-policy learning is: collection against a bare loop, and a PPO iteration against Stable-Baselines3's.

    python benchmarks/rl_speed.py --worlds 8 --decisions 512 --rounds 3

The bare loop samples the same policy for the same worlds and does nothing else: no reward, no verifier, nothing kept.
Stable-Baselines3 plays the same Doom with as many environments, decisions, epochs and steps of the optimizer; its
policy is its own small CNN on the same frames. All take turns, so that other work on the machine slows each of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch

from agent.policy import Context, Decision
from envs.action import Action
from envs.doom.world import DoomWorld
from rewards.reward import Footage, Frames
from rewards.score import Failure, Score
from tasks.task import Task
from training.rl.collect import starts_of
from training.rl.learnable import Learnable
from training.rl.learner import Learner
from training.rl.load import load_learnable
from training.rl.recipe import RlRecipe
from training.rl.rollouts import Collector, Sample, Start, sampler

PEER = "PPO iteration of Stable-Baselines3"
ACTIONS = tuple(
    Action(keys=frozenset({key} - {""}), look=(turn, 0.0)) for key in ("", "KeyW") for turn in (-4.0, 0.0, 4.0)
)


class Never:
    """A FrameReward that costs nothing and pays nothing: what is measured is the collection."""

    name = "never"
    sees_truth = False
    threshold = 2.0

    def goal(self, world: str, instruction: str, picture: str = "") -> Any:
        return instruction

    def chances(self, goals: Sequence[Any], frames: Frames) -> npt.NDArray[np.float32]:
        return np.zeros(len(frames), np.float32)

    def score(self, task: Task, episodes: Sequence[Footage]) -> list[Score | Failure]:
        return [Failure("never")] * len(episodes)


class Doom(gymnasium.Env[npt.NDArray[np.uint8], int]):
    """Doom as Stable-Baselines3 wants it: one of six actions for the ticks of a decision, and an end of episodes."""

    observation_space = gymnasium.spaces.Box(0, 255, (120, 160, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(len(ACTIONS))  # type: ignore[assignment]

    def __init__(self, starts: Sequence[Start], chunk: int) -> None:
        self._world, self._tasks, self._chunk = DoomWorld(), [start.task for start in starts], chunk
        self._played, self._left = 0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        task = self._tasks[self._played % len(self._tasks)]
        self._played, self._left = self._played + 1, task.time_limit
        observation, _ = self._world.reset(seed=task.seed, options=dict(task.options))
        return observation["pixels"], {}

    def step(self, action: int) -> tuple[npt.NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        observation, _, over, cut, _ = self._world.step_chunk([ACTIONS[int(action)]] * min(self._chunk, self._left))
        self._left -= self._chunk
        return observation["pixels"], 0.0, over, cut or self._left <= 0, {}

    def close(self) -> None:
        self._world.close()


class Bare:
    """An episode with what a prompt needs of the past, and nothing else."""

    def __init__(self, world: DoomWorld, task: Task) -> None:
        self.world, self.task, self.left, self.over = world, task, task.time_limit, False
        self.frame = world.reset(seed=task.seed, options=dict(task.options))[0]["pixels"]
        self.chunks: tuple[tuple[Action, ...], ...] = ()
        self.thoughts: tuple[str, ...] = ()

    def context(self) -> Context:
        return Context((self.frame,), self.task.instruction, self.chunks, self.thoughts)

    def act(self, decision: Decision) -> None:
        actions = decision.actions[: self.left]
        observation, _, over, cut, _ = self.world.step_chunk(actions)
        self.frame, self.left = observation["pixels"], self.left - len(actions)
        self.chunks, self.thoughts = (*self.chunks[-15:], actions), (*self.thoughts[-15:], decision.thought)
        self.over = over or cut or decision.done or not self.left


def bare(worlds: Sequence[DoomWorld], sample: Sample, starts: Sequence[Start]) -> int:
    """Sample and step; how many decisions. A world that is free takes the next task, as in the collection."""
    count, free, waiting = 0, list(worlds), [start.task for start in starts]
    playing: list[Bare] = []
    while playing or waiting:
        while free and waiting:
            playing.append(Bare(free.pop(), waiting.pop(0)))
        for one, decision in zip(playing, sample([one.context() for one in playing]), strict=True):
            one.act(decision)
        count += len(playing)
        free += [one.world for one in playing if one.over]
        playing = [one for one in playing if not one.over]
    return count


def collection(learnable: Learnable, collector: Collector, starts: Sequence[Start]) -> int:
    """Collect; how many decisions."""
    found = collector.collect(learnable.spec, sampler(learnable, 1.0, 0), starts)
    return sum(len(one.rewards) for one in found.rollouts)


def iteration(learner: Learner, collector: Collector, starts: Sequence[Start]) -> int:
    """Collect and learn; how many decisions."""
    rollouts = collector.collect(learner.learnable.spec, sampler(learner.learnable, 1.0, 0), starts).rollouts
    learner.learn(rollouts, 0)
    return sum(len(one.rewards) for one in rollouts)


def theirs(
    recipe: RlRecipe, starts: Sequence[Start], decisions: int, chunk: int, stack: ExitStack
) -> Callable[[], int]:
    """A PPO iteration of Stable-Baselines3. Raises ImportError where it is not installed."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import DummyVecEnv

    steps = max(2, decisions // recipe.worlds)
    env = DummyVecEnv([lambda: Doom(starts, chunk)] * recipe.worlds)
    stack.callback(env.close)
    model = PPO("CnnPolicy", env, n_steps=steps, batch_size=recipe.batch, n_epochs=recipe.epochs, device="cpu")

    def iterate() -> int:
        model.learn(steps * recipe.worlds)
        return steps * recipe.worlds

    return iterate


def measure(contenders: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Decisions/s of each, in turn, after a round that does not count."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, run in contenders.items():
            began = time.perf_counter()
            count = run()
            if number:
                rates[name].append(count / (time.perf_counter() - began))
    return rates


def alternated(
    learnable: Learnable, recipe: RlRecipe, starts: Sequence[Start], options: argparse.Namespace, stack: ExitStack
) -> dict[str, list[float]]:
    """Decisions/s of all contenders, by name."""
    worlds, collector = [DoomWorld() for _ in range(recipe.worlds)], Collector(DoomWorld, recipe.worlds, Never())
    for world in worlds:
        stack.callback(world.close)
    stack.callback(collector.close)
    playing: dict[str, Callable[[], int]] = {
        "bare loop": lambda: bare(worlds, sampler(learnable, 1.0, 0), starts),
        "collection": lambda: collection(learnable, collector, starts),
    }
    learner = Learner(learnable, recipe)
    learning: dict[str, Callable[[], int]] = {"PPO iteration": lambda: iteration(learner, collector, starts)}
    try:
        learning[PEER] = theirs(recipe, starts, options.decisions, learnable.spec.chunk, stack)
    except ImportError:
        print("Stable-Baselines3 is not installed: pip install 'ludens[benchmarks]'")
    return measure(playing, options.rounds) | measure(learning, options.rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="small")
    parser.add_argument("--worlds", type=int, default=8)
    parser.add_argument("--decisions", type=int, default=512, help="of an iteration, about")
    parser.add_argument("--time-limit", type=int, default=140, help="ticks of an episode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    learnable = load_learnable(options.policy)
    tasks = max(1, round(options.decisions * learnable.spec.chunk / options.time_limit))
    recipe = RlRecipe.of(
        {
            "policy": options.policy, "suite": "doom-room", "reward": "never", "worlds": options.worlds, "group": 1,
            "tasks": tasks, "time_limit": options.time_limit,
        }
    )  # fmt: skip
    starts = starts_of(recipe, Never(), 0)
    with ExitStack() as stack:
        rates = alternated(learnable, recipe, starts, options, stack)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(f"{recipe.worlds} worlds, {len(starts)} episodes, policy {options.policy}\n")
    print("| what | decisions/s |\n|---|---:|")
    for name, value in medians.items():
        print(f"| {name} | {value:.1f} |")
    ratios = {"collection of bare loop": medians["collection"] / medians["bare loop"]}
    if PEER in medians:
        ratios["PPO iteration of Stable-Baselines3's"] = medians["PPO iteration"] / medians[PEER]
    for name, value in ratios.items():
        print(f"\n{name}: {value:.2f}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"decisions/s": rates, "ratios": ratios}, file, indent=2)


if __name__ == "__main__":
    main()

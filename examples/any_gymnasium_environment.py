"""Put a policy on any Gymnasium environment: its actions become keys, its picture the frame.

    python examples/any_gymnasium_environment.py
    agent play --env gymnasium:CartPole-v1 "keep the pole up" --policy examples.any_gymnasium_environment:KeyMasher

`agent env keymap gymnasium:CartPole-v1` prints the keys as a file to change; docs/gymnasium.md has all of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.loop.players import InStep
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import Action
from envs.gymnasium.world import GymnasiumWorld
from tasks.play import play_task
from tasks.task import Task, VerifierSpec

NAME = "gymnasium:CartPole-v1"


class KeyMasher:
    """Presses one of two keys at random; the context's seed decides which."""

    spec = PolicySpec(View((120, 160)), chunk=1)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        keys = [("Digit0", "Digit1")[np.random.default_rng(context.seed).integers(2)] for context in contexts]
        return [Decision((Action(keys=frozenset({key})),)) for key in keys]


def main(episodes: int = 3) -> None:
    world = GymnasiumWorld("CartPole-v1", "160x120")
    print(f"keys: {sorted(world.action_space.keys)}")  # Digit0 and Digit1 do something here
    # CartPole pays 1 a tick: a return of 15 means that the pole stood for 15 ticks.
    verifier = VerifierSpec("reward", {"at_least": 15})
    for seed in range(episodes):
        task = Task(f"pole/{seed}", "keep the pole up", NAME, seed, {}, 200, verifier)
        outcome = play_task(world, InStep(KeyMasher()), task)
        print(f"seed {seed}: {outcome.ticks} ticks, {outcome.why}")
    world.close()


if __name__ == "__main__":
    main()

"""PPO in one file trains on our tasks as Gymnasium makes them."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from envs.action import NEUTRAL, Action
from envs.action_views import DiscreteActions
from envs.instructions import InstructionIds, Words
from examples import cleanrl_ppo as example


def test_it_trains_on_a_task_of_doom(capsys: pytest.CaptureFixture[str]) -> None:
    args = example.Args(total_steps=32, num_envs=2, num_steps=8, minibatches=2, epochs=1)
    example.main(args)
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" steps, ")[0] for line in said] == ["16", "32"]


class Told(gymnasium.Env[dict[str, Any], Action]):
    """Three steps in which the instruction says which key to press. The picture says nothing."""

    def __init__(self, suite: str) -> None:
        from envs.action import KeyboardMouse

        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": gymnasium.spaces.Box(0, 255, (72, 72, 3), np.uint8), "instruction": Words()}
        )
        self.action_space = KeyboardMouse(("KeyA", "KeyD"), (), max_look=0.0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.left, self.wanted = 3, "KeyA" if self.np_random.random() < 0.5 else "KeyD"
        return self.seen(), {}

    def seen(self) -> dict[str, Any]:
        return {
            "pixels": np.zeros((72, 72, 3), np.uint8),
            "instruction": f"press {'left' if self.wanted == 'KeyA' else 'right'}",
        }

    def step(self, action: Action) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return self.seen(), float(action.keys == {self.wanted}), self.left == 0, False, {}


@pytest.mark.benchmark
def test_it_learns_to_do_what_the_words_say() -> None:
    def make(suite: str = "", **how: Any) -> gymnasium.Env[Any, Any]:
        return InstructionIds(
            DiscreteActions(Told(suite), [NEUTRAL, *(Action(frozenset({k})) for k in ("KeyA", "KeyD"))])
        )

    gymnasium.register("ludens-test/told-v0", entry_point=make)
    torch.manual_seed(0)
    returns = example.main(
        example.Args(
            env_id="ludens-test/told-v0", total_steps=1536, num_envs=8, num_steps=24, learning_rate=1e-3, seed=0
        )
    )
    assert np.mean(returns[:50]) < 1.5  # of 3; by chance 1
    assert np.mean(returns[-50:]) > 2.2

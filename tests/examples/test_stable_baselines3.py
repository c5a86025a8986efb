"""A library of reinforcement learning trains on a world and a reward model, unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from stable_baselines3.common.env_checker import check_env

from examples import stable_baselines3_ppo as example
from examples.write_a_reward import Change
from rewards.reward import Frames

pytestmark = pytest.mark.benchmark


class Dark(Change):
    """A FrameReward: how dark a frame is."""

    threshold = 0.999

    def goal(self, world: str, instruction: str, picture: str = "") -> Any:
        return instruction

    def chances(self, goals: Sequence[Any], frames: Frames) -> npt.NDArray[np.float32]:
        result: npt.NDArray[np.float32] = (1.0 - frames.mean((1, 2, 3)) / 255.0).astype(np.float32)
        return result


def test_the_environment_is_one_of_gymnasium() -> None:
    env = example.environment(Dark())
    check_env(env, skip_render_check=True)  # by the library itself
    observation, info = env.reset()
    assert (observation.shape, "state" in info) == ((60, 80, 3), False)
    again, _ = env.reset(seed=5)
    assert np.array_equal(observation, again)  # the same level
    seen = [env.step(0) for _ in range(example.TICKS)]
    assert [truncated for _, _, _, truncated, _ in seen] == [False] * (example.TICKS - 1) + [True]
    assert not np.array_equal(seen[-1][0], observation)
    env.close()


def test_ppo_trains_on_it(capsys: pytest.CaptureFixture[str]) -> None:
    before = example.PPO("CnnPolicy", example.environment(Dark()), n_steps=64, seed=0, device="cpu")
    model = example.main(Dark(), steps=128, rollout=64)
    assert "128 steps; the last returns were [" in capsys.readouterr().out
    old, new = before.policy.state_dict(), model.policy.state_dict()
    assert any(not torch.equal(old[name], new[name]) for name in old)

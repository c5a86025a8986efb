"""Our tasks as environments of Gymnasium: made by id, checked by Gymnasium, in its vectors, through its wrappers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation, FrameStackObservation

import training.registration  # noqa: F401
from envs.action import Action
from envs.errors import UserError
from envs.instructions import Words, word_ids
from envs.wrappers import WorldWrapper
from tasks import world_tasks
from tasks.task_environment import TaskEnvironment
from tests.examples.test_stable_baselines3 import Dark

ID = "ludens/doom-basic-v0"


class Spy(WorldWrapper):
    """Keeps the ground truth for an expert."""

    state: Any = None

    def reset(self, **how: Any) -> Any:
        return self._kept(super().reset(**how))

    def step_chunk(self, actions: Any) -> Any:
        return self._kept(super().step_chunk(actions))

    def _kept(self, result: Any) -> Any:
        self.state = result[-1]["state"]
        return result


@pytest.fixture(scope="module")
def env() -> Iterator[gymnasium.Env[Any, Any]]:
    made = gymnasium.make(ID, reward="truth")
    yield made
    made.close()


def test_every_suite_has_an_id() -> None:
    registered = {name for name in gymnasium.registry if name.startswith("ludens/")}
    assert {f"ludens/{suite}-v0" for suite in world_tasks.suites()} | {"ludens/doom-v0"} <= registered


def test_the_instruction_is_in_the_observation_and_no_truth_in_the_info(env: gymnasium.Env[Any, Any]) -> None:
    observation, info = env.reset(seed=4)
    task = env.unwrapped.task  # type: ignore[attr-defined]
    assert observation["instruction"] == Words.fit(task.instruction)
    assert observation["pixels"].shape == (120, 160, 3)
    assert observation in env.observation_space
    assert info["task"] == task.id
    seen = [info]
    for _ in range(3):
        seen.append(env.step(env.action_space.sample())[-1])
    assert all("state" not in one for one in seen)
    again, _ = env.reset(seed=4)
    assert np.array_equal(again["pixels"], observation["pixels"])
    other, _ = env.reset()
    assert other["instruction"] != observation["instruction"] or not np.array_equal(other["pixels"], again["pixels"])
    env.reset(options={"task": 7})
    assert env.unwrapped.task == world_tasks.suite("doom-basic").task(0, 7, evaluation=False)  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"actions": "discrete"},
        {"actions": "box", "instruction": "ids"},
        {"actions": "discrete", "instruction": "none"},
    ],
)
def test_gymnasium_finds_nothing_wrong(how: dict[str, Any]) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made = gymnasium.make(ID, render_mode="rgb_array", **how)
        check_env(made if how else made.unwrapped)
        made.close()
    odd = [str(one.message) for one in said if "different from the unwrapped version" not in str(one.message)]
    assert not odd


def test_success_is_a_reward_of_one_and_the_end() -> None:
    """The expert plays task by task; its successes are what the environment says."""
    made = gymnasium.make(ID, ticks=1)
    inner: TaskEnvironment = made.unwrapped  # type: ignore[assignment]
    inner.world = spy = Spy(inner.world)
    for number in range(3):
        _, info = made.reset(options={"task": number})
        task = inner.task
        assert task is not None
        assert task.verifier is not None
        decide = world_tasks.of("doom").expert(task.verifier)
        total, over, steps = 0.0, False, 0
        while not over:
            for action in decide(spy.state).actions:
                _, reward, terminated, truncated, info = made.step(action)
                total, steps, over = total + float(reward), steps + 1, terminated or truncated
                if over:
                    break
        assert (total, terminated, truncated, info["is_success"]) == (1.0, True, False, True)
        assert info["why"]
        assert steps < task.time_limit
    made.close()


def test_time_runs_out() -> None:
    made = gymnasium.make(ID, ticks=400, actions="discrete")
    inner: TaskEnvironment = made.unwrapped  # type: ignore[assignment]
    made.reset(options={"task": world_tasks.suite("doom-basic").verbs.index("pick_up")})
    assert inner.task is not None
    assert inner.task.time_limit == 525
    assert made.step(0)[1:4] == (0.0, False, False)
    _, reward, terminated, truncated, info = made.step(0)
    assert (reward, terminated, truncated, info["is_success"]) == (0.0, False, True, False)
    assert (info["ticks"], info["why"]) == (125, "the time is over")
    made.close()


def test_it_is_vectorised_by_gymnasium() -> None:
    for mode in ("sync", "async"):
        vector = gymnasium.make_vec(
            ID, num_envs=2, vectorization_mode=mode, actions="discrete", instruction="ids", ticks=8
        )
        observation, _ = vector.reset(seed=3)
        assert observation["pixels"].shape == (2, 120, 160, 3)
        assert (observation["instruction"] > 0).any(1).all()
        for _ in range(3):
            observation, rewards, *_ = vector.step(vector.action_space.sample())
        assert rewards.shape == (2,)
        vector.close()
    with pytest.raises(ValueError, match="shared_memory=False"):
        gymnasium.make_vec(ID, num_envs=2, vectorization_mode="async")
    vector = gymnasium.make_vec(ID, num_envs=2, vectorization_mode="async", vector_kwargs={"shared_memory": False})
    observation, _ = vector.reset(seed=3)
    assert all(len(told.split()) > 1 for told in observation["instruction"])
    observation, *_ = vector.step([Action(), Action()])
    assert all(len(told.split()) > 1 for told in observation["instruction"])
    vector.close()


def test_wrappers_of_gymnasium_fit() -> None:
    made = gymnasium.make(ID, actions="discrete", instruction="ids", render_mode="rgb_array")
    stacked = FrameStackObservation(made, 4)
    seen, _ = stacked.reset(seed=1)
    assert {name: part.shape for name, part in seen.items()} == {"pixels": (4, 120, 160, 3), "instruction": (4, 32)}
    flat = FlattenObservation(made)
    vector, _ = flat.reset(seed=1)
    assert vector in flat.observation_space
    assert vector.shape == (120 * 160 * 3 + 32,)
    told = made.unwrapped.task.instruction  # type: ignore[attr-defined]
    assert np.array_equal(vector[:32], word_ids(told))
    assert np.array_equal(made.render(), vector[32:].reshape(120, 160, 3))
    made.close()


def test_a_reward_model_takes_the_place_of_the_truth() -> None:
    made = gymnasium.make(ID, reward=Dark(), actions="discrete")
    _, info = made.reset(seed=2)
    assert "state" not in info
    _, reward, terminated, _, info = made.step(0)
    assert reward == float(info["chance"] >= Dark.threshold)
    assert not terminated or reward
    made.close()
    judged = gymnasium.make(ID, reward="judge", ticks=700)  # small's own judge, after the whole episode
    judged.reset(options={"task": 1})
    _, reward, _, truncated, info = judged.step(Action())
    assert truncated
    assert reward in (0.0, 1.0)
    assert "is_success" in info
    judged.close()


def test_what_is_no_environment_is_said() -> None:
    for suite, why in (("doom-ask", "its success is what a player says"), ("doom-pairs", "held out from training")):
        with pytest.raises(UserError, match=why):
            gymnasium.make(f"ludens/{suite}-v0")
    gymnasium.make("ludens/doom-pairs-v0", evaluation=True).close()
    for wrong in ({"actions": "buttons"}, {"instruction": "words"}):
        with pytest.raises(ValueError, match="expected"):
            gymnasium.make(ID, **wrong)
    with pytest.raises(gymnasium.error.ResetNeeded):
        TaskEnvironment("doom-basic").step(Action())


@pytest.mark.slow
def test_stable_baselines3_trains_on_it_with_pictures_and_words() -> None:
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_checker import check_env as check_for_sb3

    made = gymnasium.make(f"training.registration:{ID}", actions="discrete", instruction="ids", ticks=8)
    check_for_sb3(made, skip_render_check=True)
    model = PPO("MultiInputPolicy", made, n_steps=16, batch_size=8, n_epochs=1, seed=0, device="cpu")
    before = {name: part.clone() for name, part in model.policy.state_dict().items()}
    model.learn(16)
    assert model.num_timesteps == 16
    assert any(not before[name].equal(part) for name, part in model.policy.state_dict().items())
    made.close()

"""Gymnasium ids for every suite of tasks: importing this module registers `ludens/SUITE-v0`, and the worlds.

import gymnasium, training.registration
env = gymnasium.make("ludens/doom-basic-v0", reward="truth", actions="discrete")
env = gymnasium.make("training.registration:ludens/doom-basic-v0")     # or at once
"""

from __future__ import annotations

from typing import Any, Literal

import gymnasium

import envs.registration  # noqa: F401 - the worlds
from envs.action_views import BoxActions, DiscreteActions
from envs.instructions import InstructionIds, PixelsAlone
from tasks import world_tasks
from tasks.task_environment import TaskEnvironment
from training.task_reward import TaskReward

Actions = Literal["keyboard", "discrete", "box"]
Instruction = Literal["text", "ids", "none"]


def make(
    suite: str,
    *,
    reward: Any = "truth",
    actions: Actions = "keyboard",
    instruction: Instruction = "text",
    shaped: bool = False,
    **more: Any,
) -> gymnasium.Env[Any, Any]:
    """The tasks of a suite as an environment; `more` goes to tasks.task_environment.TaskEnvironment.

    `reward`: "truth", the verdict of the verifier; or a reward model, or its name, which sees pixels alone
    (training.task_reward). `shaped`: whether the reward model's is the difference of chances. `actions`: what an action
    is: an `Action` of keyboard and mouse, a number (DiscreteActions) or a vector (BoxActions). `instruction`: in the
    observation as text, as numbers (envs.instructions), or not at all: then the observation is the picture itself.
    """
    tasks = TaskEnvironment(suite, judged=reward == "truth", **more)
    env: gymnasium.Env[Any, Any] = tasks if reward == "truth" else TaskReward(tasks, reward, shaped=shaped)
    if actions == "discrete":
        env = DiscreteActions(env)
    elif actions == "box":
        env = BoxActions(env)
    elif actions != "keyboard":
        raise ValueError(f"actions: expected keyboard, discrete or box, got {actions!r}")
    if instruction == "ids":
        return InstructionIds(env)
    if instruction not in ("text", "none"):
        raise ValueError(f"instruction: expected text, ids or none, got {instruction!r}")
    return PixelsAlone(env) if instruction == "none" else env


for _suite in world_tasks.suites():
    gymnasium.register(id=f"ludens/{_suite}-v0", entry_point="training.registration:make", kwargs={"suite": _suite})

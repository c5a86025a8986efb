"""`TaskEnvironment`: the tasks of a suite as a Gymnasium environment, with the instruction in the observation."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from envs import plugins
from envs.action import Action
from envs.errors import UserError
from envs.instructions import Words
from envs.world import World
from tasks import world_tasks
from tasks.task import Task
from tasks.verifier import Verdict, Verifier

_TASKS = 2**31 - 1  # of a suite; those beyond are the same to nobody

Observed = dict[str, Any]


class TaskEnvironment(gymnasium.Env[Observed, Action]):
    """Every episode is another task of a suite, in a world that is kept.

    An observation has `pixels`, uint8 (H, W, 3), and `instruction`, a text. One step holds the action for `ticks` ticks
    of the world, or fewer where the episode ends. The reward is the verdict of the task's verifier, which sees ground
    truth: 1 where it is a success, else 0; the episode ends with it (terminated), or at the task's time limit
    (truncated). `info["task"]` is the id of the task; where the episode ends, `info["is_success"]` is the verdict and
    `info["why"]` its reason. Ground truth is not in `info`.

    `reset(seed=...)` draws the same task for the same seed; `reset(options={"task": N})` begins task N of the suite.

    `judged`: whether the verdict is the reward and ends the episode; without it the reward is 0, and the verdict is
    told at the end all the same. `evaluation`: tasks in levels that training never sees. `world`: arguments of the
    world, such as `resolution`. Raises UserError for a suite that is unknown or held out, or whose tasks nothing can
    verify.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - as gymnasium declares it

    def __init__(
        self,
        suite: str,
        *,
        judged: bool = True,
        ticks: int = 4,
        evaluation: bool = False,
        render_mode: str | None = None,
        **world: Any,
    ) -> None:
        if ticks < 1:
            raise UserError(f"ticks: expected at least 1, got {ticks}")
        self._judged, self._ticks, self._evaluation, self.render_mode = judged, ticks, evaluation, render_mode
        self._suite = world_tasks.suite(suite)
        if self._suite.held_out and not evaluation:
            raise UserError(f"suite {suite!r} is held out from training: make it with evaluation=True")
        if self.numbered(0).verifier is None:
            raise UserError(f"suite {suite!r}: its success is what a player says, and no step can say anything")
        self.world: World = plugins.load("world", self._suite.world)(**world)
        self.observation_space = gymnasium.spaces.Dict(
            {"pixels": self.world.observation_space["pixels"], "instruction": Words()}
        )
        self.action_space = self.world.action_space
        self.metadata = {**self.metadata, "render_fps": round(self.world.tick_hz / ticks)}
        self.task: Task | None = None
        self._verifier: Verifier | None = None
        self._left = 0
        self._verdict: Verdict | None = None
        self._pixels: npt.NDArray[np.uint8] | None = None

    def numbered(self, index: int) -> Task:
        """Task number `index` of the suite."""
        return self._suite.task(0, index, evaluation=self._evaluation)

    def draw(self, seed: int | None = None, options: dict[str, Any] | None = None) -> int:
        """The number of the next task, as `reset` draws it."""
        super().reset(seed=seed)
        number = (options or {}).get("task")
        return int(self.np_random.integers(_TASKS)) if number is None else int(number)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        self.task = self.numbered(self.draw(seed, options))
        self._verifier = world_tasks.verifier_of(self.task)
        self._left, self._verdict = self.task.time_limit, None
        observation, info = self.world.reset(seed=self.task.seed, options=dict(self.task.options))
        self._judge(info)
        return self._seen(observation), self._told(info)

    def step(self, action: Action) -> tuple[Observed, float, bool, bool, dict[str, Any]]:
        if self.task is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        ticks = min(self._ticks, self._left)
        observation, _, terminated, truncated, info = self.world.step_chunk([action] * max(1, ticks))
        self._left -= info.get("ticks", ticks)
        self._judge(info)
        ruled = self._judged and self._verdict is not None
        terminated, truncated = bool(terminated) or ruled, bool(truncated) or self._left <= 0
        told = self._told(info)
        if terminated or truncated:
            told["is_success"] = self._verdict is not None and self._verdict.success
            told["why"] = self._verdict.why if self._verdict is not None else "the time is over"
        reward = float(ruled and self._verdict is not None and self._verdict.success)
        return self._seen(observation), reward, terminated, truncated and not terminated, told

    def _judge(self, info: dict[str, Any]) -> None:
        if self._verdict is None and self._verifier is not None:
            self._verdict = self._verifier.update(info.get("state"))

    def _seen(self, observation: Any) -> Observed:
        assert self.task is not None
        self._pixels = observation["pixels"]
        return {"pixels": observation["pixels"], "instruction": Words.fit(self.task.instruction)}

    def _told(self, info: dict[str, Any]) -> dict[str, Any]:
        """What a learner may know."""
        assert self.task is not None
        return {**{name: value for name, value in info.items() if name != "state"}, "task": self.task.id}

    def render(self) -> Any:
        return self._pixels if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        self.world.close()

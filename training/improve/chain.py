"""`Chain`: a world in which one episode begins where the last one ended, watched by a hidden audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envs.action import Action
from envs.world import Observation, World
from envs.wrappers import Step, WorldWrapper
from tasks import world_tasks
from tasks.verifier import Verdict


class Chain(WorldWrapper):
    """Plays many episodes in one level. `enter` resets the world; `reset` then goes on from where the world stands.

    The audit compares what a goal asks for with ground truth, from the state in which the goal is set to the end of its
    episode. Nothing that plays, judges or learns sees it.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._last: tuple[Observation, dict[str, Any]] | None = None
        self._verifier: Any = None
        self.over = False
        self.truth: Verdict | None = None

    def enter(self, seed: int, options: dict[str, Any]) -> None:
        """Begin a level."""
        self._last = self.world.reset(seed=seed, options=options)
        self._verifier, self.truth, self.over = None, None, False

    def watch(self, world: str, instruction: str) -> None:
        """Audit a goal from the present state on. `truth` then is None until the goal is decided, and stays None for a
        goal that no verifier knows."""
        assert self._last is not None
        self.truth = None
        state = self._last[1].get("state")
        self._verifier = None if state is None else world_tasks.of(world).verifier_in(state, instruction)
        self._audit(state)

    @property
    def known(self) -> bool:
        """Whether ground truth can tell of the goal that is watched."""
        return self._verifier is not None

    @property
    def observation(self) -> Observation:
        """What is seen now."""
        assert self._last is not None
        return self._last[0]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        assert self._last is not None
        return self._last

    def step(self, action: Action) -> Step:
        return self._seen(self.world.step(action))

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        return self._seen(self.world.step_chunk(actions))

    def _seen(self, step: Step) -> Step:
        observation, _, terminated, truncated, info = step
        self._last = observation, info
        self.over = terminated or truncated
        self._audit(info.get("state"))
        return step

    def _audit(self, state: Any) -> None:
        if self._verifier is not None and self.truth is None and state is not None:
            self.truth = self._verifier.update(state)

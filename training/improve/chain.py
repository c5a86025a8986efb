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
        self._watched: dict[str, Any] = {}  # verifiers by instruction; the first is of the goal
        self._goal = ""
        self._verdicts: dict[str, Verdict] = {}
        self.over = False

    def enter(self, seed: int, options: dict[str, Any]) -> None:
        """Begin a level."""
        self._last = self.world.reset(seed=seed, options=options)
        self._watched, self._verdicts, self._goal, self.over = {}, {}, "", False

    def watch(self, world: str, instruction: str, others: Sequence[str] = ()) -> None:
        """Audit a goal from the present state on, and what else could be done. `truth` then is None until the goal is
        decided, and stays None for a goal that no verifier knows."""
        assert self._last is not None
        state = self._last[1].get("state")
        self._goal, self._watched, self._verdicts = instruction, {}, {}
        for text in (instruction, *others) if state is not None else ():
            verifier = world_tasks.of(world).verifier_in(state, text)
            if verifier is not None:
                self._watched[text] = verifier
        self._audit(state)

    @property
    def known(self) -> bool:
        """Whether ground truth can tell of the goal that is watched."""
        return self._goal in self._watched

    @property
    def truth(self) -> Verdict | None:
        """The verdict on the goal."""
        return self._verdicts.get(self._goal)

    @property
    def others(self) -> dict[str, bool]:
        """Whether the other goals were done, those that a verifier knows."""
        known = [text for text in self._watched if text != self._goal]
        return {text: text in self._verdicts and self._verdicts[text].success for text in known}

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
        if state is None:
            return
        for text, verifier in self._watched.items():
            if text not in self._verdicts and (verdict := verifier.update(state)) is not None:
                self._verdicts[text] = verdict

"""`RandomPolicy`: the floor of every comparison."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agent.plan import STEP, ticks_of
from agent.policy import Context, Decision, PolicySpec
from envs.action import KeyboardMouse
from envs.world import World

_MOST = KeyboardMouse(("KeyW", "KeyA", "KeyS", "KeyD", "KeyE"), ("left",), max_look=20.0)


class RandomPolicy:
    """Draws every decision from the action space of its world, and holds it for the time of a tap. It never says
    that it is done. The context's seed decides the draw.

    Without a world (`for_world`) it draws from the few keys that most games have.
    """

    def __init__(self, space: KeyboardMouse | None = None, tick_hz: float = 35.0) -> None:
        self.spec = PolicySpec(chunk=max(1, ticks_of(STEP, tick_hz)), tick_hz=tick_hz)
        self._space = _MOST if space is None else space

    def for_world(self, world: World) -> RandomPolicy:
        """The policy that draws from what `world` listens to, at its pace."""
        return type(self)(world.action_space, world.tick_hz)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        decisions = []
        for context in contexts:
            seen = int(context.frames[-1][::8, ::8].sum())
            space = copy.copy(self._space)  # seeded for this draw alone; threads share the policy
            space.seed(int(np.random.default_rng([context.seed, len(context.actions), seen]).integers(2**31)))
            action = space.sample()
            rest = replace(action, wheel=0.0)  # notches are events: once is enough
            decisions.append(Decision((action,) + (rest,) * (self.spec.chunk - 1)))
        return decisions

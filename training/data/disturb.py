"""Disturbances: a scripted player is pushed off its way now and then, so that its episodes show how it comes back."""

from __future__ import annotations

import time

import numpy as np

from agent import doom_codec as codec
from agent.loop.players import DecisionRequest, ScriptedPlayer, timed
from agent.policy import Decision

NOISE = 0.12  # chance that a decision starts a disturbance, for demonstrations
BURST = 4  # the most decisions of a disturbance
_STREAM = 1  # of random numbers, beside those that a policy draws from the same seed


def random_walk(rng: np.random.Generator) -> Decision:
    """A random decision that walks and turns, now and then looks up or down, and neither shoots nor uses."""
    turn, look, move = (int(rng.integers(n)) for n in codec.SIZES[:3])
    return codec.decode((turn, look if rng.random() < 0.2 else codec.NOOP[1], move, codec.NOOP[3]))


class Disturbed(ScriptedPlayer):
    """A scripted player where with chance `noise` a decision starts a disturbance of one to BURST random decisions.

    Their steps have the actor "noise", so that no policy learns to imitate them.
    """

    def __init__(self, player: ScriptedPlayer, noise: float = NOISE) -> None:
        super().__init__(player.decide, spec=player.spec, actor=player.actor)
        self._own = player.actor
        self._noise = noise
        self._left = 0

    def begin(self, tick: int = 0) -> None:
        super().begin(tick)
        self._left = 0

    def _ask(self, request: DecisionRequest) -> None:
        start = time.perf_counter()
        rng = np.random.default_rng([request.context.seed, _STREAM])
        if self._left == 0 and rng.random() < self._noise:
            self._left = int(rng.integers(1, BURST + 1))
        if self._left:
            self._left -= 1
            self.actor = "noise"
            decision = random_walk(rng)
        else:
            self.actor = self._own
            decision = self.decide(request.state)
        self.queue.merge(timed(request, decision, time.perf_counter() - start))

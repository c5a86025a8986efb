"""`Rambler`: a policy that acts, thinks and speaks at random, a world that takes all that it does, and its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent import doom_codec as codec
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context, Decision, Policy, PolicySpec
from agent.view import View
from tests.support.worlds import SquareWorld
from training.data.episodes import Recorder

SPEC = PolicySpec(View.stretched((24, 32), 3), history=3, tick_hz=50.0)


class Rambler:
    """Acts, thinks and speaks at random, and remembers what it was asked: the truth about a player's contexts."""

    spec = SPEC

    def __init__(self) -> None:
        self.asked: list[tuple[Context, Decision]] = []

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        (context,) = contexts
        rng = np.random.default_rng(context.seed)
        tokens = [int(rng.integers(n)) for n in codec.SIZES[:3]]
        actions = codec.decode([*tokens, 0]).actions
        decision = Decision(actions, rng.choice(["", "see it left"]), rng.choice(["", "hello", "i see a key"]))
        self.asked.append((context, decision))
        return [decision]


class Easy(SquareWorld):
    """Takes every turn of the codec."""

    def __init__(self) -> None:
        super().__init__(length=40)
        self.action_space.max_look = 180.0


def record(policy: Policy, root: Path, episodes: int) -> Path:
    """The folder `root` with so many episodes, of ten decisions each."""
    for seed in range(episodes):
        recorder = Recorder(root / f"{seed}", policy="rambler", durable=False)
        play(Easy(), InStep(policy), "catch the square", seed=seed, subscribers=[recorder], observe="decision")
        assert recorder.episode
    return root

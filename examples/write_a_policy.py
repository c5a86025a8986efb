"""A policy of your own: it walks to what is red in the picture.

    python examples/write_a_policy.py
    agent play "go to the red torch" --policy examples.write_a_policy:Reddest

A policy is a pure function from a batch of contexts to a batch of decisions. Whatever it needs to remember is in the
context, so that the same object can play many episodes at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.loop.players import InStep
from agent.policy import Context, Decision, PolicySpec
from agent.view import View
from envs.action import Action
from envs.doom.world import DoomWorld
from tasks.play import play_task
from tasks.task import Task, VerifierSpec

CHUNK = 4  # ticks in a decision
RED = 70  # how much more red than green and blue a pixel is that counts
SEARCH = Action(look=(6.0, 0.0))  # degrees in a tick


class Reddest:
    """Turns until something red is ahead, then walks to it."""

    spec = PolicySpec(View((120, 160)), chunk=CHUNK)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return [self._decide(context) for context in contexts]

    def _decide(self, context: Context) -> Decision:
        frame = context.frames[-1].astype(np.int16)  # (120, 160, 3)
        columns = np.flatnonzero((frame[..., 0] - frame[..., 1:].max(-1) > RED).any(0))
        if not len(columns):
            return Decision((SEARCH,) * CHUNK, thought="nothing red here")
        off = float(columns.mean()) / (frame.shape[1] - 1) - 0.5  # the picture is 90 degrees wide
        keys = frozenset({"KeyW"} if abs(off) < 0.15 else ())
        action = Action(keys=keys, look=(90.0 * off / CHUNK, 0.0))
        return Decision((action,) * CHUNK, thought=f"red is {90.0 * off:.0f} degrees to the right")


def task(seed: int) -> Task:
    """A room with a red torch and a green one."""
    level = {"things": [["torch", "red"], ["torch", "green"]], "n_things": [2, 2], "pillars": 0, "themes": ["metal"]}
    goal = VerifierSpec("go_to", {"targets": [0]})
    return Task(f"torch/{seed}", "go to the red torch", "doom", seed, {"generator": level}, 350, goal)


def main(episodes: int = 10) -> None:
    world, player = DoomWorld(), InStep(Reddest())
    won = 0
    for seed in range(episodes):
        outcome = play_task(world, player, task(seed))
        won += bool(outcome.success)
        print(f"{'yes' if outcome.success else 'no':3} {outcome.ticks:4} ticks  {outcome.why}")
    print(f"{won} of {episodes}")
    world.close()


if __name__ == "__main__":
    main()

"""`Policy`: a batch of contexts in, a batch of decisions out, no state in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from envs.action import Action


@dataclass(frozen=True)
class Context:
    """What a policy may know when it decides.

    `frames`: uint8 RGB arrays (H, W, 3), oldest first, the newest is now; taken at decision times. `actions`: the
    chunks that were carried out between them, oldest first. `thoughts`: what was thought at those decisions, in the
    same order. `instruction`: the goal in words. `picture`: what the instruction shows instead of naming it, uint8 RGB
    of any size. `dialogue`: (who, what) lines. `memory`: what happened so far. `seed`: for policies that sample.
    `since`: how many of the decisions came after the instruction, None for all of them.
    """

    frames: tuple[npt.NDArray[np.uint8], ...]
    instruction: str
    actions: tuple[tuple[Action, ...], ...] = ()
    thoughts: tuple[str, ...] = ()
    picture: npt.NDArray[np.uint8] | None = None
    dialogue: tuple[tuple[str, str], ...] = ()
    memory: str = ""
    seed: int = 0
    since: int | None = None


@dataclass(frozen=True)
class Decision:
    """What a policy chose: a chunk of actions, one a tick, and what it thinks and says."""

    actions: tuple[Action, ...]
    thought: str = ""
    speech: str = ""
    done: bool = False


@dataclass(frozen=True)
class PolicySpec:
    """What a policy needs from whoever drives it.

    `frame_size`: (height, width) in pixels. `history`: frames it wants to see. `chunk`: ticks in a decision.
    `tick_hz`: the tick rate it was made for. `codec`: the version of its action codec. `starved`: what the hands do at
    ticks for which there is no answer: hold what they held, or, where that may last, release everything.
    """

    frame_size: tuple[int, int] = (120, 160)
    history: int = 1
    chunk: int = 4
    tick_hz: float = 35.0
    codec: str = ""
    starved: Literal["hold", "release"] = "hold"


class Policy(Protocol):
    """Maps contexts to decisions; pure, so that it can be batched, remote or asynchronous."""

    spec: PolicySpec

    def act(self, contexts: Sequence[Context]) -> list[Decision]: ...


Think = Literal["off", "auto"] | int


def thought_budget(think: Think, auto: int) -> int:
    """The most tokens of a thought: none, `auto`, or as many as `think` says. Raises ValueError."""
    if think == "off":
        return 0
    if think == "auto":
        return auto
    if isinstance(think, bool) or not isinstance(think, int) or think < 0:
        raise ValueError(f"think: expected off, auto or a number of tokens, got {think!r}")
    return think


class RandomPolicy:
    """Uniformly random decisions over the action codec: the floor of every comparison."""

    spec = PolicySpec()

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        from agent import codec  # the codec speaks of decisions, which are defined here

        out = []
        for context in contexts:
            rng = np.random.default_rng([context.seed, len(context.actions), int(context.frames[-1][::8, ::8].sum())])
            tokens = [int(rng.integers(n)) for n in codec.SIZES[:3]]
            out.append(codec.decode([*tokens, int(rng.integers(3))]))
        return out

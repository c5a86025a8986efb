"""`Policy`: a batch of contexts in, a batch of decisions out, no state in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from agent.view import Size, View
from envs.action import Action
from envs.text import encodable


@dataclass(frozen=True)
class Context:
    """What a policy may know when it decides.

    `frames`: uint8 RGB arrays (H, W, 3), oldest first, as the policy's view wants them; the last one is now. `ticks`:
    when each was seen. `instruction`: what to do, in words. `actions`: the chunks that were carried out, oldest first:
    between the frames where those are apart in time, else between the last `spec.history` decisions. `thoughts`: the
    thoughts of those stretches, in the same order. `picture`: what the instruction shows instead of naming it, uint8
    RGB of any size. `dialogue`: (who, what) lines. `memory`: what was done, seen and said so far in the episode, in a
    bounded number of words (agent/memory.py). `seed`: for policies that sample. `since`: how many of the decisions came
    after the instruction; None for all of them. `mouse`: what the mouse does now where that changes within the game,
    "look" or "pointer"; else "".
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
    ticks: tuple[int, ...] = ()
    mouse: str = ""


@dataclass(frozen=True)
class Sent:
    """What a model was sent for one answer.

    `sizes`: (height, width) of the pictures of the world, oldest first. `bytes`: of the request, as it went over the
    wire; 0 for a model in this process. `tokens`: that the model read, None where its service does not tell.
    """

    sizes: tuple[Size, ...]
    bytes: int = 0
    tokens: int | None = None


@dataclass(frozen=True)
class Decision:
    """What a policy chose: a chunk of actions, one per tick, and what it thinks and says.

    `tokens`: the output tokens that the decision was sampled as, in order; empty where the policy does not sample.
    `log_probabilities`: for each token, its natural log-probability under exactly the distribution that it was sampled
    from: after temperature, masks and endings are applied. It has the length of `tokens`. `sent`: what a model was sent
    for it; None where the policy's frames are all there is to say. `hidden` (width,): what the model had made of the
    context before it drew the first token, float32; None where the policy does not tell.
    """

    actions: tuple[Action, ...]
    thought: str = ""
    speech: str = ""
    done: bool = False
    tokens: tuple[int, ...] = ()
    log_probabilities: tuple[float, ...] = ()
    sent: Sent | None = None
    hidden: npt.NDArray[np.float32] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        # A model may write what no file can hold: half a surrogate pair, or NUL.
        object.__setattr__(self, "thought", encodable(self.thought))
        object.__setattr__(self, "speech", encodable(self.speech))


@dataclass(frozen=True)
class PolicySpec:
    """What a policy wants from the loop.

    `view`: what it wants to see. `history`: the decisions whose actions and thoughts it knows, the one that it makes
    included; where the view's frames are apart in time, it knows what was done between those instead. `chunk`: ticks in
    a decision. `tick_hz`: the tick rate it was made for. `codec`: the version of its action codec. `starved`: what
    happens at a tick for which there is no decision: hold the keys that are down, or release everything, for policies
    that may be slow for long. `whole`: a decision may have any number of ticks and is played whole, from when it is
    there; otherwise it is a chunk of `chunk` ticks, and what came too late of it is dropped.
    """

    view: View = field(default_factory=View)
    history: int = 1
    chunk: int = 4
    tick_hz: float = 35.0
    codec: str = ""
    starved: Literal["hold", "release"] = "hold"
    whole: bool = False


class Policy(Protocol):
    """Maps contexts to decisions without state in between, so that it can be batched, remote or asynchronous. What else
    a policy may be able to do is in agent/capabilities.py."""

    spec: PolicySpec

    def act(self, contexts: Sequence[Context]) -> list[Decision]: ...


Think = Literal["off", "auto"] | int


def thought_budget(think: Think, auto: int) -> int:
    """The most tokens of a thought: 0 for "off", `auto` for "auto", else `think` itself. Raises ValueError."""
    if think == "off":
        return 0
    if think == "auto":
        return auto
    if isinstance(think, bool) or not isinstance(think, int) or think < 0:
        raise ValueError(f"think: expected off, auto or a number of tokens, got {think!r}")
    return think

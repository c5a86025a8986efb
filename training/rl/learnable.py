"""What reinforcement learning needs, whatever model is inside: `Scorable` of any model, `Learnable` of a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from agent.lineage import Data
from agent.policy import Context, Decision, PolicySpec

P = TypeVar("P", contravariant=True)  # a prompt: what a model decides from


class Scores(NamedTuple):
    """Of B decisions of at most L tokens: `log_probabilities` and `entropies` (B, L) of the tokens, in nats, with zeros
    behind the end of a decision; `mask` bool (B, L): where tokens are."""

    log_probabilities: Tensor
    entropies: Tensor
    mask: Tensor


class Scorable(Protocol[P]):
    """A model that is asked by prompts of some kind, can be sampled from, scored and changed."""

    @property
    def module(self) -> nn.Module:
        """The model that plays, without the value head. What of it requires gradients is trained."""

    @property
    def tolerance(self) -> float:
        """How far the log-probabilities of `sample` and `score` may be apart for the same weights."""

    def sample(self, contexts: Sequence[P], *, temperature: float, generator: torch.Generator) -> list[Decision]:
        """A decision for each context, with its tokens and their log-probabilities."""

    def batch(self, contexts: Sequence[P], tokens: Sequence[Sequence[int]]) -> Any:
        """What `score` and `reference` read of decisions: made once for all passes over them."""

    def score(self, batch: Any, temperature: float) -> Scores:
        """The decisions of a batch under the policy as it is now; gradients flow."""

    def reference(self, batch: Any, temperature: float) -> Tensor:
        """Log-probabilities (B, L) under the policy that learning started from; no gradients."""

    def state(self) -> dict[str, Tensor]:
        """What learning changes, by name: the policy's weights and the value head's, if it has one."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state` gave."""

    def save(self, out: Path, *, trained: Mapping[str, Any], data: Sequence[Data], recipe: Mapping[str, Any]) -> None:
        """Write a checkpoint of it."""


class Learnable(Scorable[Context], Protocol):
    """A policy that can be sampled from, scored and changed; its checkpoints are those that `agent play --policy`
    loads."""

    @property
    def spec(self) -> PolicySpec: ...

    @property
    def ask(self) -> str:
        """A word that it plays with behind every instruction: `sample` and `states` put it there, and `batch` takes
        contexts as they are. "" for none."""

    @property
    def value_head(self) -> nn.Module:
        """See training.rl.value."""

    def states(self, contexts: Sequence[Context]) -> Tensor:
        """What the model makes of contexts before it draws a token: hidden states (B, width), which the value head
        reads; no gradients. A decision of `sample` may tell its own as `hidden`."""

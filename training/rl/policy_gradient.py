"""The losses of policy gradients: PPO with dual clipping, the distance to the parent, and the value's error.

PPO: "Proximal Policy Optimization Algorithms" (arXiv 1707.06347), clipped further above than below as in DAPO (arXiv
2503.14476), and dual clipping as in "Mastering Complex Control in MOBA Games" (arXiv 1912.09729). k3: Schulman,
"Approximating KL Divergence".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from envs.errors import UserError

Level = Literal["decision", "token"]
_FURTHEST = 20.0  # nats between two log-probabilities that an exponential is taken of


@dataclass(frozen=True)
class Clipping:
    """How far the new policy may move from the one that played. A ratio of their probabilities counts from 1 - `low` to
    1 + `high`. Where the advantage is negative, a decision's loss is at most `dual` times its size."""

    low: float = 0.20
    high: float = 0.28
    dual: float = 3.0


class AgreementError(UserError, RuntimeError):
    """The log-probabilities that the player told are not those that the trainer computes."""


def check_agreement(found: Tensor, told: Tensor, mask: Tensor, tolerance: float) -> float:
    """The largest difference between the log-probabilities (B, L) that the trainer found and those that the player told
    for the same weights. Raises AgreementError where it is above `tolerance`."""
    apart = ((found - told).abs() * mask).amax(1)
    largest = float(apart.max())
    if not largest <= tolerance:  # true for NaN too
        row = int(apart.nan_to_num(nan=float("inf")).argmax())
        raise AgreementError(
            f"the trainer's log-probabilities are up to {largest:.2g} apart from the player's, at decision {row}: "
            f"{found[row, mask[row]].sum():.4f} against {told[row, mask[row]].sum():.4f} nats in all; expected at most "
            f"{tolerance:g}. The two compute with different weights, prompts or precision"
        )
    return largest


def policy_loss(
    found: Tensor, told: Tensor, mask: Tensor, advantages: Tensor, clipping: Clipping, level: Level
) -> tuple[Tensor, Tensor]:
    """PPO's loss, and the share of decisions or tokens whose ratio is clipped.

    `found`, `told` (B, L): log-probabilities of the tokens now and when they were drawn. `mask` bool (B, L): where
    tokens are. `advantages` (B,): of the decisions. `level`: whether a ratio is that of a whole decision or of a token.
    """
    differences = (found - told) * mask
    if level == "decision":
        differences, gains = differences.sum(1), advantages
        counted = torch.ones_like(gains)
    else:
        gains = advantages[:, None].expand_as(differences)
        counted = mask.to(differences.dtype)
    ratio = differences.clamp(-_FURTHEST, _FURTHEST).exp()
    near = ratio.clamp(1.0 - clipping.low, 1.0 + clipping.high)
    kept = torch.minimum(ratio * gains, near * gains)
    kept = torch.where(gains < 0.0, torch.maximum(kept, clipping.dual * gains), kept)
    clipped = ((ratio != near) * counted).sum() / counted.sum()
    return -(kept * counted).sum() / counted.sum(), clipped.detach()


def k3(found: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """The estimate of KL(policy || reference) in nats a token, r - 1 - log r with r = reference / policy. Tokens that
    are not under the mask don't count. It is never negative, and its gradient is that of the distance."""
    apart = ((reference - found) * mask).clamp(-_FURTHEST, _FURTHEST)
    return ((apart.exp() - 1.0 - apart) * mask).sum() / mask.sum()


def entropy(entropies: Tensor, mask: Tensor) -> Tensor:
    """The mean entropy of a decision, in nats: the sum over its tokens. `entropies`, `mask` (B, L)."""
    return (entropies * mask).sum(1).mean()

"""`ValueHead`: how much reward is still to come, told from the hidden state of a policy; and `Critic`, which fits it.

The head is small and reads hidden states that are there already. So it goes over the last rounds again and again at
little cost, and soon tells more than the mean. Its loss changes the head alone, and not the policy that makes the
hidden states.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.rl.advantages import Floats

HIDDEN = 128
REMEMBERED = 12  # rounds that a critic goes over
_PASSES = 4  # over them, after every round
_BATCH = 256
_DECAY = 1e-2


class ValueHead(nn.Module):
    """A small network on hidden states (B, width); its values (B,) are 0 before it has learned."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, states: Tensor) -> Tensor:
        result: Tensor = self.net(states.float())[:, 0]
        return result


class Critic:
    """Fits a value head to the returns of the last REMEMBERED rounds, at the learning rate `rate`."""

    def __init__(self, head: nn.Module, rate: float) -> None:
        self._head = head
        self._optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=_DECAY)
        self._rounds: list[tuple[Tensor, Tensor]] = []  # hidden states, in half precision, and returns

    @torch.no_grad()
    def values(self, states: Tensor) -> Floats:
        """Values (N,) of hidden states (N, width)."""
        values: Floats = self._head(states).double().cpu().numpy()
        return values

    def fit(self, states: Tensor, returns: Floats, rng: np.random.Generator) -> dict[str, float]:
        """Learn from a round; figures by name. "explained": the share of the variance of its returns (N,) that the
        head's values told before it learned from them. `rng`: of the order."""
        wanted = torch.tensor(returns, dtype=torch.float32, device=states.device)
        left = float(((torch.from_numpy(self.values(states)).to(wanted) - wanted) ** 2).mean())
        spread = float(wanted.var(correction=0))
        self._rounds = [*self._rounds, (states.half(), wanted)][-REMEMBERED:]
        seen, told = (torch.cat(parts) for parts in zip(*self._rounds, strict=True))
        loss = torch.zeros(())
        for _ in range(_PASSES):
            for rows in torch.from_numpy(rng.permutation(len(seen))).to(seen.device).split(_BATCH):
                loss = 0.5 * (self._head(seen[rows]) - told[rows]).square().mean()
                self._optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self._optimizer.step()
        return {"explained": 1.0 - left / spread if spread > 0.0 else 0.0, "value loss": float(loss.detach())}

    def state(self) -> dict[str, Any]:
        """What it goes on from, beside the head's weights."""
        return {"optimizer": self._optimizer.state_dict(), "rounds": self._rounds}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take what `state` gave."""
        self._optimizer.load_state_dict(state["optimizer"])
        device = next(self._head.parameters()).device
        self._rounds = [(states.to(device), returns.to(device)) for states, returns in state["rounds"]]

"""`ValueHead`: how much reward is still to come, told from the hidden state of a policy."""

from __future__ import annotations

from torch import Tensor, nn

HIDDEN = 128


class ValueHead(nn.Module):
    """A small network on hidden states (B, width); its values (B,) are 0 before it has learned.

    `detached`: its loss changes the head alone, and not the policy that makes the hidden states.
    """

    def __init__(self, width: int, *, detached: bool = True) -> None:
        super().__init__()
        self.detached = detached
        self.net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, states: Tensor) -> Tensor:
        states = states.float()
        result: Tensor = self.net(states.detach() if self.detached else states)[:, 0]
        return result

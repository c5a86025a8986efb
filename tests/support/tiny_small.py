"""A checkpoint of `small` with few and random weights, that seldom thinks or speaks: its outputs are short."""

from __future__ import annotations

from pathlib import Path

import torch

from agent.small.checkpoint import save_small
from agent.small.model import SmallConfig, SmallModel
from agent.small.token_ids import GO


def tiny_small(folder: Path, seed: int = 0) -> Path:
    """Write it to `folder`; the same weights for the same seed."""
    torch.manual_seed(seed)
    config = SmallConfig(width=32, heads=2, layers=1, text_layers=1, channels=(8, 16), blocks=0)
    model = SmallModel(config)
    with torch.no_grad():
        model.head.bias[GO] += 9.0
    save_small(model, folder, nouns={"lantern": "lamp"})
    return folder

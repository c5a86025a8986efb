"""What the tests of fine-tuning share: recorded episodes, and a tiny model on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from agent.policy import Context, Decision
from tests.support.rambler import Rambler, record
from tests.support.tiny_vlm import tiny


@pytest.fixture(scope="session")
def rambled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[Context, Decision]]]:
    """Two recorded episodes and what the player was asked and answered in them."""
    torch.set_num_threads(1)
    policy = Rambler()
    return record(policy, tmp_path_factory.mktemp("rambled"), 2), policy.asked


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model on disk, as a user has one."""
    out = tmp_path_factory.mktemp("tiny")
    model, processor = tiny("idefics3")
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out

"""What tests of reinforcement learning share: a stranger's world, and a tiny player."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import lamp_world
from tests.support.tiny_small import tiny_small


@pytest.fixture(autouse=True)
def lamp(monkeypatch: pytest.MonkeyPatch) -> None:
    """The world of tests.support.lamp_world is known."""
    lamp_world.register(monkeypatch)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of `small` with random weights."""
    return tiny_small(tmp_path_factory.mktemp("tiny") / "tiny")

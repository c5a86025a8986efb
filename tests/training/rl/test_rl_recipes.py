"""The recipes of reinforcement learning that ship can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from training.rl.recipe import RlRecipe

FOLDER = Path(__file__).parents[3] / "training" / "rl" / "recipes"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_that_ships_is_one(path: Path) -> None:
    assert RlRecipe.of(yaml.safe_load(path.read_text())).token_price > 0

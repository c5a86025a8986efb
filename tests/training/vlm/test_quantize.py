"""QLoRA: the weights that are not trained are in four bits, and the checkpoint plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from envs import extras
from envs.errors import UserError
from training.vlm.recipe import BcRecipe
from training.vlm.start import load
from training.vlm.train import train_bc


def test_linear_layers_are_in_four_bits_and_low_rank_changes_learn(rambled: tuple[Path, Any], folder: Path) -> None:
    pytest.importorskip("bitsandbytes")
    recipe = BcRecipe(str(folder), (str(rambled[0]),), lora=True, rank=4, quantize="4bit")
    model, _, _ = load(recipe, "cpu", False)
    held = [p for p in model.parameters() if p.dtype == torch.uint8]
    plain, _, _ = load(BcRecipe(str(folder), (str(rambled[0]),), lora=True, rank=4), "cpu", False)
    learned = [{name for name, p in of.named_parameters() if p.requires_grad} for of in (model, plain)]
    assert learned[0] == learned[1]
    linear = [m.base_layer.weight for m in plain.modules() if hasattr(m, "base_layer") and hasattr(m, "lora_A")]
    assert sum(p.numel() for p in held) == sum(p.numel() for p in linear) // 2


def test_what_it_learned_is_played_with_the_whole_model(
    rambled: tuple[Path, Any], folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    from agent.vlm.policy import load_hf

    root, asked = rambled
    losses = []
    recipe = BcRecipe(
        str(folder), (str(root),), lora=True, rank=4, quantize="4bit", epochs=6, batch=20, rate=2e-2, held_out=0.0
    )
    run = train_bc(recipe, tmp_path / "run", on_progress=lambda news: losses.append(news.figures["loss"]))
    assert losses[-1] < losses[0] / 1.25  # four bits round differently from processor to processor
    (decision,) = load_hf(run, think="off").act([asked[3][0]])
    assert decision.actions


def test_what_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--quantize 4bit needs ludens\[quantize\]: pip install"):
        load(BcRecipe(str(folder), ("data",), lora=True, quantize="4bit"), "cpu", False)
    with pytest.raises(ValueError, match="add --lora"):
        BcRecipe(str(folder), ("data",), quantize="4bit")

"""Packed rows: what a model learns in them is what it learns from each example alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from agent.vlm.chat_template import end_of_turn
from agent.vlm.policy import grow
from agent.vlm.turn_grammar import TurnGrammar, add_action_tokens
from envs.errors import UserError
from tests.support.rambler import SPEC
from tests.support.tiny_vlm import tiny
from training.data.examples import Examples
from training.vlm.examples import Batch, TokenWriter, encode_examples, log_probabilities
from training.vlm.packing import check_packing, filled, pack


def encoded(model: Any, processor: Any, root: Path, numbers: list[int]) -> Batch:
    add_action_tokens(processor.tokenizer)
    grow(model, processor.tokenizer)
    examples = Examples([root], history=SPEC.history)
    writer = TokenWriter(TurnGrammar(processor.tokenizer, end_of_turn(processor)))
    return encode_examples(processor, writer, [examples[number] for number in numbers])


def test_rows_are_filled_in_order() -> None:
    assert filled([3, 4, 2, 9, 1, 1], 8) == [[0, 1, 2], [3], [4, 5]]
    assert filled([5, 5], 1) == [[0], [1]]


@pytest.mark.parametrize("name", ["qwen3_vl", "idefics3", "llava"])
def test_examples_in_one_row_do_not_see_each_other(rambled: tuple[Path, object], name: str) -> None:
    """Losses and gradients are those of rows of their own."""
    model, processor = tiny(name)
    batch = encoded(model.train(), processor, rambled[0], [0, 1, 5, 12, 10])
    check_packing(model, batch)
    lengths = batch["attention_mask"].sum(1).tolist()
    packed = pack(batch, model, lengths[0] + lengths[1] + 1)
    assert len(packed["input_ids"]) < len(lengths)
    gradients = []
    for part in (batch, packed):
        found, weights = log_probabilities(model, part)
        loss = -(found * weights).sum() / weights.sum()
        model.zero_grad()
        loss.backward()
        gradients.append((loss, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1][0], gradients[0][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients[1][1], gradients[0][1], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["gemma3", "lfm2"])
def test_a_model_whose_rows_can_not_be_shared_is_refused(rambled: tuple[Path, object], name: str) -> None:
    """Gemma 3 masks by its pictures, and LFM2's convolutions look at the tokens before, whichever example's."""
    model, processor = tiny("gemma3") if name == "gemma3" else lfm2()
    batch = encoded(model, processor, rambled[0], [0, 1])
    with pytest.raises(UserError, match=r"not to this model what each is .* leave --pack out"):
        check_packing(model, batch)


def lfm2() -> tuple[Any, Any]:
    """A tiny Idefics3 with the language model of LFM2, and its processor."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    like, processor = tiny("idefics3")
    text = {name: value for name, value in like.config.text_config.to_dict().items() if name != "model_type"}
    config = Idefics3Config(
        text_config={**text, "model_type": "lfm2", "layer_types": ["conv", "full_attention"]},
        vision_config=like.config.vision_config, scale_factor=2, image_token_id=like.config.image_token_id,
        tie_word_embeddings=True,
    )  # fmt: skip
    return Idefics3ForConditionalGeneration(config), processor

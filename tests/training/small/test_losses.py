"""The loss of `small` in the ways in which it is computed: as a list or in rows, in bfloat16 or in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from agent.small.model import Encoded, SmallConfig, SmallModel
from agent.small.output_grammar import CHOICES
from agent.small.prompt import Prompt
from agent.small.token_ids import ANSWER, spell
from training.small.batches import Batch, assemble, decision, words_of
from training.small.classes import UNKNOWN
from training.small.losses import blocks, stage_loss
from training.small.stage import Stage, StageBatch, _Objective, cpu_has_bfloat16


def _model() -> SmallModel:
    torch.manual_seed(0)
    return SmallModel(SmallConfig(layers=2, text_layers=1))


def _batch() -> Batch:
    """Two frames, of which one has twice as many texts."""
    rng = np.random.default_rng(0)
    past = rng.integers(0, 3, (4, 6))
    asked = [
        [Prompt(["find", "the", "red", "key"], past=past), Prompt(["what", "is", "there"])],
        [Prompt(["go", "to", "the", "door"], ["step", "1"])],
    ]
    answer = words_of(ANSWER, spell("a red key"))
    texts = [[decision((1, 2, 3, 0, 1, 0), spell("the key is left"), silent=False), answer], [decision((0,) * 6)]]
    frames = rng.integers(0, 256, (2, 120, 160, 3)).astype(np.uint8)
    return assemble(frames, asked, texts, rng.integers(0, 8, (2, 30, 40)).astype(np.int16))


def test_a_list_of_tokens_is_written_as_rows_are() -> None:
    model, batch = _model(), _batch()
    encoded = model.encode(batch.frames, batch.prompt)
    rows = model.write(encoded, batch.tokens, batch.order, batch.pack)
    assert len(batch.spots.unique()) == len(batch.spots)
    listed = model.write(encoded, batch.tokens, batch.order, batch.pack, batch.spots)
    used = batch.rows * batch.tokens.shape[1] + batch.columns
    torch.testing.assert_close(batch.spots[: len(used)], used)
    torch.testing.assert_close(listed[: len(used)], rows[batch.rows, batch.columns])
    other = Encoded(encoded.image.flip(0), encoded.text, encoded.pack)
    assert not torch.allclose(model.write(other, batch.tokens, batch.order, batch.pack, batch.spots), listed, atol=1e-4)


def test_cells_are_learned_where_they_are_named() -> None:
    model = _model()
    image = torch.randn(2, 80, model.config.width)
    kinds, colours = model.segmentation(image)
    learned = model.cell_logits(image)
    inside = blocks(torch.zeros(2, 30, 40)) != UNKNOWN
    assert inside.sum() == 2 * 30 * 40
    for number, named in enumerate(torch.cat([kinds, colours], 1).unbind(1)):
        torch.testing.assert_close(learned[:, number][inside], blocks(named)[inside])


@pytest.mark.skipif(not cpu_has_bfloat16(), reason="this CPU computes no faster in bfloat16")
def test_bfloat16_learns_as_float32_does() -> None:
    def learned(loss: Tensor) -> Tensor:
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        return torch.cat([g.flatten() for g in grads if g is not None])

    model, batch = _model(), _batch()
    exact, _ = stage_loss(model, batch, range(len(CHOICES)))
    stage = Stage("quick", Path("none"), (), frames=2, rate=1e-3)
    quick, _ = _Objective(stage, torch.device("cpu")).loss(model, StageBatch(batch))
    assert quick != exact
    assert quick.item() == pytest.approx(exact.item(), rel=0.01)
    assert torch.cosine_similarity(learned(quick), learned(exact), dim=0) > 0.99

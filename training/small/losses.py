"""The losses of `small`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from agent.small.model import GRID, Encoded, SmallModel
from agent.small.output_grammar import CHOICES, MASK
from training.small.batches import Batch
from training.small.classes import CELL, COLOUR_OF, KIND_OF, UNKNOWN

NAMES = (
    "silent", "thought", "speech", "hushed", "words", "score", "end",
    "column", "row", "turn", "look", "move", "hand",
)  # fmt: skip  # of the kinds of choices in agent.small.output_grammar.CHOICES
CELLS = 0.5  # weight of the segmentation while decisions are learned
GLANCES = 2.0  # its weight in frames of which nothing else is learned

Glance = tuple[Tensor, Tensor]  # frames and cells, as training.small.glances.Glances makes them


def vision_loss(model: SmallModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of naming what is in every cell of the frames, and figures."""
    assert batch.cells is not None
    loss, right = _cells_loss(model, model.see(batch.frames), batch.cells.long())
    return loss, {"loss": loss, "cells right": right}


def _cells_loss(model: SmallModel, image: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the kind and the colour in every cell, and how many cells with a thing are named rightly. Most
    cells are empty; they count a tenth."""
    logits, cells = model.cell_logits(image), blocks(cells)
    kinds = torch.from_numpy(KIND_OF).to(cells.device)[cells].long()
    colours = torch.from_numpy(COLOUR_OF).to(cells.device)[cells].long()
    kind_logits, colour_logits = logits.split([model.config.kinds, model.config.colours], 1)
    weight = torch.where(kinds > 0, 1.0, 0.1) * (cells != UNKNOWN)
    total = weight.sum().clamp(min=1.0)
    kind = (F.cross_entropy(kind_logits, kinds, reduction="none") * weight).sum() / total
    colour = (F.cross_entropy(colour_logits, colours, reduction="none") * weight).sum() / total
    # max, since argmax is slower on a CPU
    right = (kind_logits.max(1).indices == kinds) & (colour_logits.max(1).indices == colours) & (kinds > 0)
    return kind + colour, right.sum() / (kinds > 0).sum()


def blocks(cells: Tensor) -> Tensor:
    """Cells (N, 30, 40) by the image token that they belong to: (N * 80, 16), as SmallModel.cell_logits has them. What
    lies below the frame is UNKNOWN."""
    rows, columns = GRID
    whole = F.pad(cells, (0, 0, 0, rows * CELL - cells.shape[1]), value=UNKNOWN)
    result: Tensor = (
        whole.unflatten(2, (columns, CELL)).unflatten(1, (rows, CELL)).transpose(2, 3).reshape(-1, CELL * CELL)
    )
    return result


def text_loss(
    model: SmallModel,
    batch: Batch,
    choices: range = range(len(CHOICES)),
    clips: bool = False,
    seen: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of writing a batch's texts, and figures.

    It is the cross-entropy of every token among those that the grammar allows in its place. Where the batch has cells,
    their segmentation is learned too, so that it is not forgotten. `choices`: the kinds of choices that count, all by
    default. `clips`: whether the frames are clips for the judge. `seen`: the image tokens of the frames, where they are
    known already. The figure of a kind that does not occur is NaN.
    """
    image = model.see(batch.frames) if seen is None else seen
    encoded = Encoded(model.clip(image) if clips else image, *model.read(batch.prompt))
    hidden = model.write(encoded, batch.tokens, batch.order, batch.pack, batch.spots)
    logits = model.logits(hidden)[: len(batch.targets)] + MASK.to(hidden.device)[batch.choices]
    each = F.cross_entropy(logits, batch.targets, reduction="none")
    counts = (batch.choices >= choices.start) & (batch.choices < choices.stop)
    loss = (each * batch.weights * counts).sum() / batch.texts
    figures = {"loss": loss}
    with torch.no_grad():
        sums = each.new_zeros(len(CHOICES)).index_add_(0, batch.choices, each)
        means = sums / each.new_zeros(len(CHOICES)).index_add_(0, batch.choices, torch.ones_like(each))
        figures |= {name: means[i] for i, name in enumerate(NAMES) if i in choices}
    if batch.cells is not None:
        cells, figures["cells right"] = _cells_loss(model, image, batch.cells.long())
        loss = loss + CELLS * cells
    return loss, figures


def stage_loss(
    model: SmallModel, batch: Batch, choices: range, clips: bool = False, glance: Glance | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a training stage and its figures: of texts, or of cells alone where no kind of choice counts; and of
    the cells of a glance, where there is one."""
    loss, figures = text_loss(model, batch, choices, clips) if choices else vision_loss(model, batch)
    if glance is not None:
        seen, figures["glances right"] = _cells_loss(model, model.see(glance[0]), glance[1].long())
        loss = loss + GLANCES * seen
    return loss, figures

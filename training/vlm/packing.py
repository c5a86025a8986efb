"""Packing: several short examples in one row, where none of them sees another.

Rows of a batch are as long as the longest one, and what the others lack is padding that the model computes for nothing.
A packed row holds one example after another. The places of each begin at 0, by which transformers masks the others
(transformers.masking_utils.find_packed_sequence_indices). Not every model does so: a model whose layers carry a state
along the row, or that ignores places, lets examples see each other; `check_packing` finds out.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from envs.errors import UserError
from training.vlm.examples import IGNORED, Batch, log_probabilities

SAME = 1e-3  # nats between the log-probabilities of a packed token and the same one alone, in single precision ...
ROUGHLY = 0.1  # ... and on average over the tokens in bf16


def pack(batch: Batch, model: Any, length: int) -> Batch:
    """A batch of rows that are padded on the right as one of fewer rows: up to `length` tokens each, or as long as the
    longest example. The examples keep their order, so that pictures stay with their words."""
    lengths = batch["attention_mask"].sum(1).tolist()
    rows = filled(lengths, length)
    width = max(sum(lengths[at] for at in row) for row in rows)
    places = _places(batch, model)
    whole = {name: value for name, value in batch.items() if value.shape[:2] == batch["input_ids"].shape}
    del whole["attention_mask"]
    packed = {name: value for name, value in batch.items() if name not in (*whole, "attention_mask")}
    fills = {"labels": IGNORED, "input_ids": int(batch["input_ids"][0, -1])}
    for name, value in whole.items():
        packed[name] = _packed(value, rows, lengths, width, fills.get(name, 0))
    own = torch.arange(batch["input_ids"].shape[1], device=places.device).expand_as(batch["input_ids"])
    # What is left of a row is one more example, of padding.
    one = [_packed(part, rows, lengths, width, None) for part in (own, *places)]
    packed["position_ids"] = one[0] if len(one) == 1 else torch.stack(one)
    return packed


def filled(lengths: list[int], most: int) -> list[list[int]]:
    """The numbers of examples with these lengths, row by row: each goes on in the row of the one before if it fits."""
    rows: list[list[int]] = []
    room = 0
    for number, length in enumerate(lengths):
        if not rows or length > room:
            rows.append([])
            room = max(most, *lengths)
        rows[-1].append(number)
        room -= length
    return rows


def _packed(value: Tensor, rows: list[list[int]], lengths: list[int], width: int, fill: int | None) -> Tensor:
    """A tensor (B, L, ...) in packed rows; the rest of a row is `fill`, or counts from 0."""
    out = []
    for row in rows:
        parts = [value[at, : lengths[at]] for at in row]
        rest = width - sum(map(len, parts))
        if fill is None:
            tail = torch.arange(rest, device=value.device, dtype=value.dtype)
        else:
            tail = value.new_full((rest, *value.shape[2:]), fill)
        out.append(torch.cat([*parts, tail]))
    return torch.stack(out)


def _places(batch: Batch, model: Any) -> Tensor:
    """The places (3, B, L) of a model that has some of its own, in time, height and width of pictures; otherwise
    (0, B, L), as there it is enough to count."""
    index = next((m.get_rope_index for m in model.modules() if hasattr(m, "get_rope_index")), None)
    if index is None:
        return batch["input_ids"].new_empty((0, *batch["input_ids"].shape))
    taken = inspect.signature(index).parameters
    places: Tensor = index(**{name: value for name, value in batch.items() if name in taken})[0]
    return places


@torch.no_grad()
def check_packing(model: Any, batch: Batch) -> None:
    """Raise UserError where the examples of `batch` are not the same to the model in one row as each in its own."""
    training = model.training
    model.eval()
    try:
        alone, weights = log_probabilities(model, batch)
        packed = pack(batch, model, int(batch["attention_mask"].sum()))
        together, learned = log_probabilities(model, packed)
        off = (together[learned > 0] - alone[weights > 0]).abs()
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        raise UserError(f"the model takes no packed examples ({type(error).__name__}); leave --pack out") from error
    finally:
        model.train(training)
    exact = model.dtype == torch.float32
    if not (off.max() < SAME if exact else off.mean() < ROUGHLY):
        raise UserError("packed examples are not to this model what each is in a row of its own; leave --pack out")

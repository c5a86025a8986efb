"""Batches for a vision-language model: recorded decisions as prompts and the turns that follow them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from agent import doom_codec as codec
from agent.vlm.policy import encode_prompts
from agent.vlm.turn_grammar import Grammar, Turn
from training.data.examples import Example

IGNORED = -100  # the label of tokens that are not learned

Batch = dict[str, Tensor]


def turn_of(example: Example) -> Turn:
    """A recorded decision as a turn of the model."""
    decision = example.decision
    return Turn(codec.encode(decision.actions, decision.done), decision.thought, decision.speech)


def encode_examples(processor: Any, grammar: Grammar, examples: Sequence[Example], history: int) -> Batch:
    """Prompts and turns, padded on the right: what the processor gives, and `labels` and `weights`, (B, L) each, which
    are IGNORED and 0 outside of the turns."""
    prompts = encode_prompts(processor, [e.context for e in examples], grammar.form, history)
    written = [grammar.write(turn_of(e)) for e in examples]
    used = prompts["attention_mask"].bool()
    starts = used.sum(1).tolist()
    shape = (len(examples), max(start + len(turn.ids) for start, turn in zip(starts, written, strict=True)))
    batch = dict(prompts)
    batch["labels"], batch["weights"] = torch.full(shape, IGNORED), torch.zeros(shape)
    # A tensor of the ids' shape holds something for each token, such as its kind; 0 is text.
    pad = processor.tokenizer.pad_token_id
    for name in [name for name, value in prompts.items() if value.shape == used.shape]:
        fill = (grammar.end if pad is None else pad) if name == "input_ids" else 0
        batch[name] = torch.full(shape, fill, dtype=prompts[name].dtype)
        for row, start in enumerate(starts):
            batch[name][row, :start] = prompts[name][row, used[row]]
    for row, (example, (ids, action), start) in enumerate(zip(examples, written, starts, strict=True)):
        turn = slice(start, start + len(ids))
        batch["input_ids"][row, turn] = batch["labels"][row, turn] = torch.tensor(ids)
        batch["attention_mask"][row, turn] = 1
        batch["weights"][row, turn] = example.weight
        batch["weights"][row, start + action.start : start + action.stop] *= example.action_weight
    return batch


def log_probabilities(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """The log-probability of each token of the turns, and its weight: (B, T) each, T columns from the first turn on;
    both are 0 outside of the turns."""
    labels, weights = batch["labels"], batch["weights"]
    first = int((labels != IGNORED).any(0).nonzero()[0])
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "weights")}
    # Logits of the prompt are not needed, and with a large vocabulary they would need most of the memory.
    logits = model(**inputs, logits_to_keep=labels.shape[1] - first + 1, use_cache=False).logits
    logits = logits[:, :-1].float().transpose(1, 2)
    return -F.cross_entropy(logits, labels[:, first:], ignore_index=IGNORED, reduction="none"), weights[:, first:]

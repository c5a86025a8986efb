"""Batches for a vision-language model: recorded decisions as prompts and the turns that follow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from agent.policy import Context
from agent.prompted import Setting, Turn
from agent.vlm.free_text import Form, Written, ids_after
from agent.vlm.policy import encode_prompts
from agent.vlm.turn_grammar import TurnGrammar
from training.data.examples import Example

IGNORED = -100  # the label of tokens that are not learned
TARGETS = ("labels", "weights", "acts")  # what of a batch no model gets to see

Batch = dict[str, Tensor]


class Writer(Protocol):
    """Writes turns as token ids. `form`: how actions are written. `end`: the id that ends a turn."""

    @property
    def form(self) -> Form: ...

    @property
    def end(self) -> int: ...

    def write(self, turn: Turn, setting: Setting) -> Written: ...


@dataclass(frozen=True)
class TokenWriter:
    """Writes turns with the action tokens of `grammar`."""

    grammar: TurnGrammar
    form: Form = "tokens"

    @property
    def end(self) -> int:
        return self.grammar.end

    def write(self, turn: Turn, setting: Setting) -> Written:
        """The ids of a turn, with its end; see `TurnGrammar.write`."""
        return self.grammar.write(turn)


@dataclass(frozen=True)
class TextWriter:
    """Writes turns as text, with the `tokenizer` of any model."""

    tokenizer: Any
    end: int
    form: Form = "text"

    def write(self, turn: Turn, setting: Setting) -> Written:
        """The ids of a turn, with its end. Raises ValueError for a plan that the world of `setting` can't do."""
        before = f"think: {turn.thought}\n" if turn.thought else ""
        act = setting.write(Turn(turn.plan))
        after = f"\nsay: {turn.speech}" if turn.speech else ""
        ids = ids_after(self.tokenizer, before, "") if before else []
        action = ids_after(self.tokenizer, act, before)
        rest = ids_after(self.tokenizer, after, act) if after else []
        return Written([*ids, *action, *rest, self.end], slice(len(ids), len(ids) + len(action)))


def turn_of(example: Example, form: Form) -> Turn:
    """A recorded decision as a turn of the model, in the language of the world that it was recorded in."""
    decision = example.decision
    thought, speech = (" ".join(text.split()) for text in (decision.thought, decision.speech))
    plan = example.setting.plan_of(decision.actions, done=decision.done, taps=form == "text")
    return Turn(plan, thought, speech)


def encode_examples(processor: Any, writer: Writer, examples: Sequence[Example]) -> Batch:
    """What `encode_turns` makes of recorded decisions, `weights` (B, L), which are 0 outside of the turns, and `acts`
    (B, L), bool, which are true where the turns' actions stand."""
    written = [writer.write(turn_of(e, writer.form), e.setting) for e in examples]
    settings, ids_of = [e.setting for e in examples], [turn.ids for turn in written]
    batch = encode_turns(processor, writer, [e.context for e in examples], settings, ids_of)
    batch["weights"] = torch.zeros(batch["labels"].shape)
    batch["acts"] = torch.zeros(batch["labels"].shape, dtype=torch.bool)
    starts = (batch["labels"] != IGNORED).int().argmax(1).tolist()
    for row, (example, (ids, action), start) in enumerate(zip(examples, written, starts, strict=True)):
        batch["weights"][row, start : start + len(ids)] = example.weight
        stands = slice(start + action.start, start + action.stop)
        batch["weights"][row, stands] *= example.action_weight
        batch["acts"][row, stands] = True
    return batch


def encode_turns(
    processor: Any,
    writer: Writer,
    contexts: Sequence[Context],
    settings: Sequence[Setting],
    turns: Sequence[Sequence[int]],
) -> Batch:
    """Prompts of contexts, each in its setting, and the ids of a turn for each, padded on the right: what the processor
    gives, and `labels` (B, L), which are IGNORED outside of the turns."""
    prompts = encode_prompts(processor, contexts, settings, writer.form)
    used = prompts["attention_mask"].bool()
    starts = used.sum(1).tolist()
    shape = (len(contexts), max(start + len(ids) for start, ids in zip(starts, turns, strict=True)))
    batch = dict(prompts)
    batch["labels"] = torch.full(shape, IGNORED)
    # A tensor of the ids' shape holds something for each token, such as its kind; 0 is text.
    pad = processor.tokenizer.pad_token_id
    for name in [name for name, value in prompts.items() if value.shape == used.shape]:
        fill = (writer.end if pad is None else pad) if name == "input_ids" else 0
        batch[name] = torch.full(shape, fill, dtype=prompts[name].dtype)
        for row, start in enumerate(starts):
            batch[name][row, :start] = prompts[name][row, used[row]]
    for row, (ids, start) in enumerate(zip(turns, starts, strict=True)):
        turn = slice(start, start + len(ids))
        batch["input_ids"][row, turn] = batch["labels"][row, turn] = torch.tensor(ids)
        batch["attention_mask"][row, turn] = 1
    return batch


def log_probabilities(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """The log-probability of each token of the turns, and its weight: (B, T) each, of the columns of `turn_part`; both
    are 0 outside of the turns."""
    return weighed(turn_logits(model, batch), batch)


def weighed(logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """What `log_probabilities` says, of the logits of `turn_logits`."""
    losses = F.cross_entropy(logits.transpose(1, 2), turn_part(batch, "labels"), ignore_index=IGNORED, reduction="none")
    return -losses, turn_part(batch, "weights")


def turn_logits(model: Any, batch: Batch) -> Tensor:
    """What a model thinks of the tokens of the turns: (B, T, V) in single precision, of the columns of `turn_part`."""
    inputs = {name: value for name, value in batch.items() if name not in TARGETS}
    # Logits of the prompts are not needed, and with a large vocabulary they would need most of the memory.
    logits: Tensor = model(**inputs, logits_to_keep=_columns(batch) - 1, use_cache=False).logits
    return logits.float()


def turn_part(batch: Batch, name: str) -> Tensor:
    """A tensor (B, L) of a batch at the T columns at which any row has a turn: (B, T)."""
    return batch[name][:, _columns(batch)]


def _columns(batch: Batch) -> Tensor:
    return (batch["labels"] != IGNORED).any(0).nonzero()[:, 0]

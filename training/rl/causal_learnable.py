"""A causal language model of transformers as a Scorable: texts in, texts out, low-rank changes of it are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agent.checkpoint import written_whole
from agent.hub_download import folder_of
from agent.lineage import Data, Lineage, commit, parent_of, recipe_hash
from agent.policy import Decision
from agent.vlm.foreign_code import refuse_foreign_code
from envs.errors import UserError
from training.rl.learnable import Scores

RANK = 16  # of the low-rank changes


@dataclass(frozen=True)
class TextBatch:
    """Prompts and answers. `ids`, `attended` (B, S): prompts that end, and answers that begin, at the same place.
    `mask` bool (B, L): where an answer has a token."""

    ids: Tensor
    attended: Tensor
    mask: Tensor


class CausalLearnable:
    """Any causal language model of transformers and its tokenizer.

    A prompt is a text; where the tokenizer has a chat template, it is a user's message. The text of a decision is in
    `speech`; it ends with the end-of-text token or after `most` tokens. `parent`: the folder that the model comes from.
    """

    def __init__(self, model: Any, tokenizer: Any, parent: Path, *, most: int, rank: int = RANK) -> None:
        from peft import LoraConfig, get_peft_model

        # No dropout: the player and the trainer must compute the same.
        changes = LoraConfig(
            r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        self.module: Any = get_peft_model(model, changes).eval()
        # In single precision 3.5e-4 was seen: padding changes the order of sums, and changes grow large at high rates.
        self.tolerance = 1e-3 if self.module.dtype == torch.float32 else 0.1
        self._tokenizer, self._parent, self._most = tokenizer, parent, most
        self._pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id

    @torch.inference_mode()
    def sample(self, contexts: Sequence[str], *, temperature: float, generator: torch.Generator) -> list[Decision]:
        """Draws from softmax(logits / temperature) over the whole vocabulary, whatever the model's own settings say."""
        ids, attended = self._prompts(contexts)
        rows: list[list[int]] = [[] for _ in contexts]
        told: list[list[float]] = [[] for _ in contexts]
        going = list(range(len(contexts)))
        step, cache = ids, None
        for _ in range(self._most):
            places = (attended.cumsum(1) - 1).clamp(min=0)[:, -step.shape[1] :]
            out = self.module(input_ids=step, attention_mask=attended, position_ids=places, cache=cache, use_cache=True)
            logp = (out.logits[:, -1].float() / temperature).log_softmax(-1)
            step = torch.multinomial(logp.exp().to(generator.device), 1, generator=generator).to(logp.device)
            drawn, values = step[:, 0].tolist(), logp.gather(1, step)[:, 0].tolist()
            for row in going:
                rows[row].append(drawn[row])
                told[row].append(values[row])
            going = [row for row in going if rows[row][-1] != self._tokenizer.eos_token_id]
            if not going:
                break
            cache = out.cache
            attended = torch.cat([attended, torch.ones_like(step)], 1)
        texts = self._tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [
            Decision((), speech=text, tokens=tuple(row), log_probabilities=tuple(values))
            for text, row, values in zip(texts, rows, told, strict=True)
        ]

    def batch(self, contexts: Sequence[str], tokens: Sequence[Sequence[int]]) -> TextBatch:
        ids, attended = self._prompts(contexts)
        lengths = torch.tensor([len(row) for row in tokens])
        mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
        written = torch.full(mask.shape, self._pad).masked_scatter(
            mask, torch.tensor([i for row in tokens for i in row])
        )
        mask = mask.to(ids.device)
        return TextBatch(torch.cat([ids, written.to(ids.device)], 1), torch.cat([attended, mask.long()], 1), mask)

    def score(self, batch: TextBatch, temperature: float) -> Scores:
        length = batch.mask.shape[1]
        places = (batch.attended.cumsum(1) - 1).clamp(min=0)
        out = self.module(
            input_ids=batch.ids, attention_mask=batch.attended, position_ids=places, logits_to_keep=length + 1,
            use_cache=False,
        )  # fmt: skip
        logp = (out.logits[:, :-1].float() / temperature).log_softmax(-1)
        chosen = logp.gather(2, batch.ids[:, -length:, None])[..., 0] * batch.mask
        entropies = -(logp.exp() * logp).sum(2) * batch.mask
        return Scores(chosen, entropies, batch.mask)

    @torch.no_grad()
    def reference(self, batch: TextBatch, temperature: float) -> Tensor:
        with self.module.disable_adapter():
            return self.score(batch, temperature).log_probabilities

    def tokens_of(self, text: str) -> tuple[int, ...]:
        """A whole answer as tokens, with its end."""
        return (*self._tokenizer(text, add_special_tokens=False)["input_ids"], self._tokenizer.eos_token_id)

    def state(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.module.named_parameters() if p.requires_grad}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.module.load_state_dict(state, strict=False)

    def save(self, out: Path, *, trained: Mapping[str, Any], data: Sequence[Data], recipe: Mapping[str, Any]) -> None:
        """Write the whole model with its changes, as transformers loads it, and correction.json: how it was made."""
        import copy
        import json

        lineage = Lineage(parent_of(self._parent), tuple(data), recipe_hash(recipe), commit())
        with written_whole(out) as part:
            copy.deepcopy(self.module).merge_and_unload().save_pretrained(part)
            self._tokenizer.save_pretrained(part)
            (part / "correction.json").write_text(
                json.dumps({**lineage.to_json(), "trained": dict(trained)}, indent=2) + "\n"
            )

    def _prompts(self, contexts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Tokens and attention (B, S) of prompts, padded on the left."""
        tokenizer = self._tokenizer
        texts = list(contexts)
        if chat := bool(tokenizer.chat_template):
            asked = [[{"role": "user", "content": text}] for text in texts]
            texts = [tokenizer.apply_chat_template(one, tokenize=False, add_generation_prompt=True) for one in asked]
        rows = tokenizer(texts, add_special_tokens=not chat)["input_ids"]
        width = max(map(len, rows))
        ids = torch.tensor([[self._pad] * (width - len(row)) + list(row) for row in rows])
        attended = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        return ids.to(self.module.device), attended.to(self.module.device)


def load_causal(name: str, *, most: int, rank: int = RANK) -> CausalLearnable:
    """A causal language model of transformers: a folder, or a name of the Hugging Face hub. Weights are read from
    safetensors only, and no code that comes with a model is run. Raises UserError."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()  # the verbs show their own
    try:
        folder = folder_of(name)
        refuse_foreign_code(folder)
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(str(folder), trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(f"--policy hf:{name}: expected a causal language model of transformers ({said})") from error
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return CausalLearnable(model, tokenizer, folder, most=most, rank=rank)

"""What the grammars of turns share: free text as token ids, and the `generate` that keeps to a grammar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from transformers import LogitsProcessor

Form = Literal["text", "tokens"]
Cache = Literal["dynamic", "static"]  # of keys and values: it grows with the text, or has room for the longest turn
_CONTROL = {chr(i) for i in (*range(32), *range(127, 160), 0x2028, 0x2029)}

State = TypeVar("State")


class Written(NamedTuple):
    """A turn as token ids; `action`: where in them the action stands, with its mark."""

    ids: list[int]
    action: slice


class Rules(Protocol[State]):
    """A grammar of turns: which ids may follow which. `free`: the ids of free text. `end`: the id that ends a turn.
    `longest`: the most ids of a turn."""

    end: int
    longest: int
    free: npt.NDArray[np.int64]

    def begin(self) -> State: ...

    def step(self, state: State, token: int) -> State: ...

    def edges(self, state: State) -> list[int]: ...

    def roams(self, state: State) -> bool: ...


def free_ids(tokenizer: Any) -> npt.NDArray[np.int64]:
    """The ids of ordinary text: neither special or added nor with a line break or control character in them."""
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return np.array([i for i, text in enumerate(texts) if i not in special and not _CONTROL & set(text)], np.int64)


def ids_after(tokenizer: Any, text: str, after: str) -> list[int]:
    """The ids of `text` as they are when it follows `after`."""
    before = tokenizer.encode(after, add_special_tokens=False) if after else []
    whole = tokenizer.encode(after + text, add_special_tokens=False)
    if whole[: len(before)] == before and len(whole) > len(before):
        return list(whole[len(before) :])
    return list(tokenizer.encode(text, add_special_tokens=False))


@torch.inference_mode()
def generate(
    model: Any,
    tokenizer: Any,
    inputs: dict[str, torch.Tensor],
    rules: Rules[Any],
    seeds: Sequence[int],
    temperature: float,
    cache: Cache = "dynamic",
) -> list[list[int]]:
    """The ids that a model writes after each prompt, all in one batch, within the rules."""
    from transformers import GenerationConfig

    prompt = inputs["input_ids"].shape[1]
    pad = tokenizer.pad_token_id
    out = model.generate(
        **inputs,
        generation_config=GenerationConfig(
            max_new_tokens=rules.longest,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            eos_token_id=rules.end,
            pad_token_id=rules.end if pad is None else pad,
            cache_implementation=cache,
        ),
        logits_processor=[TurnProcessor(rules, prompt, seeds, temperature)],
    )
    ids: list[list[int]] = out[:, prompt:].tolist()
    return ids


class TurnProcessor(LogitsProcessor, Generic[State]):
    """Makes `generate` write turns of a grammar, greedily or with random numbers of each row's own.

    `prompt`: the length of the prompts, padding included. `seeds`: one a row. With `temperature` above 0 the scores get
    Gumbel noise that depends on the row's seed and the step alone: the likeliest token is then a fair draw that does
    not depend on the other rows. Use it with greedy search, and make a new one for every call.
    """

    def __init__(self, grammar: Rules[State], prompt: int, seeds: Sequence[int] = (), temperature: float = 0.0) -> None:
        self.grammar, self._prompt, self._seeds, self._temperature = grammar, prompt, seeds, temperature
        self._states: list[State] = []
        self._free: torch.Tensor | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        step = input_ids.shape[1] - self._prompt
        if step == 0:
            self._states = [self.grammar.begin()] * len(input_ids)
        else:
            last = input_ids[:, -1].tolist()
            self._states = [self.grammar.step(s, token) for s, token in zip(self._states, last, strict=True)]
        if self._free is None:
            self._free = torch.from_numpy(self.grammar.free).to(scores.device)
        out = torch.full_like(scores, -torch.inf)
        for row, state in enumerate(self._states):
            edges = torch.tensor(self.grammar.edges(state), device=scores.device)
            ids = torch.cat([edges, self._free]) if self.grammar.roams(state) else edges
            values = scores[row, ids]
            if self._temperature > 0 and len(ids) > 1:
                # noise for the whole vocabulary, so that the noise of an id does not depend on what else is allowed
                noise = np.random.default_rng([self._seeds[row], step]).gumbel(size=scores.shape[1])
                values = values / self._temperature + torch.from_numpy(noise).to(values)[ids]
            out[row, ids] = values
        return out  # type: ignore[return-value]

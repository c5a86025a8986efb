"""`Sorting`: digits in text are put in order, in two attempts, and a tiny language model that can do it a little.

    39142>                 the first attempt, such as 12394
    39142>12394? 39142>    the second attempt, with the first one in its prompt

Whether a row is in order is easier to see of a row that is there than of one that is being written: a second look is
worth something.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agent.checkpoint import written_whole
from envs.errors import UserError
from training.rl.self_correction import Ask, Attempt

LETTERS = "0123456789>? "
_ANSWER = re.compile(r"\d+")
_HELD_OUT = 5  # one of so many rows is for evaluation
_RATE, _CHECKED = 3e-3, 25  # of the making of a tiny model: its learning rate, and steps between two checks
_UNASKED = -100  # a label that does not count


@dataclass(frozen=True)
class Row:
    """Digits to be put in order, the smallest one first."""

    digits: str

    @property
    def text(self) -> str:
        return f"{self.digits}>"

    @property
    def right(self) -> str:
        return "".join(sorted(self.digits))

    def held_out(self) -> bool:
        """Whether it is for evaluation."""
        return zlib.crc32(self.digits.encode()) % _HELD_OUT == 0


def answer_of(text: str) -> str:
    """The first digits in a text; "" where there are none."""
    found = _ANSWER.search(text)
    return found[0] if found else ""


def is_right(row: Row, answer: str) -> bool:
    """Ground truth."""
    return answer == row.right


def is_in_order(row: Row, answer: str) -> bool:
    """A judge that errs: it sees whether an answer of the right length is in order, and not whether these are the
    digits that were asked for."""
    return len(answer) == len(row.digits) and answer == "".join(sorted(answer))


def second_prompt(row: Row, told: str) -> str:
    """The prompt of a second attempt; `told`: the first one."""
    return f"{row.text}{told}? {row.text}"


REWARDS: dict[str, Callable[[Row, str], bool]] = {"truth": is_right, "order": is_in_order}


class Sorting:
    """Rows of so many `digits`. `reward`: one of REWARDS. Raises UserError for another one."""

    def __init__(self, digits: int = 5, reward: str = "truth") -> None:
        if reward not in REWARDS:
            raise UserError(f"--reward {reward}: rows are checked by {' or '.join(REWARDS)}")
        self._digits, self._reward = digits, REWARDS[reward]
        self.length = digits + 1  # and its end

    def problems(self, count: int, seed: int, *, evaluation: bool = False) -> list[Row]:
        rng = np.random.default_rng((seed, evaluation))
        found: list[Row] = []
        while len(found) < count:
            drawn = rng.integers(0, 10, (count, self._digits))
            rows = [Row("".join(map(str, digits))) for digits in drawn]
            found += [row for row in rows if row.held_out() == evaluation]
        return found[:count]

    def attempt(
        self, ask: Ask[str], problems: Sequence[Row], after: Sequence[Attempt[str]] = ()
    ) -> list[Attempt[str] | None]:
        prompts = [row.text for row in problems]
        if after:
            prompts = [second_prompt(row, one.told) for row, one in zip(problems, after, strict=True)]
        attempts: list[Attempt[str] | None] = []
        for row, prompt, decision in zip(problems, prompts, ask(prompts), strict=True):
            answer = answer_of(decision.speech)
            attempts.append(
                Attempt((prompt,), (decision,), float(self._reward(row, answer)), is_right(row, answer), answer)
            )
        return attempts

    def again(self, prompts: Sequence[str], after: Attempt[str], problem: Row) -> tuple[str, ...]:
        return tuple(second_prompt(problem, after.told) for _ in prompts)

    def close(self) -> None:
        """Nothing is held."""


def tiny_sorter(
    out: Path, *, digits: int = 5, enough: float = 0.75, steps: int = 1500, batch: int = 64, width: int = 48,
    layers: int = 2, seed: int = 0, repeats: float = 0.8,
) -> Path:  # fmt: skip
    """Make a Llama with 50,000 weights from nothing, whose tokens are LETTERS, and write it to `out`.

    It learns the training rows until it sorts the share `enough` of those of evaluation rightly, or for `steps` steps.
    It also learns the form of a second attempt: after a first one that is right, or wrong in one digit, half of the
    time each. The second one repeats the first in the share `repeats` and is right in the others, so that what it
    learned of second looks is mostly to repeat itself.
    """
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    torch.manual_seed(seed)
    tokenizer = _letters()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
            num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=128, tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    rng = np.random.default_rng(seed)
    exercise = Sorting(digits)
    asked = [(one.text, one.right) for one in exercise.problems(200, seed, evaluation=True)]
    for step in range(steps):
        if step % _CHECKED == 0 and _sorted_rightly(model, tokenizer, asked) >= enough:
            break
        ids, labels = _written(tokenizer, [_traced(one, rng, repeats) for one in exercise.problems(batch, step)])
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with written_whole(out) as part:
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
    return out


def _traced(row: Row, rng: np.random.Generator, repeats: float) -> tuple[str, str]:
    """A prompt and its answer: a first or a second attempt."""
    if rng.random() < 0.5:
        return row.text, row.right
    said = row.right
    if rng.random() < 0.5:
        at = int(rng.integers(len(said)))
        said = said[:at] + str((int(said[at]) + rng.integers(1, 10)) % 10) + said[at + 1 :]
    return second_prompt(row, said), said if rng.random() < repeats else row.right


@torch.no_grad()
def _sorted_rightly(model: Any, tokenizer: Any, asked: Sequence[tuple[str, str]]) -> float:
    """The share of the rows that the model sorts rightly where it writes what is likeliest."""
    ids, labels = _written(tokenizer, asked)
    likeliest = model(input_ids=ids).logits[:, :-1].argmax(-1)
    right = (likeliest == labels[:, 1:]) | (labels[:, 1:] == _UNASKED)
    return float(right.all(1).float().mean())


def _written(tokenizer: Any, texts: Sequence[tuple[str, str]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (B, S) of prompts with their answers, and labels: the letters of the answers and their ends."""
    prompts, answers = (tokenizer(list(part))["input_ids"] for part in zip(*texts, strict=True))
    rows = [[*prompt, *answer, tokenizer.eos_token_id] for prompt, answer in zip(prompts, answers, strict=True)]
    ids = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_token_id)
    labels = torch.full_like(ids, _UNASKED)
    for at, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        ids[at, : len(row)] = torch.tensor(row)
        labels[at, len(prompt) : len(row)] = ids[at, len(prompt) : len(row)]
    return ids, labels


def _letters() -> Any:
    """A tokenizer with a token for each of LETTERS."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {name: number for number, name in enumerate(["<pad>", "<end>", "<unk>", *LETTERS])}
    made = Tokenizer(models.WordLevel(names, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<pad>", unk_token="<unk>")

"""Texts for `small` to learn, and batches of them: all texts of a frame share one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agent import doom_codec as codec
from agent.sight import NOWHERE
from agent.small.model import PromptBatch
from agent.small.output_grammar import FIELD, SILENT, SPEAKING, TALKING, THINKING
from agent.small.prompt import Prompt, pack
from agent.small.token_ids import ACT, END, GO, PLACE, SAY, STARTS, spell

_FIELDS = len(STARTS)


@dataclass
class Text:
    """One text. `tokens`: the role and what follows it. `choices`, `weights`: for every token after the role, the kind
    of choice that it was (agent.small.output_grammar.CHOICES) and the weight of its loss."""

    tokens: list[int]
    choices: list[int]
    weights: list[float]

    def times(self, weight: float) -> Text:
        """The same text with every weight multiplied by `weight`."""
        return replace(self, weights=[weight * w for w in self.weights])


@dataclass
class Batch:
    """N frames, each with a row of texts.

    `frames` uint8 (N, 3, H, W). `prompt`: the prompts of all rows. `tokens` (N, L): the texts' tokens without their
    last ones. `order` (N, L): the place of a token in its text. `pack` (N, L): the number of its text in the row.
    `rows`, `columns` (M,): where a token follows. `spots`: the same places counted over all rows, and some empty ones.
    `targets`, `choices`, `weights` (M,): which one, its kind of choice and its weight. `texts`: how many texts there
    are. `cells` (N, 30, 40): classes of the segmentation, or None.
    """

    frames: Tensor
    prompt: PromptBatch
    tokens: Tensor
    order: Tensor
    pack: Tensor
    rows: Tensor
    columns: Tensor
    spots: Tensor
    targets: Tensor
    choices: Tensor
    weights: Tensor
    texts: int
    cells: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        moved: dict[str, Any] = {
            k: v.to(device) if isinstance(v, Tensor | PromptBatch) else v for k, v in vars(self).items()
        }
        return Batch(**moved)


def decision(
    fields: Sequence[int],
    thought: Sequence[int] = (),
    speech: Sequence[int] = (),
    silent: bool = True,
    weights: Sequence[float] = (1.0,) * 6,
) -> Text:
    """The text of a decision. `fields`: the six of place and action, each counted from 0. `silent`: the player is not
    free to think. `weights`: of the fields."""
    ids = [start + int(f) for start, f in zip(STARTS, fields, strict=True)]
    free = SILENT if silent else THINKING
    tokens = [ACT, *ids[:PLACE], *thought]
    choices = [*range(FIELD, FIELD + PLACE), *[free] * len(thought)]
    if len(speech):
        tokens += [SAY, *speech, GO]
        choices += [free, *[SPEAKING] * len(speech), SPEAKING]
    else:
        tokens.append(GO)
        choices.append(free)
    tokens += ids[PLACE:]
    hands = range(FIELD + PLACE, FIELD + _FIELDS)
    said = [1.0] * (len(choices) - PLACE)
    return Text(tokens, [*choices, *hands], [*weights[:PLACE], *said, *weights[PLACE:]])


def ending(speech: str, *, silent: bool) -> Text:
    """The decision of one who says why it stops instead of going on, as a guide ends."""
    hands = [*codec.NOOP[:-1], codec.HANDS.index("done")]
    return decision([*NOWHERE, *hands], [] if silent else spell("done"), spell(speech), silent)


def pointing(place: Sequence[int]) -> Text:
    """The text of a decision that ends after the place of the wanted thing, (column, row), each counted from 0."""
    ids = [start + int(at) for start, at in zip(STARTS, place, strict=False)]
    return Text([ACT, *ids], list(range(FIELD, FIELD + PLACE)), [1.0] * PLACE)


def words_of(role: int, ids: Sequence[int], first: int = TALKING) -> Text:
    """The text of another role: words and an end. `first`: the kind of choice of its first word."""
    choices = [first, *[TALKING] * len(ids)]
    return Text([role, *ids, END], choices, [1.0] * len(choices))


def assemble(
    frames: npt.NDArray[np.uint8],
    asked: Sequence[Sequence[Prompt]],
    texts: Sequence[Sequence[Text]],
    cells: npt.NDArray[np.uint8] | None = None,
) -> Batch:
    """A batch of frames (N, H, W, 3), each with its prompts and their texts."""
    length = _rounded(max(sum(len(text.tokens) - 1 for text in row) for row in texts), 16)
    words = max(sum(max(1, _words(prompt)) for prompt in row) for row in asked)
    decisions = max(sum(len(prompt.past) for prompt in row) for row in asked)
    tokens, order, owner = (np.zeros((len(texts), length), np.int64) for _ in range(3))
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    choices: list[int] = []
    weights: list[float] = []
    for i, row in enumerate(texts):
        at = 0
        for number, text in enumerate(row):
            n = len(text.tokens) - 1
            tokens[i, at : at + n] = text.tokens[:-1]
            order[i, at : at + n] = range(n)
            owner[i, at : at + n] = number
            rows += [i] * n
            columns += range(at, at + n)
            targets += text.tokens[1:]
            choices += text.choices
            weights += text.weights
            at += n
    return Batch(
        frames=torch.from_numpy(frames).permute(0, 3, 1, 2),
        prompt=pack(asked, _rounded(words, 32), _rounded(decisions, 32)),
        tokens=torch.from_numpy(tokens),
        order=torch.from_numpy(order),
        pack=torch.from_numpy(owner),
        rows=torch.tensor(rows),
        columns=torch.tensor(columns),
        spots=torch.from_numpy(_spots(np.array(rows, np.int64) * length + np.array(columns, np.int64), tokens.size)),
        targets=torch.tensor(targets),
        choices=torch.tensor(choices),
        weights=torch.tensor(weights),
        texts=sum(map(len, texts)),
        cells=None if cells is None else torch.from_numpy(cells),
    )


def _words(prompt: Prompt) -> int:
    return len(prompt.request) + len(prompt.thought) + len(prompt.memory)


def _rounded(size: int, step: int) -> int:
    """The next multiple of `step`. Matrices of ever new shapes are slow: oneDNN makes code for each."""
    return -(-size // step) * step


def _spots(used: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """The places in use, and of the other places up to `size` as many as make the number round."""
    empty = np.setdiff1d(np.arange(size), used, assume_unique=True)
    return np.concatenate([used, empty[: _rounded(len(used), 64) - len(used)]])

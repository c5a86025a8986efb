"""`small` as a distribution over decisions: draw from it, and compute how likely a decision is under it.

The distribution of the next token is softmax(logits / temperature) over the tokens that the grammar allows. The
log-probability of a decision is the sum over its tokens, endings included. The rules of the greedy player
(agent.small.greedy) are not part of it. `sample` draws with cached keys and values. `log_probabilities` recomputes the
same numbers in one differentiable pass (teacher forcing), as a policy gradient needs them.

    decisions = sample(model, contexts, temperature=0.7, think=12, generator=torch.Generator().manual_seed(0))
    batch = batch_of(contexts, [decision.tokens for decision in decisions], think=12)  # once for all epochs
    scores = score(model, batch, temperature=0.7)
    ratio = (scores.log_probabilities - old_log_probabilities).exp()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from agent.policy import Context, Decision
from agent.small.decoder import Decoder, Decoding
from agent.small.model import FRAME_SIZE, Encoded, PromptBatch, SmallModel
from agent.small.output_grammar import LAST_WORD, MASK, THINK, Output, choices_of, decision_of
from agent.small.prompt import Prompt, pack, prompt_of
from agent.small.token_ids import ACT, say


@torch.inference_mode()
def sample(
    model: SmallModel,
    contexts: Sequence[Context],
    *,
    temperature: float = 1.0,
    think: int = THINK,
    generator: torch.Generator | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Decision]:
    """A decision for each context, with its `tokens`, their `log_probabilities` and its `hidden` state, all drawn in
    one batch.

    `temperature`: above 0. `think`: the most words of a thought; 0 for none. `generator`: where the random numbers come
    from, torch's own by default; what it gives a row depends on the other rows. `seeds`: one for each context, in place
    of the generator; then a decision follows from its context and its seed, whatever is beside it. Raises ValueError
    for another temperature.
    """
    outputs = [Output(ACT, think) for _ in contexts]
    numbers = None if seeds is None else [np.random.default_rng(seed) for seed in seeds]
    drawn = _written(model, *_inputs(contexts), outputs, temperature, generator, numbers)
    return [
        replace(decision_of(output), tokens=one.tokens, log_probabilities=one.scores, hidden=one.hidden)
        for output, one in zip(outputs, drawn, strict=True)
    ]


@torch.inference_mode()
def sample_text(
    model: SmallModel,
    role: int,
    prompts: Sequence[Prompt],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[Decision]:
    """What a role writes for each prompt, where no frame is shown: a decision that does nothing and has the text as its
    `speech`. Its `tokens` include the end. Otherwise as `sample`."""
    outputs = [Output(role) for _ in prompts]
    drawn = _written(model, *_unseen(prompts), outputs, temperature, generator)
    return [
        Decision((), speech=say(output.tokens), tokens=one.tokens, log_probabilities=one.scores, hidden=one.hidden)
        for output, one in zip(outputs, drawn, strict=True)
    ]


class _Drawn(NamedTuple):
    tokens: tuple[int, ...]
    scores: tuple[float, ...]
    hidden: Any


def _written(
    model: SmallModel,
    frames: Tensor,
    prompt: PromptBatch,
    outputs: Sequence[Output],
    temperature: float,
    generator: torch.Generator | None,
    numbers: Sequence[np.random.Generator] | None = None,
) -> list[_Drawn]:
    """Writes empty outputs, all of one role."""
    _check(temperature)
    device = model.head.weight.device
    decoding = Decoding(Decoder(model), model.encode(frames.to(device), prompt.to(device)))
    written: list[list[int]] = [[] for _ in outputs]
    scores: list[list[float]] = [[] for _ in outputs]
    rows = list(range(len(outputs)))  # of the outputs that are still being written, and of some that are complete
    tokens = torch.full((len(rows), 1), outputs[0].role, device=device)
    mask = MASK.to(device)
    first: Tensor | None = None
    while rows:
        hidden = decoding.step(tokens)[:, -1]
        first = hidden if first is None else first
        choices = [LAST_WORD if outputs[row].done else outputs[row].choice for row in rows]
        logp = _log_softmax(model, hidden, mask[choices], temperature)
        tokens = _draw(logp, generator) if numbers is None else _draw_each(logp, [numbers[row] for row in rows])
        drawn = logp.gather(1, tokens)
        for row, token, value in zip(rows, tokens[:, 0].tolist(), drawn[:, 0].tolist(), strict=True):
            if not outputs[row].done:
                outputs[row].add(token)
                written[row].append(token)
                scores[row].append(value)
        left = [at for at, row in enumerate(rows) if not outputs[row].done]
        if 2 * len(left) <= len(rows):  # dropping rows copies what the others have read, so it is done seldom
            decoding.keep(left)
            rows, tokens = [rows[at] for at in left], tokens[left]
    states: Any = () if first is None else first.float().cpu().numpy()
    return [
        _Drawn(tuple(ids), tuple(values), state) for ids, values, state in zip(written, scores, states, strict=True)
    ]


@dataclass(frozen=True)
class SampledBatch:
    """Decisions and what they were drawn for, as tensors.

    `frames`: uint8 (B, 3, 120, 160). `image` (B, 80, width): their image tokens, where they are not to be made in every
    pass (`seen`). `prompt`: one a row. `tokens` (B, L): what the decoder reads, first the role; L is
    the length of the longest decision. `order` (B, L): 0, 1, 2 ... `mask` bool (B, L): where a decision has a token.
    `targets`, `choices` (M,): the tokens under the mask, row by row, and the kind of choice that each was.
    """

    frames: Tensor
    prompt: PromptBatch
    tokens: Tensor
    order: Tensor
    mask: Tensor
    targets: Tensor
    choices: Tensor
    image: Tensor | None = None

    def to(self, device: torch.device) -> SampledBatch:
        moved: dict[str, Any] = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return SampledBatch(**moved)


class TokenScores(NamedTuple):
    """Of each token of B decisions, (B, L) with zeros behind the end of a decision: `log_probabilities`, and the
    `entropies` of the distributions that the tokens were drawn from, in nats. `mask` bool (B, L): where tokens are."""

    log_probabilities: Tensor
    entropies: Tensor
    mask: Tensor


def batch_of(contexts: Sequence[Context], tokens: Sequence[Sequence[int]], think: int = THINK) -> SampledBatch:
    """Contexts and the tokens of a decision for each, on the CPU. `think`: as the decisions were drawn with. Raises
    ValueError where the grammar does not allow some tokens."""
    return _batch(ACT, *_inputs(contexts), tokens, think)


def text_batch_of(role: int, prompts: Sequence[Prompt], tokens: Sequence[Sequence[int]]) -> SampledBatch:
    """As `batch_of`, of what `sample_text` drew."""
    return _batch(role, *_unseen(prompts), tokens)


def _batch(
    role: int, frames: Tensor, prompt: PromptBatch, tokens: Sequence[Sequence[int]], think: int = 0
) -> SampledBatch:
    length = max(map(len, tokens))
    inputs, mask = np.zeros((len(tokens), length), np.int64), np.zeros((len(tokens), length), bool)
    for row, ids in enumerate(tokens):
        inputs[row, : len(ids)] = [role, *ids[:-1]]
        mask[row, : len(ids)] = True
    return SampledBatch(
        frames=frames,
        prompt=prompt,
        tokens=torch.from_numpy(inputs),
        order=torch.arange(length).repeat(len(tokens), 1),
        mask=torch.from_numpy(mask),
        targets=torch.tensor([token for ids in tokens for token in ids]),
        choices=torch.tensor([choice for ids in tokens for choice in choices_of(ids, think, role)]),
    )


@torch.no_grad()
def seen(model: SmallModel, batch: SampledBatch) -> SampledBatch:
    """The batch with its image tokens, on the model's device: for passes in which the image encoder stays as it is."""
    batch = batch.to(model.head.weight.device)
    return replace(batch, image=model.see(batch.frames))


def score(model: SmallModel, batch: SampledBatch, temperature: float) -> TokenScores:
    """Log-probabilities and entropies of the decisions of a batch, in one pass; gradients flow. Moves the batch to the
    model's device. Raises ValueError for a temperature that is not above 0."""
    _check(temperature)
    batch = batch.to(model.head.weight.device)
    image = model.see(batch.frames) if batch.image is None else batch.image
    encoded = Encoded(image, *model.read(batch.prompt))
    hidden = model.write(encoded, batch.tokens, batch.order, torch.zeros_like(batch.tokens))
    # only where there is a token: the head has many more outputs than a hidden state has numbers
    logp = _log_softmax(model, hidden[batch.mask], MASK.to(hidden.device)[batch.choices], temperature)
    chosen = logp.gather(1, batch.targets[:, None])[:, 0]
    empty = logp.new_zeros(batch.mask.shape)
    return TokenScores(
        empty.masked_scatter(batch.mask, chosen),
        empty.masked_scatter(batch.mask, -(logp.exp() * logp).sum(1)),
        batch.mask,
    )


@torch.no_grad()
def states_of(model: SmallModel, contexts: Sequence[Context]) -> Tensor:
    """What the model makes of each of B contexts before it writes a token: hidden states (B, width), for a value head,
    as `sample` gives them with its decisions."""
    device = model.head.weight.device
    frames, prompt = _inputs(contexts)
    start = torch.full((len(contexts), 1), ACT, device=device)
    nought = torch.zeros_like(start)
    return model.write(model.encode(frames.to(device), prompt.to(device)), start, nought, nought)[:, 0]


def log_probabilities(
    model: SmallModel,
    contexts: Sequence[Context],
    tokens: Sequence[Sequence[int]],
    temperature: float,
    think: int = THINK,
) -> Tensor:
    """The log-probability of each token (B, L), with zeros behind the end of a decision: those that `sample` gives for
    the same weights, but differentiable. For several passes over the same decisions call `batch_of` once and `score`
    in every pass."""
    return score(model, batch_of(contexts, tokens, think), temperature).log_probabilities


def _log_softmax(model: SmallModel, hidden: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """The distribution of the next tokens, (M, SIZE), after hidden states (M, width): what sampling and scoring
    share."""
    return torch.log_softmax(model.logits(hidden).float() / temperature + mask, -1)


def _draw(logp: Tensor, generator: torch.Generator | None) -> Tensor:
    """One token a row, (M, 1). The generator may live on another device than the model."""
    device = logp.device if generator is None else generator.device
    return torch.multinomial(logp.exp().to(device), 1, generator=generator).to(logp.device)


def _draw_each(logp: Tensor, numbers: Sequence[np.random.Generator]) -> Tensor:
    """One token a row, (M, 1), each by the next number of its own generator: where the cumulated probability reaches
    it. Numbers are in (0, 1], so that no token without probability is drawn."""
    drawn = torch.tensor([[1.0 - one.random()] for one in numbers], dtype=torch.float64, device=logp.device)
    reached = logp.double().exp().cumsum(1)
    return (reached < drawn * reached[:, -1:]).sum(1, keepdim=True)


def _inputs(contexts: Sequence[Context]) -> tuple[Tensor, PromptBatch]:
    frames = torch.from_numpy(np.stack([context.frames[-1] for context in contexts])).permute(0, 3, 1, 2)
    return frames, pack([[prompt_of(context)] for context in contexts])


def _unseen(prompts: Sequence[Prompt]) -> tuple[Tensor, PromptBatch]:
    black = torch.zeros(len(prompts), 3, *FRAME_SIZE, dtype=torch.uint8)
    return black, pack([[prompt] for prompt in prompts])


def _check(temperature: float) -> None:
    if not 0.0 < temperature < float("inf"):
        raise ValueError(f"temperature: expected a number above 0, got {temperature!r}; the greedy player is `act`")

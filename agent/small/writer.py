"""`Writer`: the decoder of `small`, one token after the other, with what it has seen kept: for play."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from agent.small.layout import GO, PLACE, SAY, SIZE
from agent.small.model import Memory, SmallModel
from agent.small.turn import CHOICES, FIELD, Turn

_FIRST_ACTION = FIELD + PLACE  # chance has no say in where a thing is seen, nor in words
_IDS = tuple([i for first, end in ranges for i in range(first, end)] for ranges in CHOICES)


@dataclass
class _Layer:
    """The weights of a decoder layer, as the loop needs them: fewer and larger products."""

    own_norm: tuple[Tensor, Tensor]
    own_qkv: tuple[Tensor, Tensor]
    own_out: tuple[Tensor, Tensor]
    text_norm: tuple[Tensor, Tensor]
    text_q: tuple[Tensor, Tensor]
    text_out: tuple[Tensor, Tensor]
    image_norm: tuple[Tensor, Tensor]
    image_q: tuple[Tensor, Tensor]
    image_out: tuple[Tensor, Tensor]
    feed_norm: tuple[Tensor, Tensor]
    feed_in: tuple[Tensor, Tensor]
    feed_out: tuple[Tensor, Tensor]


class Writer:
    """Writes turns with a model's weights. Make a new one when the weights change."""

    def __init__(self, model: SmallModel) -> None:
        self._model = model
        self._split = model.config.heads
        self._width = model.config.width
        head = model.head
        # choices are made one by one, which a GPU is slow at
        weight, bias = head.weight.detach().cpu(), head.bias.detach().cpu()
        self._heads = [(weight[ids], bias[ids]) for ids in _IDS]

        def both(module: torch.nn.Module) -> tuple[Tensor, Tensor]:
            return module.weight.detach(), module.bias.detach()  # type: ignore[operator]

        self._layers = []
        for layer in model.layers:
            own, text, image, net = layer.own, layer.text, layer.image, layer.feed.net  # type: ignore[union-attr]
            qkv = tuple(torch.cat(pair) for pair in zip(both(own.q), both(own.kv), strict=True))  # type: ignore[arg-type,union-attr]
            self._layers.append(
                _Layer(
                    both(own.norm), qkv, both(own.out), both(text.norm), both(text.q), both(text.out),  # type: ignore[arg-type,union-attr]
                    both(image.norm), both(image.q), both(image.out), both(net[0]), both(net[1]), both(net[3]),  # type: ignore[arg-type,union-attr,index]
                )
            )  # fmt: skip

    @torch.inference_mode()
    def write(
        self,
        memory: Memory,
        turns: Sequence[Turn],
        temperature: Sequence[float] | None = None,
        noise: npt.NDArray[np.float32] | None = None,
        words: bool = False,
        guidance: float = 0.0,
        guess: Sequence[int] = (),
    ) -> list[list[float]]:
        """Write every turn to its end, one for each row of `memory`, with one prompt a row; returns the
        log-probability of each token among those that were allowed.

        `temperature`: 0 takes the likeliest token, above it one is drawn with `noise` (B, steps, SIZE), uniform random
        numbers. Chance has no say in the place, and in words only where `words`. `guidance`: how far the actions are
        moved away from what they would be without the instruction, l + guidance (l - l0) on log-probabilities (SIMA 1);
        `memory` then has as many rows again, with the prompts that have none. `guess`: what a single turn is likely to
        write. It is checked in one pass instead of being written token by token, and what turns out wrong is written
        anew (speculative decoding): the output is the same, sooner.
        """
        rows = memory.text.shape[0]
        image = self._model.image_norm(memory.image)
        looks = [
            (layer.text.memory(memory.text), layer.image.memory(image))  # type: ignore[union-attr,operator]
            for layer in self._model.layers
        ]
        mask = None if rows == 1 else (memory.pack == 0)[:, None, None, :]
        past: list[Tensor | None] = [None] * len(self._layers)
        copies = rows // len(turns)
        chosen = [turn.role for turn in turns]
        scores: list[list[float]] = [[] for _ in turns]
        step = 0
        while True:
            ahead = _ahead(turns[0], guess) if guess and len(turns) == 1 else []
            tokens = torch.tensor([[token, *ahead] for token in chosen * copies], device=image.device)
            x = self._model.token(tokens, torch.arange(step, step + tokens.shape[1], device=image.device))
            for number, (layer, (text, seen)) in enumerate(zip(self._layers, looks, strict=True)):
                x, past[number] = self._layer(layer, x, past[number], text, seen, mask)
            hidden = self._model.norm(x).cpu()
            for at in range(tokens.shape[1]):
                for row, turn in enumerate(turns):
                    if turn.done:
                        continue
                    choice = turn.choice
                    heat = temperature[row] if temperature is not None and (words or choice >= _FIRST_ACTION) else 0.0
                    numbers = noise[row, step] if heat and noise is not None else None
                    blind = hidden[row + len(turns), at] if guidance and choice >= _FIRST_ACTION else None
                    chosen[row], score = self._choose(hidden[row, at], turn, heat, numbers, blind, guidance)
                    turn.add(chosen[row])
                    scores[row].append(score)
                step += 1
                if at < len(ahead) and chosen[0] != ahead[at]:
                    past = [kept[:, :, :, :step] for kept in past if kept is not None]
                    break
            if all(turn.done for turn in turns):
                return scores

    def _choose(
        self,
        hidden: Tensor,
        turn: Turn,
        heat: float,
        noise: npt.NDArray[np.float32] | None,
        blind: Tensor | None,
        guidance: float,
    ) -> tuple[int, float]:
        """A token among those that may come next in a turn, and its log-probability."""
        choice = turn.choice
        ids, (weight, bias) = _IDS[choice], self._heads[choice]
        if len(ids) == 1:
            return ids[0], 0.0
        logp = torch.log_softmax(F.linear(hidden, weight, bias), -1)
        if blind is not None:
            logp = torch.log_softmax(logp + guidance * (logp - F.linear(blind, weight, bias).log_softmax(-1)), -1)
        drawn = logp
        if (lone := turn.lone) is not None:
            token, rivals, least = lone
            others = slice(ids.index(rivals.start), ids.index(rivals.start) + len(rivals))
            at = ids.index(token)
            if float(logp[at].exp()) < least * float(logp[at].exp() + logp[others].exp().sum()):
                drawn = logp.clone()
                drawn[at] = -torch.inf
        for token in turn.barred:
            if token in ids:
                drawn = drawn.clone()
                drawn[ids.index(token)] = -torch.inf
        if noise is not None:
            drawn = drawn + heat * torch.from_numpy(-np.log(-np.log(noise[: len(ids)].clip(1e-9, 1 - 1e-6)))).to(logp)
        index = int(drawn.argmax())
        return ids[index], float(logp[index])

    def _layer(
        self,
        w: _Layer,
        x: Tensor,
        past: Tensor | None,
        text: tuple[Tensor, Tensor],
        image: tuple[Tensor, Tensor],
        mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """One layer for the newest tokens x (B, L, width); `past` (2, B, heads, before, size) grows by them."""
        shape, heads, width = x.shape, self._split, (self._width,)
        size = (*shape[:2], heads, -1)
        qkv = F.linear(F.layer_norm(x, width, *w.own_norm), *w.own_qkv).view(*shape[:2], 3, heads, -1)
        q, kv = qkv[:, :, 0].transpose(1, 2), qkv[:, :, 1:].permute(2, 0, 3, 1, 4)
        past = kv if past is None else torch.cat([past, kv], 3)
        earlier = None
        if shape[1] > 1:
            before = past.shape[3] - shape[1]
            earlier = torch.ones(shape[1], past.shape[3], dtype=torch.bool, device=x.device).tril(before)
        y = F.scaled_dot_product_attention(q, past[0], past[1], attn_mask=earlier)
        x = x + F.linear(y.transpose(1, 2).reshape(shape), *w.own_out)
        q = F.linear(F.layer_norm(x, width, *w.text_norm), *w.text_q).view(size).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, *text, attn_mask=mask)
        x = x + F.linear(y.transpose(1, 2).reshape(shape), *w.text_out)
        q = F.linear(F.layer_norm(x, width, *w.image_norm), *w.image_q).view(size).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, *image)
        x = x + F.linear(y.transpose(1, 2).reshape(shape), *w.image_out)
        h = F.gelu(F.linear(F.layer_norm(x, width, *w.feed_norm), *w.feed_in), approximate="tanh")
        return x + F.linear(h, *w.feed_out), past


def _ahead(turn: Turn, guess: Sequence[int]) -> list[int]:
    """What comes next in a turn if it goes on as the guess, without its last token, which nothing follows."""
    go = guess.index(GO)
    say = guess.index(SAY) if SAY in guess else go
    if turn.went >= 0:
        at = go + len(turn.tokens) - turn.went
    elif turn.said >= 0:
        spoken = list(guess[say:go])
        same = spoken.index(turn.tokens[-1]) + 1 if turn.tokens[-1] in spoken else len(turn.tokens) - turn.said
        at = min(say + same, go)
    else:
        at = min(len(turn.tokens), say)
    return list(guess[at:-1])


def chance(seeds: Sequence[int], steps: int) -> npt.NDArray[np.float32]:
    """Uniform random numbers (B, steps, SIZE) for `Writer.write`, the same for the same seeds."""
    return np.stack([np.random.default_rng(seed).random((steps, SIZE), np.float32) for seed in seeds])

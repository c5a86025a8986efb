"""`Decoder`: writes the outputs of `small` token by token and keeps the keys and values of what it has read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from agent.small.draft import rest_of
from agent.small.model import Encoded, SmallModel
from agent.small.output_grammar import ALLOWED_IDS, FIELD, Output
from agent.small.token_ids import PLACE, SIZE

_FIRST_ACTION = FIELD + PLACE  # the greedy player never draws a place, and words only where it is asked to


@dataclass(frozen=True)
class _Layer:
    """The weights of a decoder layer, joined into fewer and larger products."""

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


class Decoder:
    """Writes outputs with a model's weights. Make a new one when the weights change: it holds copies of some."""

    def __init__(self, model: SmallModel) -> None:
        self.model = model
        head = model.head
        # the grammar has every row choose for itself, which a GPU is slow at
        weight, bias = head.weight.detach().cpu(), head.bias.detach().cpu()
        self._heads = [(weight[list(ids)], bias[list(ids)]) for ids in ALLOWED_IDS]

        def both(module: torch.nn.Module) -> tuple[Tensor, Tensor]:
            return module.weight.detach(), module.bias.detach()  # type: ignore[operator]

        self.layers = []
        for layer in model.layers:
            own, text, image, net = layer.own, layer.text, layer.image, layer.feed.net  # type: ignore[union-attr]
            qkv = tuple(torch.cat(pair) for pair in zip(both(own.q), both(own.kv), strict=True))  # type: ignore[arg-type,union-attr]
            self.layers.append(
                _Layer(
                    both(own.norm), qkv, both(own.out), both(text.norm), both(text.q), both(text.out),  # type: ignore[arg-type,union-attr]
                    both(image.norm), both(image.q), both(image.out), both(net[0]), both(net[1]), both(net[3]),  # type: ignore[arg-type,union-attr,index]
                )
            )  # fmt: skip

    @torch.inference_mode()
    def write(
        self,
        encoded: Encoded,
        outputs: Sequence[Output],
        temperature: Sequence[float] | None = None,
        noise: npt.NDArray[np.float32] | None = None,
        words: bool = False,
        guidance: float = 0.0,
        draft: Sequence[int] = (),
    ) -> list[list[float]]:
        """Write every output to its end, one for each row of `encoded`, with one prompt a row.

        Returns the log-probability of each token among those that the grammar allows, at temperature 1.

        `temperature`: of each row. 0 takes the likeliest token; above it the token is drawn with `noise` (B, steps,
        SIZE), uniform random numbers. The place is never drawn, and words only where `words` is set. `guidance`: how
        far the actions are moved away from what they would be without the instruction, l + guidance (l - l0) on
        log-probabilities (SIMA 1); `encoded` then has as many rows again, with prompts that lack the instruction.
        `draft`: what a single output is likely to be. The decoder checks it in one pass and writes anew only what is
        wrong (speculative decoding); the output is the same, sooner.
        """
        decoding = Decoding(self, encoded)
        copies = len(encoded.text) // len(outputs)
        chosen = [output.role for output in outputs]
        scores: list[list[float]] = [[] for _ in outputs]
        step = 0
        while True:
            ahead = rest_of(draft, outputs[0]) if draft and len(outputs) == 1 else []
            tokens = torch.tensor([[token, *ahead] for token in chosen * copies], device=encoded.text.device)
            hidden = decoding.step(tokens).cpu()
            for at in range(tokens.shape[1]):
                for row, output in enumerate(outputs):
                    if output.done:
                        continue
                    choice = output.choice
                    heat = temperature[row] if temperature is not None and (words or choice >= _FIRST_ACTION) else 0.0
                    numbers = noise[row, step] if heat and noise is not None else None
                    blind = hidden[row + len(outputs), at] if guidance and choice >= _FIRST_ACTION else None
                    chosen[row], score = self._choose(hidden[row, at], output, heat, numbers, blind, guidance)
                    output.add(chosen[row])
                    scores[row].append(score)
                step += 1
                if at < len(ahead) and chosen[0] != ahead[at]:
                    decoding.rewind(step)
                    break
            if all(output.done for output in outputs):
                return scores

    def _choose(
        self,
        hidden: Tensor,
        output: Output,
        heat: float,
        noise: npt.NDArray[np.float32] | None,
        blind: Tensor | None,
        guidance: float,
    ) -> tuple[int, float]:
        """A token among those that may come next in an output, and its log-probability."""
        choice = output.choice
        ids, (weight, bias) = ALLOWED_IDS[choice], self._heads[choice]
        if len(ids) == 1:
            return ids[0], 0.0
        logp = torch.log_softmax(F.linear(hidden, weight, bias), -1)
        if blind is not None:
            logp = torch.log_softmax(logp + guidance * (logp - F.linear(blind, weight, bias).log_softmax(-1)), -1)
        drawn = logp
        if excluded := output.excluded(ids, logp):
            drawn = logp.clone()
            drawn[excluded] = -torch.inf
        if noise is not None:
            drawn = drawn + heat * torch.from_numpy(-np.log(-np.log(noise[: len(ids)].clip(1e-9, 1 - 1e-6)))).to(logp)
        index = int(drawn.argmax())
        return ids[index], float(logp[index])


class Decoding:
    """A batch of outputs that a decoder is writing, with the keys and values of all that was read and written.

    `length`: how many tokens each row has.
    """

    def __init__(self, decoder: Decoder, encoded: Encoded) -> None:
        self._model, self._layers = decoder.model, decoder.layers
        self.length = 0
        image = self._model.image_norm(encoded.image)
        self._read = [
            (layer.text.keys_values(encoded.text), layer.image.keys_values(image))  # type: ignore[union-attr,operator]
            for layer in self._model.layers
        ]
        self._mask = None if len(encoded.text) == 1 else (encoded.pack == 0)[:, None, None, :]
        self._past: list[Tensor | None] = [None] * len(self._layers)

    def step(self, tokens: Tensor) -> Tensor:
        """Hidden states (B, L, width) for the next tokens (B, L) of every row."""
        count = tokens.shape[1]
        x = self._model.token(tokens, torch.arange(self.length, self.length + count, device=tokens.device))
        for number, (weights, (text, image)) in enumerate(zip(self._layers, self._read, strict=True)):
            x, self._past[number] = self._layer(weights, x, self._past[number], text, image)
        self.length += count
        result: Tensor = self._model.norm(x)
        return result

    def rewind(self, length: int) -> None:
        """Forget the tokens from number `length` on."""
        self._past = [past if past is None else past[:, :, :, :length] for past in self._past]
        self.length = length

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the rows alone, in the given order."""
        kept = list(rows)
        self._read = [((a[kept], b[kept]), (c[kept], d[kept])) for (a, b), (c, d) in self._read]
        self._past = [past if past is None else past[:, kept] for past in self._past]
        self._mask = None if self._mask is None else self._mask[kept]

    def _layer(
        self, w: _Layer, x: Tensor, past: Tensor | None, text: tuple[Tensor, Tensor], image: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """One layer for the newest tokens x (B, L, width); `past` (2, B, heads, before, size) grows by them."""
        shape, heads, width = x.shape, self._model.config.heads, (self._model.config.width,)
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
        y = F.scaled_dot_product_attention(q, *text, attn_mask=self._mask)
        x = x + F.linear(y.transpose(1, 2).reshape(shape), *w.text_out)
        q = F.linear(F.layer_norm(x, width, *w.image_norm), *w.image_q).view(size).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, *image)
        x = x + F.linear(y.transpose(1, 2).reshape(shape), *w.image_out)
        h = F.gelu(F.linear(F.layer_norm(x, width, *w.feed_norm), *w.feed_in), approximate="tanh")
        return x + F.linear(h, *w.feed_out), past


def uniform_noise(seeds: Sequence[int], steps: int) -> npt.NDArray[np.float32]:
    """Uniform random numbers (B, steps, SIZE) for `Decoder.write`; a row depends on its seed alone."""
    return np.stack([np.random.default_rng(seed).random((steps, SIZE), np.float32) for seed in seeds])

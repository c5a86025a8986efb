"""`SmallModel`: a vision-language-action model of a few million parameters, made to be trained on a laptop.

A frame becomes 80 tokens, an instruction one token a word. A causal decoder looks at both and writes a decision as
six tokens: where the wanted thing is in the picture (column, foot row), then the codec's four (turn, look, move,
hand). The place comes first for the same reason that people look before they act: what follows can build on it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agent import codec
from agent.small import words

COLUMNS, ROWS = 80, 24  # bins of 2 and 5 pixels; one more of each says "not in view"
FIELDS = (COLUMNS + 1, ROWS + 1, *codec.SIZES)
PLACE = 2  # how many of the fields tell the place
GRID = (8, 10)  # tokens of a frame, rows and columns


@dataclass(frozen=True)
class SmallConfig:
    """Sizes. `width`: of a token. `layers`: of the decoder. `text_layers`: of the text encoder. `kinds`, `colours`:
    classes of the segmentation head, with "none"."""

    width: int = 128
    heads: int = 4
    layers: int = 4
    text_layers: int = 2
    channels: tuple[int, int] = (48, 96)
    kinds: int = 23
    colours: int = 5

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "channels": list(self.channels)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SmallConfig:
        return cls(**{**data, "channels": tuple(data["channels"])})


class _Attention(nn.Module):
    """Multi-head attention of `x` to `memory`, before which `x` is normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def memory(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, S, width / heads) of a source (B, S, width)."""
        k, v = self.kv(source).chunk(2, -1)
        return self._split(k), self._split(v)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)

    def forward(
        self, x: Tensor, memory: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        h = self.norm(x)
        k, v = memory if memory is not None else self.memory(h)
        y = F.scaled_dot_product_attention(self._split(self.q(h)), k, v, attn_mask=mask, is_causal=causal)
        return x + self.out(y.transpose(-3, -2).flatten(-2))


class _Feed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class _TextLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own = _Attention(width, heads)
        self.feed = _Feed(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.feed(self.own(x, mask=mask))


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own = _Attention(width, heads)
        self.text = _Attention(width, heads)
        self.image = _Attention(width, heads)
        self.feed = _Feed(width)


class _Vision(nn.Module):
    """Frames (N, 3, 120, 160) to tokens (N, 80, width)."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        a, b = config.channels
        width = config.width
        self.stem = nn.Conv2d(3, a, 8, 4, padding=2)
        self.down = nn.Conv2d(a, b, 3, 2, padding=1)
        self.tokens = nn.Conv2d(b, width, 3, 2, padding=1)
        self.norms = nn.ModuleList([nn.GroupNorm(8, a), nn.GroupNorm(8, b), nn.GroupNorm(8, width)])
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.place = nn.Parameter(torch.randn(GRID[0] * GRID[1], width) * 0.02)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.float().div(127.5).sub(1.0).contiguous(memory_format=torch.channels_last)
        x = F.gelu(self.norms[0](self.stem(x)), approximate="tanh")
        x = F.gelu(self.norms[1](self.down(x)), approximate="tanh")
        x = self.tokens(x)
        x = x + self.mix(F.gelu(self.norms[2](x), approximate="tanh"))
        return x.flatten(2).transpose(1, 2) + self.place


class SmallModel(nn.Module):
    """Pixels and words in, place and action tokens out. See the module's text."""

    def __init__(self, config: SmallConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SmallConfig()
        width = config.width
        self.vision = _Vision(config)
        self.ngrams = nn.EmbeddingBag(words.BUCKETS, width, mode="sum", padding_idx=0)
        self.word_place = nn.Parameter(torch.randn(words.WORDS, width) * 0.02)
        self.text_layers = nn.ModuleList([_TextLayer(width, config.heads) for _ in range(config.text_layers)])
        self.text_norm = nn.LayerNorm(width)
        self.image_norm = nn.LayerNorm(width)
        # the token written last is what the next position reads; the first position reads a start token
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.written = nn.ModuleList([nn.Embedding(n, width) for n in FIELDS[:-1]])
        self.field_place = nn.Parameter(torch.randn(len(FIELDS), width) * 0.02)
        self.layers = nn.ModuleList([_Layer(width, config.heads) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList([nn.Linear(width, n) for n in FIELDS])
        self.segment = nn.Linear(width, 16 * (config.kinds + config.colours))
        nn.init.normal_(self.ngrams.weight, std=0.05)
        for module in self.written:
            nn.init.normal_(module.weight, std=0.05)  # type: ignore[arg-type]

    def see(self, frames: Tensor) -> Tensor:
        """Image tokens (N, 80, width) of uint8 frames (N, 3, 120, 160)."""
        return self.vision(frames)

    def segmentation(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Kind and colour logits (N, classes, 30, 40) from image tokens: a cell is 4 x 4 pixels."""
        x = self.segment(image).unflatten(1, GRID).permute(0, 3, 1, 2)
        x = F.pixel_shuffle(x, 4)[:, :, :30]
        return x[:, : self.config.kinds], x[:, self.config.kinds :]

    def read(self, table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Text tokens (B, W, width) and their mask (B, 1, 1, W) from `words.encode`'s arrays, cut to W words."""
        x = self.ngrams(table)[ids] + self.word_place[: ids.shape[1]]
        mask = ids > 0
        mask[:, 0] = True  # an empty instruction is one empty word
        mask = mask[:, None, None, :]
        for layer in self.text_layers:
            x = layer(x, mask)
        return self.text_norm(x), mask

    def write(self, image: Tensor, text: Tensor, mask: Tensor, tokens: Tensor) -> list[Tensor]:
        """Logits for every field, given the true tokens before it.

        image (N, 80, width); text (N * Q, WORDS, width) with its mask, Q instructions a frame; tokens (N * Q, 6).
        Returns a list of (N * Q, size) for the fields in order.
        """
        n, queries = image.shape[0], text.shape[0] // image.shape[0]
        before = [self.written[i](tokens[:, i]) for i in range(len(FIELDS) - 1)]
        x = torch.stack([self.start.expand(tokens.shape[0], -1), *before], 1) + self.field_place
        length = x.shape[1]
        image = self.image_norm(image)
        for layer in self.layers:
            x = layer.own(x, causal=True)  # type: ignore[operator]
            x = layer.text(x, layer.text.memory(text), mask)  # type: ignore[operator,union-attr]
            # all instructions of a frame look at the same image: one long row of queries instead of copied images
            x = layer.image(x.reshape(n, queries * length, -1), layer.image.memory(image))  # type: ignore[operator,union-attr]
            x = layer.feed(x.reshape(n * queries, length, -1))  # type: ignore[operator]
        x = self.norm(x)
        return [head(x[:, i]) for i, head in enumerate(self.heads)]

    @torch.inference_mode()
    def decide(
        self,
        image: Tensor,
        text: Tensor,
        mask: Tensor,
        temperature: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Tokens (B, 6), one after the other, each seeing those before it; keys and values are kept.

        One instruction a frame. `temperature` (B,): 0 takes the likeliest token. `noise` (B, 6, most): uniform random
        numbers, needed with a temperature. The place is always the likeliest.
        """
        image = self.image_norm(image)
        memories = [(layer.text.memory(text), layer.image.memory(image)) for layer in self.layers]  # type: ignore[union-attr,operator]
        past: list[list[Tensor]] = [[] for _ in self.layers]
        chosen: list[Tensor] = []
        x = self.start.expand(image.shape[0], -1)
        for i, head in enumerate(self.heads):
            h = (x + self.field_place[i])[:, None]
            for layer, (text_memory, image_memory), seen in zip(self.layers, memories, past, strict=True):
                own: _Attention = layer.own  # type: ignore[assignment]
                seen.append(own.norm(h))
                h = own(h, own.memory(torch.cat(seen, 1)))
                h = layer.feed(layer.image(layer.text(h, text_memory, mask), image_memory))  # type: ignore[operator]
            logits = head(self.norm(h[:, 0]))
            if temperature is not None and noise is not None and i >= PLACE:
                gumbel = -torch.log(-torch.log(noise[:, i, : logits.shape[1]].clamp(1e-9, 1 - 1e-6)))
                logits = logits + temperature[:, None] * gumbel
            token = logits.argmax(-1)
            chosen.append(token)
            if i < len(FIELDS) - 1:
                x = self.written[i](token)
        return torch.stack(chosen, 1)

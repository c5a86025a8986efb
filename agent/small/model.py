"""`SmallModel`: a vision-language model of a few million parameters that acts, thinks, talks, proposes and judges.

A frame becomes 80 tokens, text one token a word. A causal decoder looks at both and writes tokens of
agent.small.layout: a decision, an answer, a caption, a proposal or a judgement. What was done and seen before enters
as one token for each of the last decisions; what was thought, as words.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agent.small import words
from agent.small.layout import FIELDS, FIRST_WORD, MARKS, SIZE

GRID = (8, 10)  # tokens of a frame, rows and columns
PICTURE = (2, 2)  # tokens of a picture in an instruction
HISTORY = 16  # decisions that are remembered, one token each
WRITTEN = 32  # the most words of an output
CLIP = 8  # frames that the judge sees


@dataclass(frozen=True)
class SmallConfig:
    """Sizes. `width`: of a token. `layers`: of the decoder. `text_layers`: of the text encoder. `channels`, `blocks`:
    of the image encoder. `kinds`, `colours`: classes of the segmentation head, with "none"."""

    width: int = 128
    heads: int = 4
    layers: int = 4
    text_layers: int = 2
    channels: tuple[int, int] = (48, 96)
    blocks: int = 1
    kinds: int = 60
    colours: int = 7

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

    def forward(self, x: Tensor, memory: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None) -> Tensor:
        h = self.norm(x)
        k, v = memory if memory is not None else self.memory(h)
        y = F.scaled_dot_product_attention(self._split(self.q(h)), k, v, attn_mask=mask)
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


class _Block(nn.Module):
    """A residual block of two convolutions, which changes nothing at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)])
        self.norm = nn.GroupNorm(8, channels)
        for parameter in self.convs[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs[1](F.gelu(self.norm(self.convs[0](x)), approximate="tanh"))


class _Vision(nn.Module):
    """Frames (N, 3, 120, 160) to tokens (N, 80, width)."""

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        a, b = config.channels
        width = config.width
        self.stem = nn.Conv2d(3, a, 8, 4, padding=2)
        self.down = nn.Conv2d(a, b, 3, 2, padding=1)
        self.blocks = nn.Sequential(*[_Block(b) for _ in range(config.blocks)])
        self.tokens = nn.Conv2d(b, width, 3, 2, padding=1)
        self.norms = nn.ModuleList([nn.GroupNorm(8, a), nn.GroupNorm(8, b), nn.GroupNorm(8, width)])
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.place = nn.Parameter(torch.randn(GRID[0] * GRID[1], width) * 0.02)

    def forward(self, frames: Tensor) -> Tensor:
        x = frames.float().div(127.5).sub(1.0).contiguous(memory_format=torch.channels_last)
        x = F.gelu(self.norms[0](self.stem(x)), approximate="tanh")
        x = F.gelu(self.norms[1](self.down(x)), approximate="tanh")
        x = self.tokens(self.blocks(x))
        x = x + self.mix(F.gelu(self.norms[2](x), approximate="tanh"))
        return x.flatten(2).transpose(1, 2) + self.place


@dataclass
class Prompt:
    """What is read beside the frames, for B rows; several prompts may be packed into one row.

    `table` (U, NGRAMS): n-gram buckets of the words in use, row 0 empty. `ids` (B, T): a row of `table` for each
    word, 0 for none. `places` (B, T): the place of a word in its part of the prompt. `pack` (B, T + H): which of the
    row's prompts a word, or a remembered decision, belongs to; negative for none. `past` (B, H, 6): remembered
    decisions, field by field. `ages` (B, H): 0 for the last one. `pictures` (P, 3, 120, 160) and `holders` (P, 2):
    pictures, and the row and prompt that they belong to.
    """

    table: Tensor
    ids: Tensor
    places: Tensor
    pack: Tensor
    past: Tensor
    ages: Tensor
    pictures: Tensor | None = None
    holders: Tensor | None = None

    def to(self, device: torch.device) -> Prompt:
        moved: dict[str, Any] = {k: v if v is None else v.to(device) for k, v in vars(self).items()}
        return Prompt(**moved)


@dataclass
class Memory:
    """What the decoder looks at: `image` (N, I, width), `text` (B, S, width), `pack` (B, S) as in Prompt."""

    image: Tensor
    text: Tensor
    pack: Tensor


class SmallModel(nn.Module):
    """Pixels and words in, tokens of agent.small.layout out. See the module's text."""

    def __init__(self, config: SmallConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SmallConfig()
        width = config.width
        self.vision = _Vision(config)
        self.ngrams = nn.EmbeddingBag(words.BUCKETS, width, mode="sum", padding_idx=0)
        self.word_place = nn.Parameter(torch.randn(words.PLACES, width) * 0.02)
        self.text_layers = nn.ModuleList([_TextLayer(width, config.heads) for _ in range(config.text_layers)])
        self.text_norm = nn.LayerNorm(width)
        self.past = nn.ModuleList([nn.Embedding(n, width) for n in FIELDS])
        self.age = nn.Parameter(torch.randn(HISTORY, width) * 0.02)
        self.past_norm = nn.LayerNorm(width)
        self.picture_mark = nn.Parameter(torch.randn(PICTURE[0] * PICTURE[1], width) * 0.02)
        self.image_norm = nn.LayerNorm(width)
        self.when = nn.Parameter(torch.randn(CLIP, width) * 0.02)
        self.embed = nn.Embedding(SIZE, width)
        self.order = nn.Parameter(torch.randn(WRITTEN, width) * 0.02)
        self.layers = nn.ModuleList([_Layer(width, config.heads) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, SIZE)
        self.segment = nn.Linear(width, 16 * (config.kinds + config.colours))
        for table in (self.ngrams, self.embed, *self.past):
            nn.init.normal_(table.weight, std=0.05)

    def see(self, frames: Tensor) -> Tensor:
        """Image tokens (N, 80, width) of uint8 frames (N, 3, 120, 160)."""
        return self.vision(frames)

    def segmentation(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Kind and colour logits (N, classes, 30, 40) from image tokens: a cell is 4 x 4 pixels."""
        x = self.segment(image).unflatten(1, GRID).permute(0, 3, 1, 2)
        x = F.pixel_shuffle(x, 4)[:, :, :30]
        return x[:, : self.config.kinds], x[:, self.config.kinds :]

    def clip(self, image: Tensor) -> Tensor:
        """Image tokens of CLIP frames in a row, (N * CLIP, 80, width), as those of one long picture, (N, CLIP * 80,
        width)."""
        return (image.unflatten(0, (-1, CLIP)) + self.when[:, None]).flatten(1, 2)

    def read(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """The text (B, S, width) of a prompt and which of the row's prompts each of its tokens belongs to (B, S)."""
        x = self.ngrams(prompt.table)[prompt.ids] + self.word_place[prompt.places]
        of = prompt.pack[:, : x.shape[1]]
        mask = (of[:, :, None] == of[:, None, :])[:, None]
        for layer in self.text_layers:
            x = layer(x, mask)
        parts = [self.text_norm(x)]
        if prompt.past.shape[1]:
            past = torch.stack([table(prompt.past[..., i]) for i, table in enumerate(self.past)]).sum(0)
            parts.append(self.past_norm(past + self.age[prompt.ages]))
        packs = [prompt.pack]
        if prompt.pictures is not None and prompt.holders is not None:
            seen = self.see(prompt.pictures).transpose(1, 2).unflatten(2, GRID)
            seen = F.adaptive_avg_pool2d(seen, PICTURE).flatten(2).transpose(1, 2) + self.picture_mark
            # one picture a row at most: rows without one get tokens that belong to no prompt
            shown = x.new_zeros(x.shape[0], *seen.shape[1:])
            owner = prompt.pack.new_full((x.shape[0], seen.shape[1]), -2)
            shown[prompt.holders[:, 0]] = self.text_norm(seen)
            owner[prompt.holders[:, 0]] = prompt.holders[:, 1:].expand(-1, seen.shape[1])
            parts.append(shown)
            packs.append(owner)
        return torch.cat(parts, 1), torch.cat(packs, 1)

    def token(self, tokens: Tensor, order: Tensor) -> Tensor:
        """Embeddings of written tokens; marks and words also tell how many were written before, `order`. What field
        comes after which is told by the tokens alone."""
        free = (tokens < len(MARKS)) | (tokens >= FIRST_WORD)
        place = self.order[order.clamp(max=WRITTEN - 1)]
        return self.embed(tokens) + place * free.unsqueeze(-1)

    def write(self, memory: Memory, tokens: Tensor, order: Tensor, pack: Tensor) -> Tensor:
        """Hidden states (B, L, width) for written tokens (B, L), several texts packed into a row: `pack` tells which
        of the row's prompts each belongs to, `order` its place in its text. `logits` makes tokens of them."""
        x = self.token(tokens, order)
        length = tokens.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        own = ((pack[:, :, None] == pack[:, None, :]) & earlier)[:, None]
        text = (pack[:, :, None] == memory.pack[:, None, :])[:, None]
        image = self.image_norm(memory.image)
        for layer in self.layers:
            x = layer.own(x, mask=own)  # type: ignore[operator]
            x = layer.text(x, layer.text.memory(memory.text), text)  # type: ignore[operator,union-attr]
            x = layer.image(x, layer.image.memory(image))  # type: ignore[operator,union-attr]
            x = layer.feed(x)  # type: ignore[operator]
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits over all tokens."""
        return self.head(hidden)

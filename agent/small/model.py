"""`SmallModel`: a vision-language model of a few million parameters that acts, thinks, talks, proposes and judges.

A frame becomes 80 tokens, and a word one token. A causal decoder attends to both and writes tokens of
agent.small.token_ids: a decision, an answer, a caption, a proposal or a judgement. Each of the last decisions enters as
one token, and the last thought as words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from agent.small import word_hashing, word_meaning
from agent.small.judge_view import JUDGE_FRAMES
from agent.small.token_ids import FIELDS, FIRST_WORD, MARKS, SIZE

FRAME_SIZE = (120, 160)  # height and width in pixels
GRID = (8, 10)  # tokens of a frame, rows and columns
PICTURE = (2, 2)  # tokens of a picture in an instruction
HISTORY = 16  # the most past decisions in a prompt, one token each
WRITTEN = 32  # tokens of an output that are told apart by their place
WORDS = 32  # whose meanings are read at once


@dataclass(frozen=True)
class SmallConfig:
    """Sizes of a model.

    `width`: of a token. `heads`: of every attention. `layers`: of the decoder. `text_layers`: of the text encoder.
    `channels`, `blocks`: of the image encoder. `kinds`, `colours`: classes of the segmentation head, with "none".
    `meanings`: of what a word means (agent.small.word_meaning); 0 for a model that reads words by their spelling alone.
    """

    width: int = 128
    heads: int = 4
    layers: int = 4
    text_layers: int = 2
    channels: tuple[int, int] = (48, 96)
    blocks: int = 1
    kinds: int = 62
    colours: int = 7
    meanings: int = word_meaning.SIZE

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "channels": list(self.channels)}

    @classmethod
    def from_json(cls, data: Any) -> SmallConfig:
        """The config that `to_json` wrote. Raises ValueError for what no model can have: sizes are checked before
        anything is allocated."""
        if not isinstance(data, dict):
            raise ValueError(f"config: expected an object with sizes, got {type(data).__name__}")
        known = asdict(cls())
        if unknown := sorted(map(repr, data.keys() - known.keys())):
            raise ValueError(f"config: unknown sizes {', '.join(unknown)}")
        sizes = {**known, "meanings": 0, **data}  # a model that does not tell is older than the table of meanings
        a, b = sizes.pop("channels") if _is_pair(sizes["channels"]) else (None, None)
        for name, value in (*sizes.items(), ("channels", a), ("channels", b)):
            low, high, step = _BOUNDS[name]
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high or value % step:
                of = f" in steps of {step}" if step > 1 else ""
                raise ValueError(f"config: {name} must be {low} to {high}{of}, got {data.get(name)!r:.40}")
        if sizes["width"] % sizes["heads"]:
            raise ValueError(f"config: a width of {sizes['width']} can't be split over {sizes['heads']} heads")
        return cls(**sizes, channels=tuple(data.get("channels", known["channels"])))


# Of each size: the least, the most, and what it must be a multiple of. The groups of GroupNorm ask for the eights.
_BOUNDS = {
    "width": (8, 4096, 8),
    "heads": (1, 128, 1),
    "layers": (1, 128, 1),
    "text_layers": (0, 128, 1),
    "channels": (8, 4096, 8),
    "blocks": (0, 64, 1),
    "kinds": (1, 4096, 1),
    "colours": (1, 256, 1),
    "meanings": (0, word_meaning.SIZE, word_meaning.SIZE),
}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention."""
    if q.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    # torch's own goes backwards slowly in bfloat16 on a CPU, in which only training computes
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores += torch.zeros_like(mask, dtype=scores.dtype).masked_fill_(~mask, -1e4)
    result: Tensor = scores.softmax(-1).to(v.dtype) @ v
    return result


@dataclass(frozen=True)
class _Spots:
    """Where M tokens lie in `rows` rows of `length`: `at` (M,), counted over all rows. Rows of different lengths are
    mostly empty, and all but attention can do without what is empty."""

    at: Tensor
    rows: int
    length: int

    def spread(self, x: Tensor) -> Tensor:
        """Tokens (M, C) in their rows (rows, length, C); the rest is 0."""
        empty = x.new_zeros(self.rows * self.length, x.shape[-1])
        result: Tensor = empty.index_copy(0, self.at, x).unflatten(0, (self.rows, self.length))
        return result

    def listed(self, x: Tensor) -> Tensor:
        """The tokens of rows as a list again."""
        result: Tensor = x.flatten(0, 1).index_select(0, self.at)
        return result


class _Attention(nn.Module):
    """Multi-head attention of `x`, which is normalised first, to itself or to a source."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, source: Tensor, spread: Callable[[Tensor], Tensor] = lambda x: x) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, S, width / heads) of a source (B, S, width). `spread`: gives a list its rows."""
        k, v = spread(self.kv(source)).chunk(2, -1)
        return self._split(k), self._split(v)

    def _split(self, x: Tensor) -> Tensor:
        result: Tensor = x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
        return result

    def forward(
        self,
        x: Tensor,
        source: tuple[Tensor, Tensor] | None = None,
        mask: Tensor | None = None,
        spots: _Spots | None = None,
    ) -> Tensor:
        """`source`: keys and values; those of `x` where there are none. `spots`: where tokens lie in rows if `x` has
        them in a list."""
        h = self.norm(x)
        spread = spots.spread if spots is not None else lambda x: x
        k, v = source if source is not None else self.keys_values(h, spread)
        y = _attend(self._split(spread(self.q(h))), k, v, mask)
        y = y.transpose(-3, -2).flatten(-2)
        result: Tensor = x + self.out(spots.listed(y) if spots is not None else y)
        return result


class _Feed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.net(x)
        return result


class _TextLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own = _Attention(width, heads)
        self.feed = _Feed(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        result: Tensor = self.feed(self.own(x, mask=mask))
        return result


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.own = _Attention(width, heads)
        self.text = _Attention(width, heads)
        self.image = _Attention(width, heads)
        self.feed = _Feed(width)


class _Block(nn.Module):
    """A residual block of two convolutions; a fresh one is the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2)])
        self.norm = nn.GroupNorm(8, channels)
        for parameter in self.convs[1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.convs[1](F.gelu(self.norm(self.convs[0](x)), approximate="tanh"))
        return result


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
        result: Tensor = x.flatten(2).transpose(1, 2) + self.place
        return result


@dataclass
class PromptBatch:
    """What the model reads beside the frames, for B rows. A row may hold several prompts.

    `table` (U, NGRAMS): n-gram buckets of the words in use; row 0 is empty. `meanings` (U, word_meaning.SIZE): what the
    words mean. `ids` (B, T): a row of `table` for each word, 0 for none. `places` (B, T): the place of a word in its
    part of the prompt. `pack` (B, T + H): which of the row's prompts a word or a past decision belongs to; negative for
    none. `past` (B, H, 6): past decisions, field by field. `ages` (B, H): 0 for the last one. `pictures` uint8
    (P, 3, 120, 160) and `holders` (P, 2): pictures, and the row and prompt that each belongs to.
    """

    table: Tensor
    meanings: Tensor
    ids: Tensor
    places: Tensor
    pack: Tensor
    past: Tensor
    ages: Tensor
    pictures: Tensor | None = None
    holders: Tensor | None = None

    def to(self, device: torch.device) -> PromptBatch:
        moved: dict[str, Any] = {k: v if v is None else v.to(device) for k, v in vars(self).items()}
        return PromptBatch(**moved)


@dataclass
class Encoded:
    """What the encoders make and the decoder attends to: `image` (B, I, width), `text` (B, S, width), and `pack`
    (B, S) as in PromptBatch."""

    image: Tensor
    text: Tensor
    pack: Tensor


class SmallModel(nn.Module):
    """Pixels and words in, tokens of agent.small.token_ids out."""

    def __init__(self, config: SmallConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or SmallConfig()
        width = config.width
        self.vision = _Vision(config)
        self.ngrams = nn.EmbeddingBag(word_hashing.BUCKETS, width, mode="sum", padding_idx=0)
        self.word_place = nn.Parameter(torch.randn(word_hashing.PLACES, width) * 0.02)
        self.text_layers = nn.ModuleList([_TextLayer(width, config.heads) for _ in range(config.text_layers)])
        self.text_norm = nn.LayerNorm(width)
        self.past = nn.ModuleList([nn.Embedding(n, width) for n in FIELDS])
        self.age = nn.Parameter(torch.randn(HISTORY, width) * 0.02)
        self.past_norm = nn.LayerNorm(width)
        self.picture_mark = nn.Parameter(torch.randn(PICTURE[0] * PICTURE[1], width) * 0.02)
        self.image_norm = nn.LayerNorm(width)
        self.when = nn.Parameter(torch.randn(JUDGE_FRAMES, width) * 0.02)
        self.embed = nn.Embedding(SIZE, width)
        self.order = nn.Parameter(torch.randn(WRITTEN, width) * 0.02)
        self.layers = nn.ModuleList([_Layer(width, config.heads) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, SIZE)
        self.segment = nn.Linear(width, 16 * (config.kinds + config.colours))
        for table in (self.ngrams, self.embed, *self.past):
            nn.init.normal_(table.weight, std=0.05)
        self.meaning = nn.Linear(config.meanings, width, bias=False) if config.meanings else None
        if self.meaning is not None:
            nn.init.zeros_(self.meaning.weight)

    def encode(self, frames: Tensor, prompt: PromptBatch) -> Encoded:
        """What the decoder attends to, from uint8 frames (B, 3, 120, 160) and as many rows of prompts."""
        return Encoded(self.see(frames), *self.read(prompt))

    def see(self, frames: Tensor) -> Tensor:
        """Image tokens (N, 80, width) of uint8 frames (N, 3, 120, 160)."""
        result: Tensor = self.vision(frames)
        return result

    def segmentation(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Kind and colour logits (N, classes, 30, 40) from image tokens: a cell is 4 x 4 pixels."""
        x = self.segment(image).unflatten(1, GRID).permute(0, 3, 1, 2)
        x = F.pixel_shuffle(x, 4)[:, :, :30]
        return x[:, : self.config.kinds], x[:, self.config.kinds :]

    def cell_logits(self, image: Tensor) -> Tensor:
        """The same logits as they are learned: (N * 80, kinds + colours, 16), the 4 x 4 cells of an image token in one
        row, and with them the two rows of cells below the frame."""
        result: Tensor = self.segment(image).unflatten(-1, (-1, 16)).flatten(0, 1)
        return result

    def clip(self, image: Tensor) -> Tensor:
        """Image tokens of N episodes as the judge sees them, (N, JUDGE_FRAMES * 80, width), from those of their frames,
        (N * JUDGE_FRAMES, 80, width)."""
        result: Tensor = (image.unflatten(0, (-1, JUDGE_FRAMES)) + self.when[:, None]).flatten(1, 2)
        return result

    def _meanings(self, table: Tensor) -> Tensor:
        """What the words of a table (U, SIZE) mean to the model, (U, width). Sums are rounded as the shapes of tensors
        ask for, so blocks of one size keep a word the same however many others are in use."""
        assert self.meaning is not None
        if torch.is_grad_enabled():
            return self.meaning(table)  # type: ignore[no-any-return]
        blocks = F.pad(table, (0, 0, 0, -len(table) % WORDS)).split(WORDS)
        return torch.cat([self.meaning(block) for block in blocks])[: len(table)]

    def read(self, prompt: PromptBatch) -> tuple[Tensor, Tensor]:
        """The tokens of a batch of prompts (B, S, width), and which of its row's prompts each belongs to (B, S)."""
        words = self.ngrams(prompt.table)
        if self.meaning is not None:
            words = words + self._meanings(prompt.meanings)
        x = words[prompt.ids] + self.word_place[prompt.places]
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
            # a row has one picture at most; rows without one get tokens that belong to no prompt
            shown = x.new_zeros(x.shape[0], *seen.shape[1:])
            owner = prompt.pack.new_full((x.shape[0], seen.shape[1]), -2)
            shown[prompt.holders[:, 0]] = self.text_norm(seen)
            owner[prompt.holders[:, 0]] = prompt.holders[:, 1:].expand(-1, seen.shape[1])
            parts.append(shown)
            packs.append(owner)
        return torch.cat(parts, 1), torch.cat(packs, 1)

    def token(self, tokens: Tensor, order: Tensor) -> Tensor:
        """Embeddings (B, L, width) of written tokens (B, L). Marks and words also carry their place in the output,
        `order`; a field needs none, since its token tells which field it is."""
        free = (tokens < len(MARKS)) | (tokens >= FIRST_WORD)
        place = self.order[order.clamp(max=WRITTEN - 1)]
        result: Tensor = self.embed(tokens) + place * free.unsqueeze(-1)
        return result

    def write(self, encoded: Encoded, tokens: Tensor, order: Tensor, pack: Tensor, at: Tensor | None = None) -> Tensor:
        """Hidden states (B, L, width) for written tokens (B, L), all in one pass (teacher forcing).

        A row may hold several texts: `pack` (B, L) tells which of the row's prompts a token belongs to, `order` (B, L)
        its place in its text. `logits` makes predictions of the hidden states. `at` (M,): the tokens that count,
        counted over all rows; then the hidden states are those of these alone (M, width), and come sooner.
        """
        x = self.token(tokens, order)
        rows, length = tokens.shape
        spots = None if at is None else _Spots(at, rows, length)
        if spots is not None:
            x = spots.listed(x)
        earlier = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        own = ((pack[:, :, None] == pack[:, None, :]) & earlier)[:, None]
        text = (pack[:, :, None] == encoded.pack[:, None, :])[:, None]
        image = self.image_norm(encoded.image)
        for layer in self.layers:
            x = layer.own(x, mask=own, spots=spots)  # type: ignore[operator]
            x = layer.text(x, layer.text.keys_values(encoded.text), text, spots)  # type: ignore[operator,union-attr]
            x = layer.image(x, layer.image.keys_values(image), spots=spots)  # type: ignore[operator,union-attr]
            x = layer.feed(x)  # type: ignore[operator]
        result: Tensor = self.norm(x)
        return result

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits over all tokens."""
        result: Tensor = self.head(hidden)
        return result

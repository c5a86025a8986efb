"""`clip-small-1` to `clip-small-4`: CLIP models of four sizes, in open_clip's own classes and its own file format.

A model is a folder with open_clip_config.json, open_clip_model.safetensors and the files of a tokenizer, so that
`open_clip.create_model_and_transforms("local-dir:FOLDER")` loads it without this package.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from envs.files import write_whole

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
IMAGE_SIZE = 128  # pixels a side: 160x120 is squashed, so that nothing at the sides is lost
CONTEXT = 20  # tokens
VOCABULARY = 2048
MEAN = STD = (0.5, 0.5, 0.5)
_PAD, _UNKNOWN, _END = "<pad>", "<unk>", "<end>"


@dataclass(frozen=True)
class Size:
    """The size of a model: the image tower is a ResNet of CLIP, `blocks` in each stage and `width` channels at first;
    the text tower a transformer."""

    blocks: tuple[int, int, int, int]
    width: int
    embedding: int
    text_width: int
    text_layers: int


SIZES: dict[str, Size] = {
    "clip-small-1": Size((1, 1, 1, 1), 6, 64, 64, 1),
    "clip-small-2": Size((1, 1, 1, 1), 12, 96, 96, 2),
    "clip-small-3": Size((1, 1, 2, 1), 20, 128, 128, 2),
    "clip-small-4": Size((2, 2, 2, 2), 32, 192, 192, 3),
}


def config_of(size: str) -> dict[str, Any]:
    """The content of open_clip_config.json. Raises ValueError for an unknown size."""
    if size not in SIZES:
        raise ValueError(f"size {size!r}: expected one of {', '.join(SIZES)}")
    chosen = SIZES[size]
    heads = 32  # width of a head
    return {
        "model_cfg": {
            "embed_dim": chosen.embedding,
            "vision_cfg": {
                "image_size": IMAGE_SIZE, "layers": list(chosen.blocks), "width": chosen.width,
                "head_width": chosen.width * 32 // max(1, chosen.width * 32 // 64),
            },
            "text_cfg": {
                "context_length": CONTEXT, "vocab_size": VOCABULARY, "width": chosen.text_width,
                "heads": chosen.text_width // heads, "layers": chosen.text_layers, "pool_type": "eos", "eos_id": 2,
                "hf_tokenizer_name": "local", "tokenizer_kwargs": {"clean": "lower"},
            },
        },
        "preprocess_cfg": {
            "mean": list(MEAN), "std": list(STD), "interpolation": "bilinear", "resize_mode": "squash",
        },
    }  # fmt: skip


def begin(folder: Path, size: str, texts: Iterable[str], seed: int) -> None:
    """Write a model that has learned nothing: random weights, and a tokenizer made of `texts`."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder, texts)
    write_whole(folder / CONFIG, json.dumps(config_of(size), indent=2) + "\n")
    torch.manual_seed(seed)
    model_cfg = config_of(size)["model_cfg"]
    save_weights(folder, open_clip.CLIP(**model_cfg))


def save_weights(folder: Path, model: Any) -> None:
    """Write the weights of an open_clip model."""
    part = folder / f".{WEIGHTS}.part"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, part)
    part.replace(folder / WEIGHTS)


def write_tokenizer(folder: Path, texts: Iterable[str]) -> None:
    """Write a byte-pair tokenizer made of `texts`: every other word falls apart into bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=_UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[_PAD, _UNKNOWN, _END], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    end = tokenizer.token_to_id(_END)
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {_END}", special_tokens=[(_END, end)])
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": _PAD, "unk_token": _UNKNOWN, "eos_token": _END,
        "model_max_length": CONTEXT,
    }  # fmt: skip
    write_whole(folder / "tokenizer_config.json", json.dumps(about, indent=2) + "\n")

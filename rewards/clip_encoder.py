"""`ClipEncoder`: pictures and texts as unit vectors of one space, by any CLIP or SigLIP model.

| spec                   | model                                                                             |
| ---------------------- | --------------------------------------------------------------------------------- |
| a folder               | what open_clip or transformers saved there                                        |
| `ARCHITECTURE@WEIGHTS` | an open_clip architecture with a pretrained tag or a checkpoint file              |
| `hf:NAME`              | the same as a folder, or a CLIP or SigLIP under this name on the Hugging Face hub |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agent.hub_download import folder_of
from agent.vlm.foreign_code import refuse_foreign_code
from envs.errors import UserError

Frames = npt.NDArray[np.uint8]
OPEN_CLIP_CONFIG = "open_clip_config.json"


@dataclass(frozen=True)
class Preparation:
    """How a model wants its pictures: `size` (height, width) in pixels; `resize`: "squash", "shortest" (then the middle
    is cut out) or "longest" (then the rest is filled); `mean` and `std` of the channels in [0, 1]; `bicubic` or else
    bilinear interpolation; `fill`: the value around a picture."""

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: str = "shortest"
    bicubic: bool = True
    fill: int = 0

    def __call__(self, frames: Frames) -> Tensor:
        """float32 (B, 3, height, width) of uint8 RGB (B, H, W, 3)."""
        from torchvision.transforms.v2 import functional as F

        pictures = torch.from_numpy(np.array(frames)).permute(0, 3, 1, 2)
        mode = F.InterpolationMode.BICUBIC if self.bicubic else F.InterpolationMode.BILINEAR
        high, wide = self.size
        if self.resize == "squash":
            pictures = F.resize(pictures, [high, wide], mode, antialias=True)
        else:
            h, w = pictures.shape[-2:]
            pick = max if self.resize == "shortest" else min
            share = pick(high / h, wide / w)
            pictures = F.resize(pictures, [max(1, round(h * share)), max(1, round(w * share))], mode, antialias=True)
            pictures = F.center_crop(pictures, [high, wide])  # it fills where the picture is smaller
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        prepared: Tensor = (pictures.float().div_(255.0) - mean) / std
        return prepared


class ClipEncoder:
    """Encodes pictures and texts. The vectors of texts are kept: a goal and its negatives are encoded once.

    `images` and `texts` map a prepared batch of pictures, and texts, to vectors (B, D) of any length. `scale`: what the
    model multiplies cosines with, so that 1 / scale is its own temperature.
    """

    def __init__(
        self,
        name: str,
        images: Callable[[Tensor], Tensor],
        texts: Callable[[list[str]], Tensor],
        prepare: Preparation,
        scale: float,
    ) -> None:
        self.name, self.prepare, self.scale = name, prepare, scale
        self._images, self._texts = images, texts
        self._kept: dict[str, Tensor] = {}

    @torch.inference_mode()
    def images(self, frames: Frames) -> Tensor:
        """Unit vectors (B, D) of uint8 RGB (B, H, W, 3)."""
        return _unit(self._images(self.prepare(frames)))

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (B, D)."""
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        if new:
            self._kept |= dict(zip(new, _unit(self._texts(new)), strict=True))
        return torch.stack([self._kept[text] for text in texts])


def load_encoder(spec: str) -> ClipEncoder:
    """The encoder that `spec` names; see above. Raises UserError for what is no model."""
    try:
        if (folder := folder_of_spec(spec)) is not None:
            ours = (folder / OPEN_CLIP_CONFIG).is_file()
            return _open_clip(f"local-dir:{folder}", None) if ours else _transformers(folder, spec)
        architecture, at, weights = spec.partition("@")
        if not at or not weights:
            raise UserError(
                f"clip {spec!r}: there is no such folder; expected a folder, ARCHITECTURE@WEIGHTS such as "
                "ViT-B-32@laion2b_s34b_b79k, or hf:NAME"
            )
        return _open_clip(architecture, weights)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise UserError(f"clip {spec!r}: it can't be loaded: {' '.join(str(error).split())[:300]}") from error


def folder_of_spec(spec: str) -> Path | None:
    """The folder of a model, which `hf:NAME` may have to download; None for an architecture of open_clip. Raises
    UserError."""
    if spec.startswith("hf:"):
        return folder_of(spec.removeprefix("hf:"))
    folder = Path(spec).expanduser()
    return folder if folder.is_dir() else None


def _open_clip(name: str, weights: str | None) -> ClipEncoder:
    import open_clip

    logging.getLogger("root").setLevel(max(logging.WARNING, logging.getLogger().level))
    model = open_clip.create_model(name, pretrained=weights)
    tokenizer = open_clip.get_tokenizer(name)
    model.eval().requires_grad_(False)
    cfg: Mapping[str, Any] = model.visual.preprocess_cfg
    size = cfg["size"]
    return ClipEncoder(
        name.removeprefix("local-dir:"),
        model.encode_image,
        lambda texts: model.encode_text(tokenizer(texts)),
        Preparation(
            (size, size) if isinstance(size, int) else (int(size[0]), int(size[1])),
            tuple(cfg["mean"]), tuple(cfg["std"]), cfg.get("resize_mode") or "shortest",
            cfg.get("interpolation") != "bilinear", int(cfg.get("fill_color") or 0),
        ),
        float(model.logit_scale.exp()),
    )  # fmt: skip


def _transformers(folder: Path, name: str) -> ClipEncoder:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    refuse_foreign_code(folder)
    model = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise ValueError(f"{type(model).__name__} has no vectors of pictures and texts; take a CLIP or SigLIP")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    model.eval().requires_grad_(False)
    # SigLIP was trained on texts that are filled up to their full length.
    padding = "max_length" if "siglip" in model.config.model_type else True
    length = int(model.config.text_config.max_position_embeddings)

    def texts(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts, padding=padding, truncation=True, max_length=length, return_tensors="pt")
        return _vectors(model.get_text_features(**tokens))

    scale = getattr(model, "logit_scale", None)
    return ClipEncoder(
        name,
        lambda pictures: _vectors(model.get_image_features(pixel_values=pictures)),
        texts,
        _preparation(processor),
        100.0 if scale is None else float(scale.exp()),
    )


def _preparation(processor: Any) -> Preparation:
    """What an image processor of transformers does."""
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", None) else None
    size = crop or dict(processor.size)
    side = size.get("shortest_edge")
    high, wide = (side, side) if side else (size["height"], size["width"])
    return Preparation(
        (int(high), int(wide)), tuple(processor.image_mean), tuple(processor.image_std),
        "shortest" if crop else "squash", int(getattr(processor, "resample", 3)) == 3,
    )  # fmt: skip


def _vectors(found: Any) -> Tensor:
    """The vectors themselves: some versions of transformers wrap them."""
    vectors: Tensor = found if isinstance(found, Tensor) else found.pooler_output
    return vectors


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=-1)

"""`agent train clip`: a CLIP model of a world, from frames with captions of ground truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from envs.files import write_whole
from rewards.clip_encoder import Preparation
from tasks import world_tasks
from training.clip.batches import Batch, Batches
from training.clip.frames import CaptionedFrames, collect
from training.clip.models import CONFIG, IMAGE_SIZE, MEAN, SIZES, STD, begin, save_weights
from training.loop import Loop, Plan
from training.recipe import OnProgress, Section, ignore_progress, same_recipe

_SENTENCES = 8  # for the tokenizer, of every goal
_MOST_SCALE = 100.0  # as in CLIP, so that the temperature stays above 0.01


class ClipRecipe(Section):
    """How a CLIP model is made.

    `size`: one of training.clip.models.SIZES. `episodes`: of each suite, by name. `batch`: frames in a step. `workers`:
    who records. `seed`: of levels, weights and batches.
    """

    size: str = "clip-small-3"
    episodes: dict[str, int]
    steps: int = Field(4000, ge=1)
    batch: int = Field(128, ge=2)
    rate: float = Field(1e-3, gt=0.0)
    decay: float = Field(0.05, ge=0.0)
    workers: str | int = 2
    seed: int = 11


def train_clip(recipe: ClipRecipe, out: Path, on_progress: OnProgress = ignore_progress) -> Path:
    """Make a model in `out`/model, which is its folder; a run that was stopped goes on.

    Frames lie in `out`/frames, a folder for each world. Raises ValueError for a recipe that can't be followed.
    """
    if recipe.size not in SIZES:
        raise ValueError(f"size {recipe.size!r}: expected one of {', '.join(SIZES)}")
    same_recipe(recipe, out)
    model = out / "model"
    if model.is_dir():
        return model
    data = record(recipe, out / "frames", on_progress)
    part = out / "model.part"
    if not (part / CONFIG).exists():
        begin(part, recipe.size, texts_of(data), recipe.seed)
    learn(recipe, data, part, out, on_progress)
    part.rename(model)
    return model


def record(recipe: ClipRecipe, out: Path, on_progress: OnProgress = ignore_progress) -> dict[str, CaptionedFrames]:
    """The frames of a recipe, by world; what is missing is recorded."""
    by_world: dict[str, dict[str, int]] = {}
    for suite, episodes in recipe.episodes.items():
        by_world.setdefault(world_tasks.training(suite).world, {})[suite] = episodes
    return {
        world: CaptionedFrames.load(
            collect(out / world, counts, recipe.seed, workers=recipe.workers, on_progress=on_progress)
        )
        for world, counts in by_world.items()
    }


def texts_of(data: Mapping[str, CaptionedFrames]) -> list[str]:
    """What a tokenizer of these worlds is made of: their captions, and instructions for their goals."""
    import numpy as np

    rng = np.random.default_rng(0)
    found: list[str] = []
    for world, frames in data.items():
        found += sorted({said for shown in frames.shown for said in (*shown.true, *shown.false)})
        outcomes = world_tasks.of(world).outcomes
        if outcomes is not None:
            found += [outcomes.sentence(rng, said) or said for said in outcomes.goals() for _ in range(_SENTENCES)]
    return found


def learn(
    recipe: ClipRecipe,
    data: Mapping[str, CaptionedFrames],
    folder: Path,
    run: Path,
    on_progress: OnProgress = ignore_progress,
) -> None:
    """Train the model in `folder`, and write its weights there when it is trained. The state and the TensorBoard log
    of the run lie in `run`."""
    import open_clip

    name = f"local-dir:{folder}"
    model = open_clip.create_model(name)
    model.train().to(memory_format=torch.channels_last)  # convolutions are faster so
    batches = Batches(
        list(data.values()), open_clip.get_tokenizer(name),
        Preparation((IMAGE_SIZE, IMAGE_SIZE), MEAN, STD, "squash", bicubic=False), size=recipe.batch, seed=recipe.seed,
    )  # fmt: skip
    plan = Plan(recipe.size, recipe.steps, recipe.batch, recipe.rate, seed=recipe.seed)
    loop: Loop[Batch] = Loop(
        model, lambda parameters: _optimizer(model, recipe), plan, state=run / "state.pt", log=run / "tensorboard",
        on_progress=on_progress,
    )  # fmt: skip
    loop.run(batches(loop.first, recipe.steps), _loss)
    save_weights(folder, model.eval())
    write_whole(folder / "training.json", json.dumps({"seconds": round(loop.seconds)}) + "\n")
    loop.discard_state()


def _optimizer(model: torch.nn.Module, recipe: ClipRecipe) -> torch.optim.Optimizer:
    """AdamW, which decays matrices alone, as in CLIP."""
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))


def _loss(model: torch.nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    # The image tower is where the time goes, and bfloat16 halves it; the small text tower would be slower.
    with torch.autocast("cpu", torch.bfloat16):
        pictures = model(image=batch.pictures.to(memory_format=torch.channels_last))[0]
    _, texts, scale = model(text=batch.tokens)[:3]
    logits = scale.clamp(max=_MOST_SCALE) * pictures.float() @ texts.T
    loss, right = contrastive(logits, batch.holds)
    return loss, {"loss": loss, "accuracy": right, "scale": scale}


def contrastive(logits: Tensor, holds: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's symmetric loss, where many captions of a batch hold in a frame.

    `logits` (B, U) of B frames and U captions, `holds` bool (B, U). Every caption that holds competes with those that
    don't hold in the frame, and every frame with those in which the caption does not hold. A caption counts as much as
    the root of how often it holds: most say what is not in view. Returns the loss, and the share of captions that win
    in their frame.
    """
    false = logits.masked_fill(holds, -1e4)  # finite: a caption may hold in all frames of the batch
    to_text = F.softplus(false.logsumexp(1, keepdim=True) - logits)
    to_frame = F.softplus(false.logsumexp(0, keepdim=True) - logits)
    weights = holds / holds.sum(0).clamp(min=1).sqrt()
    weights = weights / weights.sum().clamp(min=1e-9)
    right = ((logits > false.amax(1, keepdim=True)) * weights).sum()
    return ((to_text + to_frame) / 2 * weights).sum(), right

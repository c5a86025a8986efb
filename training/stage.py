"""One training stage of `small`: what is asked of the model, and the loop that teaches it, in one or more processes."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from agent.small.model import FIELDS, PLACE, SmallConfig, SmallModel
from agent.small.policy import load_model, save_small
from training.annotate import COLOUR_OF, KIND_OF
from training.corpus import Corpus
from training.phrases import PhraseBank

Mode = Literal["vision", "grounding", "cloning", "refining"]
NAMES = ("column", "row", "turn", "look", "move", "hand")
WARM_STEPS = 100
FLOOR = 0.05  # of the rate, at the end
AVERAGE = 0.998  # of the weights, over steps: what is saved is their moving average
SAVE_SECONDS = 30.0
TELL_SECONDS = 2.0


class Batches:
    """Random batches of a stage's corpora, an equal share of each; the order follows from the seed and the step."""

    def __init__(self, corpora: Sequence[Corpus], bank: PhraseBank, size: int, seed: int, rank: int) -> None:
        self._corpora, self._bank, self._size, self._seed, self._rank = corpora, bank, size, seed, rank

    def at(self, step: int) -> dict[str, Tensor]:
        """Batch number `step`: frames (N, 3, H, W) uint8, cells (N, 30, 40), ids (N * Q, words), tokens (N * Q, 6)."""
        rng = np.random.default_rng([self._seed, step, self._rank])
        parts = []
        share = self._size // len(self._corpora)
        for corpus in self._corpora:
            rows = np.sort(rng.integers(len(corpus), size=share))
            parts.append([a[rows] for a in (corpus.frames, corpus.cells, corpus.queries, corpus.places, corpus.tokens)])
        frames, cells, queries, places, tokens = (np.concatenate(p) for p in zip(*parts, strict=True))
        fields = np.concatenate([places, tokens], -1).reshape(-1, len(FIELDS)).astype(np.int64)
        ids = self._bank.draw(rng, queries.reshape(-1, 3))
        longest = int((ids > 0).sum(1).max())
        return {
            "frames": torch.from_numpy(frames).permute(0, 3, 1, 2),
            "cells": torch.from_numpy(cells),
            "ids": torch.from_numpy(ids[:, : max(1, longest)]),  # words cost most of a decision: none for padding
            "tokens": torch.from_numpy(fields),
        }


def vision_loss(model: SmallModel, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
    """Name the kind and the colour of what is in every cell; empty cells, which are most, count a tenth."""
    cells = batch["cells"].long()
    kinds = torch.from_numpy(KIND_OF).to(cells.device)[cells].long()
    colours = torch.from_numpy(COLOUR_OF).to(cells.device)[cells].long()
    kind_logits, colour_logits = model.segmentation(model.see(batch["frames"]))
    weight = torch.where(kinds > 0, 1.0, 0.1)
    total = weight.sum()
    kind = (F.cross_entropy(kind_logits, kinds, reduction="none") * weight).sum() / total
    colour = (F.cross_entropy(colour_logits, colours, reduction="none") * weight).sum() / total
    things = kinds > 0
    right = ((kind_logits.argmax(1) == kinds) & (colour_logits.argmax(1) == colours))[things].float().mean()
    return kind + colour, {"loss": kind + colour, "cells right": right}


def decision_loss(
    model: SmallModel, batch: dict[str, Tensor], table: Tensor, fields: range
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the fields of a decision, given those before."""
    tokens = batch["tokens"]
    text, mask = model.read(table, batch["ids"])
    logits = model.write(model.see(batch["frames"]), text, mask, tokens)
    losses = [F.cross_entropy(logits[i], tokens[:, i]) for i in fields]
    figures = {NAMES[i]: loss for i, loss in zip(fields, losses, strict=True)}
    loss = torch.stack(losses).sum()
    return loss, {"loss": loss, **figures}


def run(
    *,
    rank: int,
    workers: int,
    meeting: Path,
    mode: Mode,
    corpora: Sequence[Corpus],
    frames: int,
    rate: float,
    batch: int,
    sizes: dict[str, Any],
    seed: int,
    parent: Path | None,
    out: Path,
    log: Path,
    told: Callable[[int, dict[str, float]], None],
) -> None:
    """Train on `frames` frames in all and write the checkpoint `out`; process `rank` of `workers`.

    Goes on from `out`.state where a killed run left one. Gradients are averaged over the processes at every step.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1 if device.type == "cpu" else 4)
    if workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=workers)
    torch.manual_seed(seed)
    model = load_model(parent) if parent else SmallModel(SmallConfig(**sizes))
    model.to(device).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, foreach=True)
    average = [p.detach().clone() for p in parameters]
    steps = max(1, frames // batch)
    state_file = out.with_name(f"{out.name}.state")
    first, seconds = _resume(state_file, model, optimizer, average)

    bank = PhraseBank(_keys(corpora), seed)
    table = torch.from_numpy(bank.table).to(device)
    batches = Batches(corpora, bank, batch // workers, seed, rank)
    writer = None
    if rank == 0:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(log / mode), purge_step=first * batch)
    began = saved = shown = time.monotonic()
    for step in range(first, steps):
        here = {name: value.to(device, non_blocking=True) for name, value in batches.at(step).items()}
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(step, steps)
        if mode == "vision":
            loss, figures = vision_loss(model, here)
        else:
            loss, figures = decision_loss(model, here, table, range(PLACE if mode == "grounding" else len(FIELDS)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if workers > 1:
            _share(parameters, workers)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1.0 - min(AVERAGE, step / (step + 10.0)))
        now = time.monotonic()
        if rank == 0 and writer is not None and (now - shown > TELL_SECONDS or step + 1 == steps):
            shown = now
            values = {name: float(value.detach()) for name, value in figures.items()}
            done = (step + 1) * batch
            for name, value in values.items():
                writer.add_scalar(f"{mode}/{name}", value, done)
            told(min(done, frames), values | {"frames/s": (step + 1 - first) * batch / (now - began)})
        if rank == 0 and now - saved > SAVE_SECONDS:
            saved = now
            _save_state(state_file, step + 1, seconds + now - began, model, optimizer, average)
    if rank == 0:
        with torch.no_grad():
            for parameter, mean in zip(parameters, average, strict=True):
                parameter.copy_(mean)
        trained = {"stage": mode, "frames": steps * batch, "seconds": round(seconds + time.monotonic() - began)}
        save_small(model, out, parent=parent.name if parent else None, trained=trained)
        state_file.unlink(missing_ok=True)
        if writer is not None:
            writer.close()
    if workers > 1:
        dist.barrier()
        dist.destroy_process_group()


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a short rise, then a cosine down to FLOOR."""
    rise = min(1.0, (step + 1) / min(WARM_STEPS, max(1, steps // 10)))
    return rise * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _keys(corpora: Sequence[Corpus]) -> list[tuple[int, int, int]]:
    found = [np.unique(np.asarray(c.queries).reshape(-1, 3), axis=0) for c in corpora]
    return [(int(a), int(b), int(c)) for a, b, c in np.unique(np.concatenate(found), axis=0)]


def _share(parameters: Sequence[torch.nn.Parameter], workers: int) -> None:
    """Average the gradients over the processes, in one message."""
    grads = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= workers
    for grad, value in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
        grad.copy_(value.view_as(grad))


def _save_state(
    file: Path, step: int, seconds: float, model: SmallModel, optimizer: torch.optim.Optimizer, average: list[Tensor]
) -> None:
    state = {
        "step": step,
        "seconds": seconds,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average,
    }
    part = file.with_name(f".tmp-{file.name}")
    torch.save(state, part)
    os.replace(part, file)


def _resume(
    file: Path, model: SmallModel, optimizer: torch.optim.Optimizer, average: list[Tensor]
) -> tuple[int, float]:
    """Go on from a saved state where there is one; the first step to do and the seconds spent so far."""
    if not file.exists():
        return 0, 0.0
    state = torch.load(file, weights_only=True, map_location=average[0].device)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    for value, saved in zip(average, state["average"], strict=True):
        value.copy_(saved)
    return int(state["step"]), float(state["seconds"])

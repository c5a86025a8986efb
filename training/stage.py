"""One training stage of `small`: what is asked of the model, and the loop that teaches it, in one or more processes."""

from __future__ import annotations

import contextlib
import copy
import math
import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from agent.small.layout import SIZE
from agent.small.model import CLIP, Memory, SmallConfig, SmallModel
from agent.small.policy import load_model, save_small
from agent.small.turn import CHOICES
from envs.reaper import die_with_parent
from tasks import worlds
from tasks.language import taught
from training.annotate import CELL, COLOUR_OF, KIND_OF, UNKNOWN
from training.clips import Clips
from training.corpus import Corpus
from training.crew import ONE_THREAD, environment
from training.lessons import Glances, Lessons, Mix
from training.texts import Batch

# glibc gives freed memory back at once by default, and training takes it again at every step: twice the time.
_ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "500000000",
}
NAMES = (
    "silent",
    "thought",
    "speech",
    "hushed",
    "words",
    "score",
    "end",
    "column",
    "row",
    "turn",
    "look",
    "move",
    "hand",
)  # of turn.CHOICES
WARM_STEPS = 100
FLOOR = 0.05  # of the rate, at the end
AVERAGE = 0.998  # of the weights, over steps: what is saved is their moving average
CELLS = 0.5  # weight of the segmentation while decisions are learned
GLANCES = 2.0  # its weight in frames of which nothing else is learned
_AHEAD = 2  # batches that each of the other processes makes in advance
JUDGE_EVERY = 5  # steps, of which one is for judging
PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}  # dense bf16 FLOP/s, by the vendor's data sheets
SAVE_SECONDS = 30.0
TELL_SECONDS = 2.0

Glance = tuple[Tensor, Tensor]  # frames and cells, as training.lessons.Glances makes them


def vision_loss(model: SmallModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Name what is in every cell."""
    assert batch.cells is not None
    loss, right = _cells_loss(model, model.see(batch.frames), batch.cells.long())
    return loss, {"loss": loss, "cells right": right}


def _cells_loss(model: SmallModel, image: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Of the kind and the colour in every cell; empty cells, which are most, count a tenth."""
    kinds = torch.from_numpy(KIND_OF).to(cells.device)[cells].long()
    colours = torch.from_numpy(COLOUR_OF).to(cells.device)[cells].long()
    kind_logits, colour_logits = model.segmentation(image)
    weight = torch.where(kinds > 0, 1.0, 0.1) * (cells != UNKNOWN)
    total = weight.sum().clamp(min=1.0)
    kind = (F.cross_entropy(kind_logits, kinds, reduction="none") * weight).sum() / total
    colour = (F.cross_entropy(colour_logits, colours, reduction="none") * weight).sum() / total
    things = kinds > 0
    right = (kind_logits.argmax(1) == kinds) & (colour_logits.argmax(1) == colours) & things
    return kind + colour, right.sum() / things.sum()


def text_loss(
    model: SmallModel, batch: Batch, choices: range = range(len(CHOICES)), clips: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of what is written, each token among those that the grammar allows in its place; and what is where
    in the frames, so that it is not forgotten. `choices`: only these count. `clips`: whether the frames are the
    judge's. The figures of what does not occur are not a number."""
    image = model.see(batch.frames)
    text, pack = model.read(batch.prompt)
    memory = Memory(model.clip(image) if clips else image, text, pack)
    hidden = model.write(memory, batch.tokens, batch.order, batch.pack)
    logits = model.logits(hidden[batch.rows, batch.columns]) + ALLOWED.to(hidden.device)[batch.choices]
    each = F.cross_entropy(logits, batch.targets, reduction="none")
    counts = (batch.choices >= choices.start) & (batch.choices < choices.stop)
    loss = (each * batch.weights * counts).sum() / batch.texts
    figures = {"loss": loss}
    with torch.no_grad():
        sums = each.new_zeros(len(CHOICES)).index_add_(0, batch.choices, each)
        means = sums / each.new_zeros(len(CHOICES)).index_add_(0, batch.choices, torch.ones_like(each))
        figures |= {name: means[i] for i, name in enumerate(NAMES) if i in choices}
    if batch.cells is not None:
        cells, figures["cells right"] = _cells_loss(model, image, batch.cells.long())
        loss = loss + CELLS * cells
    return loss, figures


def _loss(
    model: SmallModel, batch: Batch, choices: range, clips: bool = False, glance: Glance | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    loss, figures = text_loss(model, batch, choices, clips) if choices else vision_loss(model, batch)
    if glance is not None:
        seen, figures["glances right"] = _cells_loss(model, model.see(glance[0]), glance[1].long())
        loss = loss + GLANCES * seen
    return loss, figures


def _allowed() -> Tensor:
    table = torch.full((len(CHOICES), SIZE), -1e9)
    for i, ranges in enumerate(CHOICES):
        for first, end in ranges:
            table[i, first:end] = 0.0
    return table


ALLOWED = _allowed()


@dataclass(frozen=True)
class Stage:
    """A stage of training, as all its processes know it.

    `out`: the checkpoint to be written. `corpora`: folders of training.corpus, each with its share of a batch.
    `frames`: to train on in all, `batch` of them a step. `glances`: folders of corpora that are drawn from as one, with
    how many further frames a step they give, of which only what is in the cells is learned. `judged`: the judge's
    clips, where it learns too.
    `goals_only`: as in Lessons. `choices`: which of turn.CHOICES count; none of them where only what is in the cells is
    learned. `parent`: the checkpoint to start from; without one a model of `sizes` begins. `keep`: the share of the
    parent's weights in those that are saved. `log`: for TensorBoard.
    """

    name: str
    out: Path
    corpora: tuple[tuple[Path, float], ...]
    frames: int
    rate: float
    mix: Mix = field(default_factory=Mix)
    glances: tuple[tuple[tuple[Path, ...], int], ...] = ()
    judged: Path | None = None
    goals_only: bool = False
    choices: range = range(len(CHOICES))
    batch: int = 32
    seed: int = 0
    sizes: Mapping[str, Any] = field(default_factory=dict)
    parent: Path | None = None
    keep: float = 0.0
    log: Path | None = None


Told = Callable[[int, dict[str, float]], None]  # frames that are done, figures


def launch(stage: Stage, workers: int, told: Told) -> None:
    """Train a stage in `workers` processes of one thread each; on a GPU one process trains, and they make its batches.
    Raises RuntimeError where one of them dies."""
    trainers, makers = (1, workers) if torch.cuda.is_available() else (workers, 0)
    if "fork" not in multiprocessing.get_all_start_methods():
        makers = 0
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    meeting = stage.out.with_name(f".meeting-{stage.out.name}")
    meeting.unlink(missing_ok=True)
    crew = [
        context.Process(target=_trainer, args=(os.getpid(), stage, rank, trainers, meeting, reports, makers))
        for rank in range(trainers)
    ]
    with environment(_ALLOCATOR | ONE_THREAD):  # the allocator reads its settings when a process starts
        for process in crew:
            process.start()
    try:
        while any(process.is_alive() for process in crew):
            with contextlib.suppress(queue.Empty):
                told(*reports.get(timeout=0.5))
            if any(process.exitcode for process in crew):
                raise RuntimeError(f"stage {stage.name}: a training process died; see the messages above")
    finally:
        for process in crew:
            process.terminate()
            process.join()
        meeting.unlink(missing_ok=True)
    if not stage.out.exists():
        raise RuntimeError(f"stage {stage.name} ended without a checkpoint")


def _trainer(boss: int, stage: Stage, rank: int, workers: int, meeting: Path, reports: Any, makers: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that leads; it ends us
    die_with_parent(boss)
    run(stage, rank, workers, meeting, lambda done, figures: reports.put((done, figures)), makers)


class _Batches(Dataset[tuple[Batch, bool, Glance | None]]):
    """The batches of a stage for one of its processes, whether each is for the judge, and what else is seen."""

    def __init__(self, stage: Stage, rank: int, size: int) -> None:
        self._stage, self._rank, self._size = stage, rank, size
        folders = [folder for folder, _ in stage.corpora] + [one for group, _ in stage.glances for one in group]
        opened = {folder: Corpus.open(folder) for folder in dict.fromkeys(folders)}
        total = sum(share for _, share in stage.corpora)
        shares = [size * share / total for _, share in stage.corpora]
        corpora = [opened[folder] for folder, _ in stage.corpora]
        self.lessons = Lessons(corpora, shares, stage.seed, rank, stage.mix, goals_only=stage.goals_only)
        self._judged = Clips.open(stage.judged) if stage.judged else None
        groups = [([opened[one] for one in group], round(n * size / stage.batch)) for group, n in stage.glances]
        self._glances = Glances(groups, stage.seed, rank)

    def __getitem__(self, step: int) -> tuple[Batch, bool, Glance | None]:
        if self._judged is not None and step % JUDGE_EVERY == JUDGE_EVERY - 1:
            return self._judged.at(step, self._rank, max(1, self._size // CLIP + 1), self._stage.seed), True, None
        return self.lessons.at(step), False, self._glances.at(step) if self._glances.groups else None


def run(stage: Stage, rank: int, workers: int, meeting: Path, told: Told, makers: int = 0) -> None:
    """Train a stage as process `rank` of `workers`; the first of them writes the checkpoint. `makers`: other processes
    that make batches meanwhile.

    Goes on from `out`.state where a killed run left one. Gradients are averaged over the processes at every step.
    """
    steps = max(1, stage.frames // stage.batch)
    state_file = stage.out.with_name(f"{stage.out.name}.state")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1 if device.type == "cpu" else 4)
    if workers > 1:
        dist.init_process_group("gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=workers)
    saved_state = torch.load(state_file, weights_only=True, map_location="cpu") if state_file.exists() else None
    first = int(saved_state["step"]) if saved_state else 0
    batches = _Batches(stage, rank, stage.batch // workers)
    # forked before this process knows the GPU, which its children could not use
    made = iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=range(first, steps),
            num_workers=makers,
            multiprocessing_context="fork" if makers else None,
            prefetch_factor=_AHEAD if makers else None,
            worker_init_fn=_share_by_name if makers else None,
        )
    )
    torch.manual_seed(stage.seed)
    model = _widened(load_model(stage.parent)) if stage.parent else SmallModel(SmallConfig(**stage.sizes))
    before = [p.detach().to(device, copy=True) for p in model.parameters()]
    model.to(device).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=stage.rate, betas=(0.9, 0.98), weight_decay=0.01, foreach=True)
    average = [p.detach().clone() for p in parameters]
    seconds = _resume(saved_state, model, optimizer, average) if saved_state else 0.0
    writer = None
    if rank == 0 and stage.log is not None:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(str(stage.log / stage.name), purge_step=first * stage.batch)
    peak = _peak(device)
    work = 0.0  # floating-point operations a frame
    smooth: dict[str, float] = {}
    began = saved = shown = time.monotonic()
    for step, (batch, judging, glance) in zip(range(first, steps), made, strict=True):
        if peak and not work and not judging:
            work = operations(model, batch, stage.choices, glance) / len(batch.frames)
        here = batch.to(device)
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * schedule(step, steps)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss, figures = _loss(model, here, stage.choices, judging, _moved(glance, device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if workers > 1:
            _share(parameters, workers)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1.0 - min(AVERAGE, step / (step + 10.0)))
        now = time.monotonic()
        if rank == 0 and (now - shown > TELL_SECONDS or step + 1 == steps):
            shown = now
            smooth.update({name: float(value.detach()) for name, value in figures.items() if value.isfinite()})
            values = dict(smooth)
            done = (step + 1) * stage.batch
            for name, value in values.items():
                if writer is not None:
                    writer.add_scalar(f"{stage.name}/{name}", value, done)
            values["frames/s"] = (step + 1 - first) * stage.batch / (now - began)
            if peak:
                values["MFU"] = work * values["frames/s"] / peak
            told(min(done, stage.frames), values)
        if rank == 0 and now - saved > SAVE_SECONDS:
            saved = now
            _save_state(state_file, step + 1, seconds + now - began, model, optimizer, average)
    if rank == 0:
        with torch.no_grad():
            for parameter, mean in zip(parameters, average, strict=True):
                parameter.copy_(mean)
            torch._foreach_lerp_([p.data for p in parameters], before, stage.keep)
        spent = round(seconds + time.monotonic() - began)
        trained = {"stage": stage.name, "frames": steps * stage.batch, "seconds": spent}
        parent = stage.parent.name if stage.parent else None
        save_small(
            model, stage.out, parent=parent, trained=trained, nouns=_nouns({c.world for c in batches.lessons.corpora})
        )
        state_file.unlink(missing_ok=True)
        if writer is not None:
            writer.close()
    if workers > 1:
        dist.barrier()
        dist.destroy_process_group()


def _share_by_name(maker: int) -> None:
    """Hand tensors over by the name of a file in memory: by descriptor takes the attention of the maker, who is busy,
    and one of the few open files that a process may have, for every tensor."""
    torch.multiprocessing.set_sharing_strategy("file_system")


def _moved(glance: Glance | None, device: torch.device) -> Glance | None:
    return None if glance is None else (glance[0].to(device), glance[1].to(device))


def operations(model: SmallModel, batch: Batch, choices: range, glance: Glance | None = None) -> int:
    """Floating-point operations of learning from a batch: the products of both passes, whatever they run on."""
    meta = torch.device("meta")
    with FlopCounterMode(display=False) as counter:
        _loss(copy.deepcopy(model).to(meta), batch.to(meta), choices, glance=_moved(glance, meta))[0].backward()
    return counter.get_total_flops()


def _peak(device: torch.device) -> float:
    """Operations a second that a GPU is able to, as MFU counts them; 0 where it is not known."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for known, peak in PEAKS.items() if known in name), 0.0)


def _widened(model: SmallModel) -> SmallModel:
    """A model that can name as many kinds and colours as there are by now; it keeps what it knows."""
    old, now = model.config, SmallConfig()
    if (old.kinds, old.colours) == (now.kinds, now.colours):
        return model
    wider = SmallModel(replace(old, kinds=now.kinds, colours=now.colours))
    state, fresh = model.state_dict(), wider.state_dict()
    cells = CELL * CELL
    for name in ("segment.weight", "segment.bias"):
        whole = fresh[name]
        whole[: old.kinds * cells] = state[name][: old.kinds * cells]
        whole[now.kinds * cells : (now.kinds + old.colours) * cells] = state[name][old.kinds * cells :]
        state[name] = whole
    wider.load_state_dict(state)
    return wider


def _nouns(names: set[str]) -> dict[str, str]:
    """What things are called in some worlds, with the plain name of each; doom's are always known."""
    goals = [worlds.part(name, "goals") for name in sorted(names - {"doom"})]
    return {kind: kind for module in goals for kind, _ in module.CLASSES} | taught()


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a short rise, then a cosine down to FLOOR."""
    rise = min(1.0, (step + 1) / min(WARM_STEPS, max(1, steps // 10)))
    return rise * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _share(parameters: Sequence[torch.nn.Parameter], workers: int) -> None:
    """Average the gradients over the processes, in one message."""
    # a part that one process had no use for in this step may be in use in another
    grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= workers
    for parameter, value in zip(parameters, flat.split([g.numel() for g in grads]), strict=True):
        parameter.grad = value.view_as(parameter)


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


def _resume(state: dict[str, Any], model: SmallModel, optimizer: torch.optim.Optimizer, average: list[Tensor]) -> float:
    """Go on from a saved state; the seconds spent so far."""
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    for value, saved in zip(average, state["average"], strict=True):
        value.copy_(saved)
    return float(state["seconds"])

"""One training stage of `small`: what its batches hold, and how a model learns from them in one or more processes."""

from __future__ import annotations

import copy
import multiprocessing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from agent.small.checkpoint import load_model, save_small
from agent.small.judge_view import JUDGE_FRAMES
from agent.small.model import SmallConfig, SmallModel
from agent.small.output_grammar import CHOICES
from tasks import world_tasks
from tasks.doom.language import taught
from training.loop import Loop, Plan, saved_step
from training.ranks import Ranks, launch
from training.recipe import OnProgress, Progress, ignore_progress
from training.small.batches import Batch
from training.small.classes import CELL
from training.small.clips import Clips
from training.small.corpus import Corpus
from training.small.glances import Glances
from training.small.learned_from import corpora_learned
from training.small.lessons import Lessons
from training.small.losses import Glance, stage_loss
from training.small.mix import Mix

WARM_STEPS = 100  # the most steps in which the learning rate rises
AVERAGE = 0.998  # decay of the moving average of weights, which is what a stage saves
_AHEAD = 2  # batches that each worker process makes in advance
JUDGE_EVERY = 5  # of so many steps, one is for judging
PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}  # dense bf16 FLOP/s, by the vendor's data sheets


@dataclass(frozen=True)
class Stage:
    """A stage of training. All its processes get this.

    `out`: the checkpoint to write. `corpora`: folders of training.small.corpus, each with its share of a batch.
    `frames`: how many to train on in all. `batch`: frames in a step. `rate`: the learning rate at its peak. `glances`:
    groups of corpora, each with how many further frames a step it gives, of which only the cells are learned. `judged`:
    the folder of the judge's clips, None where the stage does not teach judging. `goals_only`: as in Lessons.
    `choices`: the kinds in output_grammar.CHOICES that count; with none of them only the cells are learned. `parent`:
    the checkpoint to start from; without one a new model of `sizes` begins. `keep`: the share of the parent's weights
    in those that are saved (WiSE-FT). `mean_with`: checkpoints that go into the mean that is saved, each with the
    weight of this one (model soups, arXiv 2203.05482). `log`: the folder for TensorBoard.
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
    mean_with: tuple[Path, ...] = ()
    log: Path | None = None

    @property
    def steps(self) -> int:
        return max(1, self.frames // self.batch)


def train_stage(stage: Stage, workers: int, on_progress: OnProgress) -> None:
    """Train a stage in `workers` processes of one thread each. On a GPU one process trains, and the workers make its
    batches. Raises RuntimeError where a process dies."""
    trainers, makers = (1, workers) if torch.cuda.is_available() else (workers, 0)
    if "fork" not in multiprocessing.get_all_start_methods():
        makers = 0
    try:
        launch(
            partial(run, stage, makers=makers), trainers, stage.out.with_name(f".meeting-{stage.out.name}"), on_progress
        )
    except RuntimeError as error:
        raise RuntimeError(f"stage {stage.name}: {error}") from error
    if not stage.out.exists():
        raise RuntimeError(f"stage {stage.name} ended without a checkpoint")


def run(
    stage: Stage, ranks: Ranks | None = None, on_progress: OnProgress = ignore_progress, *, makers: int = 0
) -> None:
    """Train a stage as one of the processes `ranks`; the first of them writes the checkpoint. `makers`: how many
    further processes make batches meanwhile. Goes on from `out`.state where a killed run left one."""
    ranks = ranks or Ranks()
    state = stage.out.with_name(f"{stage.out.name}.state")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1 if device.type == "cpu" else 4)
    batches = StageBatches(stage, ranks.rank, stage.batch // ranks.count)
    # Forked before this process uses the GPU: a child of a process that uses it could not.
    made = _loaded(batches, range(saved_step(state), stage.steps), makers)
    torch.manual_seed(stage.seed)
    model = widened(load_model(stage.parent)) if stage.parent else SmallModel(SmallConfig(**stage.sizes))
    before = [p.detach().to(device, copy=True) for p in model.parameters()]
    model.to(device).train()
    objective = _Objective(stage, device)
    plan = Plan(
        name=stage.name,
        steps=stage.steps,
        size=stage.batch,
        rate=stage.rate,
        warmup=min(WARM_STEPS, max(1, stage.steps // 10)),
        average=AVERAGE,
        seed=stage.seed,
    )
    loop: Loop[StageBatch] = Loop(
        model, partial(adamw, rate=stage.rate), plan, state=state, ranks=ranks,
        log=stage.log / stage.name if stage.log else None, on_progress=partial(_report, objective, on_progress),
    )  # fmt: skip
    loop.run(([part] for part in made), objective.loss)
    if ranks.leads:
        blend(model, before, stage.keep)
        for number, folder in enumerate(stage.mean_with):
            blend(model, [p.to(device) for p in widened(load_model(folder)).parameters()], 1.0 / (number + 2))
        _write(stage, model, batches.lessons.corpora, loop.seconds)
        loop.discard_state()
    ranks.close()


def adamw(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """The optimizer of `small`."""
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)


def blend(model: nn.Module, before: Sequence[Tensor], keep: float) -> None:
    """Move a model's weights back towards those that it had `before`, by the share `keep` of the way (WiSE-FT)."""
    torch._foreach_lerp_([p.data for p in model.parameters()], list(before), keep)


@dataclass(frozen=True)
class StageBatch:
    """What is learned in one step: a batch, whether it is for judging, and a glance where the stage has them."""

    batch: Batch
    judged: bool = False
    glance: Glance | None = None


class StageBatches(Dataset[StageBatch]):
    """The batches of a stage for one of its processes, by step; `size` frames each."""

    def __init__(self, stage: Stage, rank: int, size: int) -> None:
        self._stage, self._rank, self._size = stage, rank, size
        folders = [folder for folder, _ in stage.corpora] + [one for group, _ in stage.glances for one in group]
        opened = {folder: Corpus.open(folder) for folder in dict.fromkeys(folders)}
        total = sum(share for _, share in stage.corpora)
        shares = [size * share / total for _, share in stage.corpora]
        corpora = [opened[folder] for folder, _ in stage.corpora]
        self.lessons = Lessons(corpora, shares, stage.seed, rank, stage.mix, goals_only=stage.goals_only)
        self._clips = Clips.open(stage.judged) if stage.judged else None
        groups = [([opened[one] for one in group], round(n * size / stage.batch)) for group, n in stage.glances]
        self._glances = Glances(groups, stage.seed, rank)

    def __getitem__(self, step: int) -> StageBatch:
        if self._clips is not None and step % JUDGE_EVERY == JUDGE_EVERY - 1:
            clips = max(1, self._size // JUDGE_FRAMES + 1)
            return StageBatch(self._clips.at(step, self._rank, clips, self._stage.seed), judged=True)
        return StageBatch(self.lessons.at(step), glance=self._glances.at(step) if self._glances.groups else None)


def _loaded(batches: StageBatches, steps: range, makers: int) -> Iterator[StageBatch]:
    """The batches of some steps, made here or by worker processes, which start now."""
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=steps,
            num_workers=makers,
            multiprocessing_context="fork" if makers else None,
            prefetch_factor=_AHEAD if makers else None,
            worker_init_fn=_share_by_name if makers else None,
        )
    )


def _share_by_name(maker: int) -> None:
    """Pass tensors to the trainer as named files in memory. Passing them as file descriptors interrupts the worker for
    every tensor, and takes one of the few files that a process may have open."""
    multiprocessing_of_torch: Any = torch.multiprocessing
    multiprocessing_of_torch.set_sharing_strategy("file_system")


class _Objective:
    """The loss of a stage on a device. `work`: floating-point operations that learning from a frame takes, where the
    device's peak is known."""

    def __init__(self, stage: Stage, device: torch.device) -> None:
        self._choices, self._device = stage.choices, device
        self.peak, self.work = _peak(device), 0.0

    def loss(self, model: SmallModel, part: StageBatch) -> tuple[Tensor, dict[str, Tensor]]:
        if self.peak and not self.work and not part.judged:
            self.work = operations(model, part.batch, self._choices, part.glance) / len(part.batch.frames)
        here, glance = part.batch.to(self._device), _moved(part.glance, self._device)
        quick = self._device.type == "cuda" or cpu_has_bfloat16()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=quick):
            return stage_loss(model, here, self._choices, part.judged, glance)


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies matrices in bfloat16; without that float32 is quicker."""
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def _report(objective: _Objective, on_progress: OnProgress, news: Progress) -> None:
    """Pass progress on. Where the device's peak is known, add the share of it that the model uses (MFU)."""
    if objective.peak:
        mfu = objective.work * news.figures["frames/s"] / objective.peak
        news = replace(news, figures={**news.figures, "MFU": mfu})
    on_progress(news)


def operations(model: SmallModel, batch: Batch, choices: range, glance: Glance | None = None) -> int:
    """Floating-point operations of learning from a batch: the products of both passes, on whatever device."""
    meta = torch.device("meta")
    with FlopCounterMode(display=False) as counter:
        loss, _ = stage_loss(copy.deepcopy(model).to(meta), batch.to(meta), choices, glance=_moved(glance, meta))
        torch.autograd.backward(loss)
    return int(counter.get_total_flops())


def _moved(glance: Glance | None, device: torch.device) -> Glance | None:
    return None if glance is None else (glance[0].to(device), glance[1].to(device))


def _peak(device: torch.device) -> float:
    """The most operations a second of a GPU, by which MFU is counted; 0 where it is not known."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return next((peak for known, peak in PEAKS.items() if known in name), 0.0)


def _write(stage: Stage, model: SmallModel, corpora: Sequence[Corpus], seconds: float) -> None:
    """Save a stage's checkpoint."""
    save_small(
        model,
        stage.out,
        parent=stage.parent,
        trained={"stage": stage.name, "frames": stage.steps * stage.batch, "seconds": round(seconds)},
        nouns=nouns({corpus.world for corpus in corpora}),
        data=corpora_learned(zip((folder for folder, _ in stage.corpora), corpora, strict=True), stage.judged),
        recipe={name: value for name, value in vars(stage).items() if name not in ("out", "parent", "log")},
        ways=any(corpus.way.any() for corpus in corpora),
    )


def widened(model: SmallModel) -> SmallModel:
    """The model, able to name all kinds and colours that there are by now and to read what words mean; it keeps what it
    knows."""
    old, now = model.config, SmallConfig()
    if (old.kinds, old.colours, old.meanings) == (now.kinds, now.colours, now.meanings):
        return model
    wider = SmallModel(replace(old, kinds=now.kinds, colours=now.colours, meanings=now.meanings))
    fresh = wider.state_dict()
    state = fresh | model.state_dict()
    cells = CELL * CELL
    for name in ("segment.weight", "segment.bias"):
        whole = fresh[name]
        whole[: old.kinds * cells] = state[name][: old.kinds * cells]
        whole[now.kinds * cells : (now.kinds + old.colours) * cells] = state[name][old.kinds * cells :]
        state[name] = whole
    wider.load_state_dict(state)
    return wider


def nouns(worlds: set[str]) -> dict[str, str]:
    """What things are called in some worlds, with the plain name of each. Doom's are always among them."""
    goals = [world_tasks.of(name).goals for name in sorted(worlds)]
    return {kind: kind for module in goals if module is not None for kind, _ in module.CLASSES} | taught(wide=True)

"""Behaviour cloning for any image-text-to-text model: fine-tune it on the decisions of recorded episodes.

An example is one decision: the prompt that `agent.vlm.policy` builds for the context that the player decided in, and
its turn in the action language. The episodes may be of any worlds, several at once: each episode says what its world
listens to and what its keys do. The loss is on the turn alone. Whole models or LoRA, in one process or under
`torchrun`, with gradient checkpointing and bf16 where there is a GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from agent.lineage import Lineage, commit, parent_of, recipe_hash
from agent.prompted import Setting
from agent.view import View
from agent.vlm.chat_template import to_model
from agent.vlm.checkpoint import Manifest, save_checkpoint
from training.data.examples import Examples
from training.data.learned_from import episodes_learned
from training.loop import Loop, Plan
from training.ranks import Ranks
from training.recipe import OnProgress, ignore_progress, open_run
from training.vlm.examples import Batch, Writer, encode_examples, log_probabilities
from training.vlm.held_out import BEST, EVALUATIONS, Evaluation, HeldOut, evaluation_steps
from training.vlm.packing import check_packing, pack
from training.vlm.recipe import BcRecipe
from training.vlm.start import load

if TYPE_CHECKING:
    from accelerate import Accelerator

MODEL, STATE, LOGS = "model", "state.pt", "tensorboard"
WARM_SHARE = 0.05  # of the steps, in which the learning rate rises


@dataclass(frozen=True)
class MicroBatch:
    """Decisions that are in memory at a time. `weight`: the sum of the weights of the whole batch that they are of."""

    batch: Batch
    weight: float


class _Batches(Dataset[list[MicroBatch]]):
    """The batches of a run by step, in micro-batches: always the same for the same recipe and process."""

    def __init__(
        self, examples: Examples, processor: Any, writer: Writer, recipe: BcRecipe, rank: int, ranks: int
    ) -> None:
        self._examples, self._processor, self._writer, self._recipe = examples, processor, writer, recipe
        self._rank, self._ranks = rank, ranks
        self.steps = max(1, math.ceil(recipe.epochs * len(examples) / recipe.batch))

    def __getitem__(self, step: int) -> list[MicroBatch]:
        recipe, total = self._recipe, len(self._examples)
        numbers = []
        for place in range(step * recipe.batch + self._rank, (step + 1) * recipe.batch, self._ranks):
            epoch, at = divmod(place, total)
            numbers.append(int(self._examples.order(recipe.seed + epoch)[at]))
        examples = [self._examples[number] for number in numbers]
        micro = recipe.micro or len(examples)
        parts = [
            encode_examples(self._processor, self._writer, examples[i : i + micro])
            for i in range(0, len(examples), micro)
        ]
        weight = sum(float(part["weights"].sum()) for part in parts)
        return [MicroBatch(part, weight) for part in parts]


def train_bc(recipe: BcRecipe, out: Path, *, resume: bool = False, on_progress: OnProgress = ignore_progress) -> Path:
    """Fine-tune and write the checkpoint folder OUT/model, which `--policy hf:OUT/model` plays; its path.

    Where episodes are held out, OUT/evaluations.json has what was measured by them, and OUT/best is the checkpoint with
    the lowest held-out loss. `resume`: go on where a run in `out` was stopped; it needs the same recipe. Raises
    ValueError where `out` holds another run or the model does not fit the recipe, OSError where the model is not found
    and EpisodeError where there is nothing to learn from.
    """
    accelerator = _accelerator()
    if recipe.batch % accelerator.num_processes:
        raise ValueError(f"batch {recipe.batch} can't be split evenly over {accelerator.num_processes} processes")
    _open_run(recipe, out, resume, accelerator)
    if (out / MODEL).exists():
        return out / MODEL
    torch.manual_seed(recipe.seed)
    every = Examples(recipe.data, history=recipe.history, gamma=recipe.gamma, failures=recipe.failures)
    examples, held_out = every.split(recipe.held_out, recipe.seed)
    spec = Setting(view=View.stretched(examples.frame_size, recipe.history)).spec
    bf16 = accelerator.mixed_precision == "bf16"
    model, processor, writer = load(recipe, str(accelerator.device), bf16)
    encode = partial(encode_examples, processor, writer)
    if recipe.pack:
        first = examples.order(recipe.seed)[:2]
        check_packing(model, to_model(encode([examples[int(number)] for number in first]), model))
    batches = _Batches(examples, processor, writer, recipe, accelerator.process_index, accelerator.num_processes)
    loop: Loop[MicroBatch] = Loop(
        model, partial(_adamw, rate=recipe.peak_rate), _plan(recipe, batches.steps), state=out / STATE,
        ranks=AcceleratedRanks(accelerator), log=out / LOGS, on_progress=on_progress,
    )  # fmt: skip

    def save(name: str, steps: int, measured: Evaluation | None) -> None:
        trained: dict[str, Any] = {"recipe": asdict(recipe), "decisions": steps * recipe.batch}
        trained |= {"seconds": round(loop.seconds), "held_out": asdict(measured) if measured else None}
        save_checkpoint(model, processor, out / name, Manifest(spec, recipe.form, trained, _lineage(recipe)))

    evaluate = None if not held_out else HeldOut(
        model, held_out, encode, accelerator, steps=evaluation_steps(batches.steps, recipe.evaluations),
        micro=recipe.micro or recipe.batch, keep=lambda found: save(BEST, found.step, found),
        file=out / EVALUATIONS, first=loop.first,
    )  # fmt: skip
    loader = DataLoader(batches, batch_size=None, sampler=range(loop.first, batches.steps), num_workers=recipe.workers)
    loop.run(loader, partial(_loss, model, accelerator, recipe.pack), evaluate)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        if bf16 and not recipe.lora:
            model.to(torch.bfloat16)
        save(MODEL, batches.steps, evaluate.found[-1] if evaluate else None)
        loop.discard_state()
    loop.ranks.close()
    return out / MODEL


def _lineage(recipe: BcRecipe) -> Lineage:
    """The model that was fine-tuned, the episodes, the recipe and the commit."""
    learned = episodes_learned([Path(folder) for folder in recipe.data])
    return Lineage(parent_of(Path(recipe.model).expanduser()), tuple(learned), recipe_hash(asdict(recipe)), commit())


def _accelerator() -> Accelerator:
    from accelerate import Accelerator, DistributedDataParallelKwargs

    bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    # Vision towers have layers whose output nobody reads; they get no gradients.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(mixed_precision="bf16" if bf16 else "no", kwargs_handlers=[parallel])


class AcceleratedRanks(Ranks):
    """The processes of an accelerator, such as those that torchrun started."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.rank, self.count = accelerator.process_index, accelerator.num_processes

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        prepared: tuple[nn.Module, torch.optim.Optimizer] = self._accelerator.prepare(model, optimizer)
        return prepared

    def backward(self, loss: Tensor) -> None:
        self._accelerator.backward(loss)

    def share_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Nothing is left to do: the prepared model shares them in the backward pass."""

    def clip(self, parameters: Sequence[nn.Parameter], norm: float) -> None:
        self._accelerator.clip_grad_norm_(parameters, norm)

    def close(self) -> None:
        self._accelerator.wait_for_everyone()


def _plan(recipe: BcRecipe, steps: int) -> Plan:
    return Plan(
        name="bc",
        steps=steps,
        size=recipe.batch,
        unit="decisions",
        rate=recipe.peak_rate,
        warmup=max(1.0, WARM_SHARE * steps),
        seed=recipe.seed,
    )


def _adamw(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)


def _loss(
    plain: Any, accelerator: Accelerator, packed: int | None, model: Any, part: MicroBatch
) -> tuple[Tensor, dict[str, Tensor]]:
    """Minus the weighted log-probability of a micro-batch's turns, as a share of the whole batch's mean. `plain`: the
    model that `model` wraps. `packed`: tokens of a row that examples share."""
    here = to_model(part.batch, plain)
    if packed:
        here = pack(here, plain, packed)
    here["weights"] = here["weights"].float()
    with accelerator.autocast():
        found, weights = log_probabilities(model, here)
    # The gradients of the processes are averaged: over the mean of their weights, they add up to those of one process.
    whole = accelerator.reduce(torch.tensor(part.weight, device=found.device), "mean")
    loss = -(found * weights).sum() / max(float(whole), 1e-6)
    return loss, {"loss": loss}


def _open_run(recipe: BcRecipe, out: Path, resume: bool, accelerator: Accelerator) -> None:
    """Make the run's folder, or check that it holds a run of the same recipe. Raises ValueError."""
    if accelerator.is_main_process:
        open_run(asdict(recipe), out, resume=resume)
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        open_run(asdict(recipe), out, resume=True)

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
from agent.prompted import HISTORY, THOUGHT_TOKENS, Setting
from agent.view import View
from agent.vlm.chat_template import end_of_turn, to_model
from agent.vlm.checkpoint import Manifest, save_checkpoint
from agent.vlm.free_text import Form
from agent.vlm.policy import grow, load_model
from agent.vlm.turn_grammar import TOKENS, TurnGrammar, add_action_tokens, form_of
from training.data.examples import Examples
from training.data.learned_from import episodes_learned
from training.loop import Loop, Plan
from training.ranks import Ranks
from training.recipe import OnProgress, ignore_progress, open_run
from training.vlm.examples import Batch, TextWriter, TokenWriter, Writer, encode_examples, log_probabilities

if TYPE_CHECKING:
    from accelerate import Accelerator

MODEL, STATE, LOGS = "model", "state.pt", "tensorboard"
SPEECH_TOKENS = 64
WARM_SHARE = 0.05  # of the steps, in which the learning rate rises


@dataclass(frozen=True)
class BcRecipe:
    """How to fine-tune. `model`: a folder or a name; `data`: folders of episodes.

    `lora`: train low-rank changes of `rank` instead of the whole model. `batch`: decisions in a step. `micro`: how many
    of them are in memory at a time, all by default. `rate`: the learning rate at its peak, by default 2e-4 with LoRA,
    otherwise 2e-5. `history`: frames in a prompt. `gamma`: an action that comes for the k-th time in a row weighs
    gamma^(k-1). `form`: of actions, see agent.vlm.turn_grammar; "text" (agent.prompted) leaves the tokenizer as
    it is. `failures`: learn
    from failed episodes too. `workers`: processes that prepare batches. `checkpointing`: of activations, by default
    where there is a GPU.
    """

    model: str
    data: tuple[str, ...]
    lora: bool = False
    rank: int = 16
    epochs: float = 1.0
    batch: int = 8
    micro: int | None = None
    rate: float | None = None
    history: int = HISTORY
    gamma: float = 1.0
    form: Form = "tokens"
    failures: bool = False
    workers: int = 0
    checkpointing: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch < 1 or self.rank < 1 or self.history < 1 or (self.micro is not None and self.micro < 1):
            raise ValueError("batch, micro, rank and history are at least 1")
        if self.epochs <= 0 or not 0.0 <= self.gamma <= 1.0 or (self.rate is not None and self.rate <= 0):
            raise ValueError("epochs and lr are above 0, gamma is from 0 to 1")

    @property
    def peak_rate(self) -> float:
        return self.rate or (2e-4 if self.lora else 2e-5)


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

    `resume`: go on where a run in `out` was stopped; it needs the same recipe. Raises ValueError where `out` holds
    another run or the model does not fit the recipe, OSError where the model is not found and EpisodeError where there
    is nothing to learn from.
    """
    accelerator = _accelerator()
    if recipe.batch % accelerator.num_processes:
        raise ValueError(f"batch {recipe.batch} can't be split evenly over {accelerator.num_processes} processes")
    _open_run(recipe, out, resume, accelerator)
    if (out / MODEL).exists():
        return out / MODEL
    torch.manual_seed(recipe.seed)
    examples = Examples(recipe.data, history=recipe.history, gamma=recipe.gamma, failures=recipe.failures)
    spec = Setting(view=View.stretched(examples.frame_size, recipe.history)).spec
    bf16 = accelerator.mixed_precision == "bf16"
    model, processor, writer = _load(recipe, str(accelerator.device), bf16)
    batches = _Batches(examples, processor, writer, recipe, accelerator.process_index, accelerator.num_processes)
    loop: Loop[MicroBatch] = Loop(
        model, partial(_adamw, rate=recipe.peak_rate), _plan(recipe, batches.steps), state=out / STATE,
        ranks=AcceleratedRanks(accelerator), log=out / LOGS, on_progress=on_progress,
    )  # fmt: skip
    loader = DataLoader(batches, batch_size=None, sampler=range(loop.first, batches.steps), num_workers=recipe.workers)
    loop.run(loader, partial(_loss, model, accelerator))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        trained = {"recipe": asdict(recipe), "decisions": batches.steps * recipe.batch, "seconds": round(loop.seconds)}
        if bf16 and not recipe.lora:
            model.to(torch.bfloat16)
        save_checkpoint(model, processor, out / MODEL, Manifest(spec, recipe.form, trained, _lineage(recipe)))
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


def _load(recipe: BcRecipe, device: str, bf16: bool) -> tuple[Any, Any, Writer]:
    """The model to train, its processor, and what writes its turns. Raises ValueError and OSError."""
    precision = torch.bfloat16 if bf16 and recipe.lora else torch.float32
    model, processor = load_model(recipe.model, device=device, dtype=precision)
    if recipe.form == "tokens":
        add_action_tokens(processor.tokenizer)
        grow(model, processor.tokenizer)
    if form_of(processor.tokenizer) != recipe.form:
        raise ValueError("the model has action tokens already: --form tokens")
    writer = _writer(processor, recipe.form)
    if recipe.checkpointing or (recipe.checkpointing is None and torch.cuda.is_available()):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if recipe.lora:
        model = _with_lora(model, processor, recipe)
    model.train()
    return model, processor, writer


def _writer(processor: Any, form: Form) -> Writer:
    tokenizer, end = processor.tokenizer, end_of_turn(processor)
    if form == "text":
        return TextWriter(tokenizer, end)
    return TokenWriter(TurnGrammar(tokenizer, end, thought=THOUGHT_TOKENS, speech=SPEECH_TOKENS))


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


def _loss(plain: Any, accelerator: Accelerator, model: Any, part: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Minus the weighted log-probability of a micro-batch's turns, as a share of the whole batch's mean. `plain`: the
    model that `model` wraps."""
    here = to_model(part.batch, plain)
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


def _with_lora(model: Any, processor: Any, recipe: BcRecipe) -> Any:
    """`model` with low-rank changes of its linear layers; the action tokens get embeddings that are trained."""
    from peft import LoraConfig, get_peft_model

    new = None
    if recipe.form == "tokens":
        ids = processor.tokenizer.convert_tokens_to_ids(list(TOKENS))
        layers = [model.get_input_embeddings()]
        if not model.config.get_text_config().tie_word_embeddings and model.get_output_embeddings() is not None:
            layers.append(model.get_output_embeddings())
        new = {name: ids for name, module in model.named_modules() if any(module is layer for layer in layers)}
    return get_peft_model(
        model,
        LoraConfig(
            r=recipe.rank,
            lora_alpha=2 * recipe.rank,
            lora_dropout=0.05,
            target_modules="all-linear",
            trainable_token_indices=new,
        ),
    )

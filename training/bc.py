"""Behaviour cloning for any image-text-to-text model: fine-tune it on the decisions of recorded episodes.

An example is one decision: the prompt that `agent.vlm` builds for the context that the player was in, and the turn it
took; the loss is on the turn alone. Whole models or LoRA, in one process or under `torchrun`, with gradient
checkpointing and bf16 where there is a GPU.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from agent import codec
from agent.grammar import ACT, ACTION_TOKENS, SAY, THOUGHT, Form, Grammar, Turn, add_action_tokens, form_of
from agent.policy import Context, PolicySpec
from agent.runtime import fit
from agent.vlm import (
    HISTORY,
    THOUGHT_TOKENS,
    Manifest,
    encode_prompts,
    end_of_turn,
    grow,
    load_model,
    save_checkpoint,
    to_model,
)
from training.dataset import EpisodeDataset
from training.episodes import DamagedEpisodeError, Episode, EpisodeError
from training.repair import quarantine

if TYPE_CHECKING:
    from accelerate import Accelerator

MODEL, STATE, RECIPE, LOGS = "model", "state.pt", "recipe.json", "tensorboard"
NOISE_ACTOR = "noise"  # who acts in a disturbance, see training/disturb.py
SAVE_SECONDS = 60.0
SAVE_SHARE = 0.05  # of the time, at most, goes to saving states
SPEECH_TOKENS = 64
TELL_SECONDS = 1.0
WARM_SHARE, FLOOR = 0.05, 0.05  # of the steps in which the rate rises; of the rate, at the end
IGNORED = -100

Batch = dict[str, Tensor]
Told = Callable[[int, int, Mapping[str, float]], None]


@dataclass(frozen=True)
class BcRecipe:
    """How to fine-tune. `model`: a folder or a name; `data`: folders of episodes.

    `lora`: train low-rank changes of `rank` instead of the whole model. `batch`: decisions a step, `micro`: of them at
    a time in memory (all by default). `rate`: of learning; by default 2e-4 with LoRA, otherwise 2e-5. `history`: frames
    in a prompt. `gamma`: an action that is repeated for the k-th time in a row weighs gamma^(k-1). `form`: of actions,
    see agent.grammar; "text" leaves the tokenizer as it is. `failures`: learn from failed episodes too. `workers`:
    processes that prepare batches. `checkpointing`: of activations; by default where there is a GPU.
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


@dataclass(frozen=True)
class Example:
    """A decision to learn: what was known, what was said, and how much the action weighs."""

    context: Context
    turn: Turn
    weight: float = 1.0


@dataclass(frozen=True)
class _Told:
    """What an episode's steps say of its decisions, in order."""

    thoughts: tuple[str, ...]
    speeches: tuple[str, ...]
    actors: tuple[str, ...]
    done: tuple[bool, ...]
    repeats: tuple[int, ...]


def _told(episode: Episode) -> _Told:
    """Read the decisions' words from the steps. Raises DamagedEpisodeError."""
    steps = episode.steps.select(["asked", "thought", "speech", "actor"]).to_pydict()
    ticks: dict[int, list[int]] = {}
    for tick, asked in enumerate(steps["asked"]):
        if asked >= 0:
            ticks.setdefault(asked, []).append(tick)
    order = sorted(ticks)
    bounds = [*order, len(steps["asked"])]
    actions = episode.actions()
    tokens = [codec.encode(actions[a:b]) for a, b in zip(order, bounds[1:], strict=True)]
    if len(order) != episode.meta["decisions"]:
        raise DamagedEpisodeError(episode.path, "its decisions are not those that episode.json counts")
    repeats = [1]
    for before, now in pairwise(tokens):
        repeats.append(repeats[-1] + 1 if before == now else 1)
    outcome = episode.meta["outcome"]
    done = [False] * len(order)
    if outcome.get("done"):  # who is done does nothing else, from the verdict on where there is one
        since = outcome.get("decided")
        for i in reversed(range(len(order))):
            if tokens[i] != codec.NOOP or (since is not None and order[i] < since) or (since is None and any(done)):
                break
            done[i] = True

    def first(column: str, asked: int) -> str:
        return next((steps[column][tick] for tick in ticks[asked] if steps[column][tick]), "")

    thoughts, speeches, actors = (tuple(first(c, asked) for asked in order) for c in ("thought", "speech", "actor"))
    return _Told(thoughts, speeches, actors, tuple(done), tuple(repeats))


class Examples:
    """The decisions of recorded episodes as examples. What was done as a disturbance is seen, but not learned.

    `success`: learn from successful episodes and those that nobody judged only. Raises EpisodeError where there is
    nothing to learn from.
    """

    def __init__(
        self, roots: Sequence[str | Path], *, history: int = HISTORY, gamma: float = 1.0, failures: bool = False
    ):
        self.history, self.gamma = history, gamma
        self.dataset = EpisodeDataset(
            list(roots), keep=lambda meta: failures or meta["outcome"].get("success") is not False
        )
        first = self.dataset.episodes[0].meta
        self.frame_size = (int(first["frame_size"][0]), int(first["frame_size"][1]))
        self.tick_hz = float(first["tick_hz"])
        self._told: list[_Told | None] = []
        learned = []
        for episode in self.dataset.episodes:
            if episode.meta["tick_hz"] != self.tick_hz:
                raise EpisodeError(f"{episode.path}: {episode.tick_hz:g} ticks a second, others have {self.tick_hz:g}")
            try:
                told = _told(Episode(episode.path, episode.meta))
            except DamagedEpisodeError as error:
                told = None
                quarantine(episode.path, str(error))
            self._told.append(told)
            learned += [a != NOISE_ACTOR for a in told.actors] if told else [False] * episode.meta["decisions"]
        self._learned = np.array(learned)
        if not self._learned.any():
            raise EpisodeError(f"no decision to learn from under {', '.join(map(str, roots))}")

    def __len__(self) -> int:
        return int(self._learned.sum())

    def order(self, seed: int) -> npt.NDArray[np.int64]:
        """The numbers of all examples, shuffled; those of an episode are not far from each other."""
        order = self.dataset.order(seed)
        return order[self._learned[order]]

    def __getitem__(self, number: int) -> Example:
        """Example `number` of `order`; of a damaged episode, one of those that follow it."""
        for index in (*range(number, len(self._learned)), *range(number)):
            if self._learned[index]:
                try:
                    return self._example(index)
                except DamagedEpisodeError:
                    continue
        raise EpisodeError("every episode is damaged")

    def _example(self, index: int) -> Example:
        episode = int(np.searchsorted(self.dataset.starts, index, side="right")) - 1
        at = index - int(self.dataset.starts[episode])
        decisions, told = self.dataset.decisions(episode), self._told[episode]
        assert told is not None
        since = max(0, at - self.history + 1)
        context = Context(
            frames=tuple(fit(frame, self.frame_size) for frame in decisions.frames[since : at + 1]),
            instruction=decisions.instructions[at],
            actions=decisions.actions[since:at],
            thoughts=told.thoughts[since:at],
        )
        tokens = codec.encode(decisions.actions[at], told.done[at])
        turn = Turn(tokens, told.thoughts[at], told.speeches[at])
        return Example(context, turn, self.gamma ** (told.repeats[at] - 1))


def encode_examples(processor: Any, grammar: Grammar, examples: Sequence[Example], history: int) -> Batch:
    """Prompts and turns, padded on the right: what the processor gives, and `labels`, `weights` (B, L), both zero or
    IGNORED outside of the turns."""
    prompts = encode_prompts(processor, [e.context for e in examples], grammar.form, history)
    written = [grammar.write(e.turn) for e in examples]
    used = prompts["attention_mask"].bool()
    starts = used.sum(1).tolist()
    shape = (len(examples), max(start + len(turn.ids) for start, turn in zip(starts, written, strict=True)))
    batch = dict(prompts)
    batch["labels"], batch["weights"] = torch.full(shape, IGNORED), torch.zeros(shape)
    # A tensor of the ids' shape holds something for each token, such as its kind; 0 is text.
    pad = processor.tokenizer.pad_token_id
    for name in [name for name, value in prompts.items() if value.shape == used.shape]:
        fill = (grammar.end if pad is None else pad) if name == "input_ids" else 0
        batch[name] = torch.full(shape, fill, dtype=prompts[name].dtype)
        for row, start in enumerate(starts):
            batch[name][row, :start] = prompts[name][row, used[row]]
    for row, (example, (ids, action), start) in enumerate(zip(examples, written, starts, strict=True)):
        turn = slice(start, start + len(ids))
        batch["input_ids"][row, turn] = batch["labels"][row, turn] = torch.tensor(ids)
        batch["attention_mask"][row, turn] = 1
        batch["weights"][row, turn] = 1.0
        batch["weights"][row, start + action.start : start + action.stop] = example.weight
    return batch


def log_probabilities(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """The log-probability of each token of the turns, and its weight: (B, T) each, T columns from the first turn on;
    both are 0 outside of the turns."""
    labels, weights = batch["labels"], batch["weights"]
    first = int((labels != IGNORED).any(0).nonzero()[0])
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "weights")}
    # Logits of the prompt are not needed, and with a large vocabulary they would need most of the memory.
    logits = model(**inputs, logits_to_keep=labels.shape[1] - first + 1, use_cache=False).logits
    logits = logits[:, :-1].float().transpose(1, 2)
    return -F.cross_entropy(logits, labels[:, first:], ignore_index=IGNORED, reduction="none"), weights[:, first:]


class _Batches(Dataset[list[Batch]]):
    """Batch number k of a run, in micro-batches: always the same for the same recipe and process."""

    def __init__(
        self, examples: Examples, processor: Any, grammar: Grammar, recipe: BcRecipe, rank: int, ranks: int
    ) -> None:
        self._examples, self._processor, self._grammar, self._recipe = examples, processor, grammar, recipe
        self._rank, self._ranks = rank, ranks
        self._order = lru_cache(maxsize=2)(examples.order)
        self.steps = max(1, math.ceil(recipe.epochs * len(examples) / recipe.batch))

    def __getitem__(self, step: int) -> list[Batch]:
        recipe, total = self._recipe, len(self._examples)
        numbers = []
        for place in range(step * recipe.batch + self._rank, (step + 1) * recipe.batch, self._ranks):
            epoch, at = divmod(place, total)
            numbers.append(int(self._order(recipe.seed + epoch)[at]))
        examples = [self._examples[number] for number in numbers]
        micro = recipe.micro or len(examples)
        return [
            encode_examples(self._processor, self._grammar, examples[i : i + micro], recipe.history)
            for i in range(0, len(examples), micro)
        ]


def train_bc(
    recipe: BcRecipe, out: Path, *, resume: bool = False, told: Told = lambda done, total, figures: None
) -> Path:
    """Fine-tune and write the checkpoint folder OUT/model, which `--policy hf:OUT/model` plays; its path.

    `told(step, steps, figures)` hears of progress. `resume`: go on where a run in `out` was stopped; it needs the same
    recipe. Raises ValueError where `out` holds another run or the model does not do, OSError where it is not found and
    EpisodeError where there is nothing to learn from.
    """
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from torch.utils.tensorboard import SummaryWriter

    gpu = torch.cuda.is_available()
    bf16 = gpu and torch.cuda.is_bf16_supported()
    # Vision towers have layers whose output nobody reads; they get no gradients.
    parallel = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision="bf16" if bf16 else "no", kwargs_handlers=[parallel])
    if recipe.batch < accelerator.num_processes:
        raise ValueError(f"batch {recipe.batch} is less than the {accelerator.num_processes} processes")
    _prepare(recipe, out, resume, accelerator)
    if (out / MODEL).exists():
        return out / MODEL

    torch.manual_seed(recipe.seed)
    examples = Examples(recipe.data, history=recipe.history, gamma=recipe.gamma, failures=recipe.failures)
    precision = torch.bfloat16 if bf16 and recipe.lora else torch.float32
    model, processor = load_model(recipe.model, device=str(accelerator.device), dtype=precision)
    if recipe.form == "tokens":
        add_action_tokens(processor.tokenizer)
        grow(model, processor.tokenizer)
    if form_of(processor.tokenizer) != recipe.form:
        raise ValueError("the model has action tokens already: --form tokens")
    grammar = Grammar(processor.tokenizer, end_of_turn(processor), thought=THOUGHT_TOKENS, speech=SPEECH_TOKENS)
    if recipe.checkpointing or (recipe.checkpointing is None and gpu):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if recipe.lora:
        model = _with_lora(model, processor, recipe)
    model.train()

    rate = recipe.rate or (2e-4 if recipe.lora else 2e-5)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer: Any = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    model, optimizer = accelerator.prepare(model, optimizer)
    plain = accelerator.unwrap_model(model)
    batches = _Batches(examples, processor, grammar, recipe, accelerator.process_index, accelerator.num_processes)
    first, seconds = _load_state(out / STATE, plain, optimizer)

    main = accelerator.is_main_process
    writer = SummaryWriter(str(out / LOGS), purge_step=first) if main else None
    loader = DataLoader(batches, batch_size=None, sampler=range(first, batches.steps), num_workers=recipe.workers)
    began = saved = shown = time.monotonic()
    save_every = SAVE_SECONDS
    for step, parts in enumerate(loader, first):
        torch.manual_seed(recipe.seed + step)  # dropout draws the same in a run that was stopped
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(step, batches.steps)
        weight = sum(float(part["weights"].sum()) for part in parts)
        total = 0.0
        for part in parts:
            here = to_model(part, plain)
            here["weights"] = here["weights"].float()
            with accelerator.autocast():
                found, weights = log_probabilities(model, here)
            loss = -(found * weights).sum() / max(weight, 1e-6)
            accelerator.backward(loss)
            total += float(loss.detach())
        accelerator.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        now, last = time.monotonic(), step + 1 == batches.steps
        if writer is not None and (now - shown > TELL_SECONDS or last):
            shown = now
            figures = {"loss": total, "decisions/s": (step + 1 - first) * recipe.batch / (now - began)}
            for name, value in figures.items():
                writer.add_scalar(f"bc/{name}", value, step + 1)
            told(step + 1, batches.steps, figures)
        if main and now - saved > save_every and not last:
            _save_state(out / STATE, step + 1, seconds + now - began, plain, optimizer)
            saved = time.monotonic()
            save_every = max(SAVE_SECONDS, (saved - now) / SAVE_SHARE)
    accelerator.wait_for_everyone()
    if main:
        spec = PolicySpec(examples.frame_size, recipe.history, codec.CHUNK, examples.tick_hz, codec.VERSION)
        trained = {"recipe": asdict(recipe), "decisions": batches.steps * recipe.batch}
        trained["seconds"] = round(seconds + time.monotonic() - began)
        if bf16 and not recipe.lora:
            plain.to(torch.bfloat16)
        save_checkpoint(plain, processor, out / MODEL, Manifest(spec, recipe.form, trained))
        (out / STATE).unlink(missing_ok=True)
    if writer is not None:
        writer.close()
    accelerator.wait_for_everyone()
    return out / MODEL


def schedule(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a short rise, then a cosine down to FLOOR."""
    rise = min(1.0, (step + 1) / max(1.0, WARM_SHARE * steps))
    return rise * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _prepare(recipe: BcRecipe, out: Path, resume: bool, accelerator: Accelerator) -> None:
    """Make the run's folder, or see that it is of the same recipe."""
    wanted = json.loads(json.dumps(asdict(recipe)))
    file = out / RECIPE
    if file.is_file():
        if not resume:
            raise ValueError(f"{out}: there is a run already; go on with --resume or name a new folder")
        found = json.loads(file.read_text())
        differ = [name for name in wanted if found.get(name) != wanted[name]]
        if differ:
            name = differ[0]
            raise ValueError(f"{out}: the run has {name} {found.get(name)!r}, not {wanted[name]!r}; name a new folder")
    elif out.exists() and any(out.iterdir()):
        raise ValueError(f"{out}: it is not empty and holds no run; name a new folder")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wanted, indent=2) + "\n")
    accelerator.wait_for_everyone()


def _with_lora(model: Any, processor: Any, recipe: BcRecipe) -> Any:
    """`model` with low-rank changes of its linear layers; action tokens get embeddings of their own."""
    from peft import LoraConfig, get_peft_model

    new = None
    if recipe.form == "tokens":
        ids = processor.tokenizer.convert_tokens_to_ids([THOUGHT, ACT, SAY, *ACTION_TOKENS])
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


def _save_state(file: Path, step: int, seconds: float, model: Any, optimizer: Any) -> None:
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    part = file.with_name(f".tmp-{file.name}")
    torch.save({"step": step, "seconds": seconds, "model": trained, "optimizer": optimizer.state_dict()}, part)
    os.replace(part, file)


def _load_state(file: Path, model: Any, optimizer: Any) -> tuple[int, float]:
    """Go on from a saved state where there is one; the first step to do and the seconds spent so far."""
    if not file.exists():
        return 0, 0.0
    state = torch.load(file, weights_only=True, map_location="cpu")
    model.load_state_dict(state["model"], strict=False)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"])

"""Imitation for `small`: it learns to repeat the decisions of recorded episodes. Episodes need no annotations.

An example is one decision: the frame and the prompt that the player decided with, and the tokens that it wrote: the
place of the wanted thing, the thought, the speech and the action. Decisions of other episodes may be mixed in
(rehearsal), so that the model keeps what it knows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from agent import doom_codec as codec
from agent.policy import Decision
from agent.small.checkpoint import TICK_HZ, load_model, read_manifest, save_small
from agent.small.model import FRAME_SIZE, HISTORY, SmallModel
from agent.small.output_grammar import CHOICES, SPOKEN, THINK, THINKING, Output
from agent.small.place import read_place
from agent.small.prompt import prompt_of
from agent.small.token_ids import ACT, GO, PLACE, SAY, STARTS, WORD_ID
from training.data.episodes import EpisodeError
from training.data.examples import Example, Examples
from training.data.learned_from import episodes_learned
from training.loop import Loop, Plan
from training.ranks import Ranks, launch
from training.recipe import OnProgress, Section, ignore_progress, open_run
from training.small.batches import Batch, Text, assemble
from training.small.losses import text_loss
from training.small.stage import AVERAGE, WARM_STEPS, adamw, blend

MODEL, STATE, LOGS = "model", "state.pt", "tensorboard"
RATES = (0.75 * TICK_HZ, 1.25 * TICK_HZ)  # ticks a second at which a decision means nearly the same
_WORDS = re.compile(r"[a-z0-9]+|[?.]")


class ImitationRecipe(Section):
    """How to imitate.

    `parent`: the checkpoint to start from. `data`, `rehearsal`: folders of recorded episodes, which may hold weights
    (training.data.episode_weights). `rehearsal_share`: the share of rehearsal in a batch. `epochs`: how often every
    decision of `data` is seen. `batch`: decisions in a step. `rate`: the learning rate at its peak. `keep`: the share
    of the parent's weights in those that are saved (WiSE-FT). `failures`: learn from failed episodes too. `workers`:
    processes that train, each on one core.
    """

    parent: Path
    data: tuple[Path, ...] = pydantic.Field(min_length=1)
    rehearsal: tuple[Path, ...] = ()
    rehearsal_share: float = pydantic.Field(0.5, gt=0.0, lt=1.0)
    epochs: pydantic.PositiveFloat = 1.0
    batch: pydantic.PositiveInt = 32
    rate: pydantic.PositiveFloat = 2e-4
    keep: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    failures: bool = False
    workers: pydantic.PositiveInt = 1
    seed: int = 0


def imitate(
    recipe: ImitationRecipe, out: Path, *, resume: bool = False, on_progress: OnProgress = ignore_progress
) -> Path:
    """Train a checkpoint further and write the new one to OUT/model; its path.

    `resume`: go on where a run in `out` was stopped; it needs the same recipe. Raises CheckpointError for a parent that
    can't be used, EpisodeError where there is nothing to learn from, ValueError where `out` holds another run, and
    RuntimeError where a training process dies.
    """
    if recipe.batch < recipe.workers:
        raise ValueError(f"batch {recipe.batch} is less than the {recipe.workers} workers")
    read_manifest(recipe.parent)
    open_run(recipe.model_dump(mode="json"), out, resume=resume)
    if not (out / MODEL).exists():
        batches = ImitationBatches(recipe)
        launch(partial(train, recipe, batches, out), recipe.workers, out / ".meeting", on_progress)
    return out / MODEL


class ImitationBatches:
    """The batches of a run by step: decisions of its data in a shuffled order, and of its rehearsal in another one.
    Raises EpisodeError where there is nothing to learn from."""

    def __init__(self, recipe: ImitationRecipe) -> None:
        self._data = _examples(recipe.data, recipe.failures)
        self._rehearsal = _examples(recipe.rehearsal, recipe.failures) if recipe.rehearsal else None
        self._seed = recipe.seed
        rehearsed = min(recipe.batch - 1, max(1, round(recipe.batch * recipe.rehearsal_share)))
        self._rehearsed = rehearsed if self._rehearsal else 0
        self._new = recipe.batch - self._rehearsed
        self.steps = max(1, math.ceil(recipe.epochs * len(self._data) / self._new))

    def at(self, step: int, rank: int = 0, ranks: int = 1) -> list[Example]:
        """What process `rank` of `ranks` learns in a step; the same for the same recipe."""
        chosen = [(self._data, place) for place in range(step * self._new, (step + 1) * self._new)]
        if self._rehearsal is not None:
            first = step * self._rehearsed
            chosen += [(self._rehearsal, place) for place in range(first, first + self._rehearsed)]
        return [_pick(examples, place, self._seed) for examples, place in chosen[rank::ranks]]


def _examples(roots: Sequence[Path], failures: bool) -> Examples:
    """The examples of some folders. Raises EpisodeError for tick rates at which decisions mean something else."""
    examples = Examples(roots, history=HISTORY + 1, failures=failures, frame_size=FRAME_SIZE)
    for rate in examples.tick_rates:
        if not RATES[0] <= rate <= RATES[1]:
            raise EpisodeError(
                f"episodes with {rate:g} ticks a second; `small` learns from {RATES[0]:g} to {RATES[1]:g}"
            )
    return examples


def _pick(examples: Examples, place: int, seed: int) -> Example:
    epoch, at = divmod(place, len(examples))
    return examples[int(examples.order(seed + epoch)[at])]


class _Loaded(Dataset[list[Batch]]):
    """The batches of one process, encoded; each is one part of a step."""

    def __init__(self, batches: ImitationBatches, ranks: Ranks) -> None:
        self._batches, self._rank, self._ranks = batches, ranks.rank, ranks.count

    def __getitem__(self, step: int) -> list[Batch]:
        return [encode(self._batches.at(step, self._rank, self._ranks))]


def train(recipe: ImitationRecipe, batches: ImitationBatches, out: Path, ranks: Ranks, on_progress: OnProgress) -> None:
    """Train as one of the processes `ranks`; the first of them writes the checkpoint."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1 if device.type == "cpu" else 4)
    model = load_model(recipe.parent).to(device)
    before = [p.detach().clone() for p in model.parameters()]
    plan = Plan(
        name="imitation",
        steps=batches.steps,
        size=recipe.batch,
        unit="decisions",
        rate=recipe.rate,
        warmup=min(WARM_STEPS, max(1, batches.steps // 10)),
        average=AVERAGE,
        seed=recipe.seed,
    )
    loop: Loop[Batch] = Loop(
        model.train(), partial(adamw, rate=recipe.rate), plan, state=out / STATE, ranks=ranks, log=out / LOGS,
        on_progress=on_progress,
    )  # fmt: skip
    loader = DataLoader(_Loaded(batches, ranks), batch_size=None, sampler=range(loop.first, batches.steps))
    loop.run(loader, partial(_loss, device))
    if ranks.leads:
        blend(model, before, recipe.keep)
        trained: dict[str, Any] = {"recipe": recipe.model_dump(mode="json"), "decisions": plan.steps * plan.size}
        trained["seconds"] = round(loop.seconds)
        nouns = read_manifest(recipe.parent).get("nouns")
        save_small(
            model,
            out / MODEL,
            parent=recipe.parent,
            trained=trained,
            nouns=nouns,
            data=episodes_learned((*recipe.data, *recipe.rehearsal)),
            recipe=recipe.model_dump(exclude={"parent", "workers"}),
        )
        loop.discard_state()
    ranks.close()


def _loss(device: torch.device, model: SmallModel, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        return text_loss(model, batch.to(device))


def encode(examples: Sequence[Example]) -> Batch:
    """A batch of decisions, each with its own frame."""
    frames = np.stack([example.context.frames[-1] for example in examples])
    texts = [[text_of(example).times(example.weight)] for example in examples]
    return assemble(frames, [[prompt_of(example.context)] for example in examples], texts)


def text_of(example: Example) -> Text:
    """What the model should write: the recorded tokens, where `small` can write them, otherwise the decision encoded.

    From a player that never thinks in words, such as a person, nothing is learned about whether to think.
    """
    think = THINK if example.thinks else 0
    recorded = _text(example.tokens, think) if example.tokens else None
    return recorded or _encoded(example.decision, think)


def _encoded(decision: Decision, think: int) -> Text:
    words, place = read_place(decision.thought)
    action = codec.encode(decision.actions, decision.done)
    fields = [start + value for start, value in zip(STARTS, (*place, *action), strict=True)]
    speech = _word_ids(decision.speech)[:SPOKEN]
    said = [SAY, *speech] if speech else []
    text = _text([*fields[:PLACE], *_word_ids(words)[:think], *said, GO, *fields[PLACE:]], think)
    assert text is not None  # the grammar allows what was just put together
    return text


def _text(tokens: Sequence[int], think: int) -> Text | None:
    """The text of a decision's tokens; None where the grammar does not allow them."""
    output, choices = Output(ACT, think), list[int]()
    for token in tokens:
        if output.done or not any(first <= token < end for first, end in CHOICES[output.choice]):
            return None
        choices.append(output.choice)
        output.add(token)
    return Text([ACT, *tokens], choices, [1.0] * len(choices)) if output.done else None


def _word_ids(text: str) -> list[int]:
    """Ids of the words of a text; words that `small` can't write are left out."""
    ids = (WORD_ID.get(word, -1) for word in _WORDS.findall(text.lower()))
    return [token for token in ids if any(first <= token < end for first, end in CHOICES[THINKING][:-1])]

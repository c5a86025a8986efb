"""Evaluation during fine-tuning: what a model says of decisions that it does not learn from, and which weights said it
best."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from agent.vlm.chat_template import to_model
from envs.files import write_whole
from training.data.examples import Example, Examples
from training.vlm.examples import Batch, turn_logits, turn_part, weighed

if TYPE_CHECKING:
    from accelerate import Accelerator

EVALUATIONS, BEST = "evaluations.json", "best"
MOST = 256  # decisions in an evaluation


@dataclass(frozen=True)
class Evaluation:
    """After `step` steps: the `loss` of held-out turns, in nats a token, by the same weights as in training; and the
    `agreement`, the share of decisions whose action the model would write exactly as recorded, after the thought that
    was recorded."""

    step: int
    loss: float
    agreement: float


def evaluation_steps(steps: int, count: int) -> frozenset[int]:
    """After which of `steps` steps `count` evaluations are: evenly spaced, the last one after the last step."""
    return frozenset(-(-steps * number // count) for number in range(1, count + 1))


class HeldOut:
    """Evaluates `model` after `steps`, by up to MOST of `examples`, `micro` at a time and each process its share.

    `encode`: makes a batch of examples. `keep`: called in the leading process with an evaluation that is the best so
    far. `file`: holds the evaluations; a run that goes on at step `first` forgets those after it, and makes them anew.
    """

    def __init__(
        self,
        model: Any,
        examples: Examples,
        encode: Callable[[Sequence[Example]], Batch],
        accelerator: Accelerator,
        *,
        steps: frozenset[int],
        micro: int,
        keep: Callable[[Evaluation], None],
        file: Path,
        first: int,
    ) -> None:
        self._model, self._examples, self._encode, self._accelerator = model, examples, encode, accelerator
        self._steps, self._micro, self._keep, self._file = steps, micro, keep, file
        numbers = np.sort(examples.order(0))
        chosen = numbers[np.linspace(0, len(numbers) - 1, min(MOST, len(numbers))).astype(int)]
        self._mine = chosen[accelerator.process_index :: accelerator.num_processes].tolist()
        self.found = [found for found in read_evaluations(file) if found.step <= first]

    def __call__(self, done: int) -> Mapping[str, float]:
        """The figures after `done` steps; none where it is not time for them."""
        if done not in self._steps:
            return {}
        training = self._model.training
        self._model.eval()
        sums = measure(self._model, self._batches(), self._accelerator)
        self._model.train(training)
        loss, weight, agreed, decisions = self._accelerator.reduce(sums, "sum").tolist()
        found = Evaluation(done, loss / max(weight, 1e-6), agreed / decisions)
        self.found.append(found)
        if self._accelerator.is_main_process:
            if best_of(self.found) is found:
                self._keep(found)
            write_whole(self._file, json.dumps([asdict(found) for found in self.found], indent=2) + "\n")
        return {"held-out loss": found.loss, "held-out agreement": found.agreement}

    def _batches(self) -> Iterator[Batch]:
        for start in range(0, len(self._mine), self._micro):
            yield self._encode([self._examples[number] for number in self._mine[start : start + self._micro]])


@torch.no_grad()
def measure(model: Any, batches: Iterator[Batch], accelerator: Accelerator) -> Tensor:
    """Over all batches the sums of (4,): weighed losses, weights, decisions whose action agrees, decisions."""
    sums = torch.zeros(4, dtype=torch.float64 if model.device.type == "cpu" else torch.float32, device=model.device)
    for batch in batches:
        here = to_model(batch, model)
        with accelerator.autocast():
            logits = turn_logits(model, here)
        found, weights = weighed(logits, here)
        labels, acts = (turn_part(here, name) for name in ("labels", "acts"))
        right = ((logits.argmax(2) == labels) | ~acts).all(1)
        sums += torch.stack([-(found * weights).sum(), weights.sum(), right.sum(), torch.tensor(len(right))]).to(sums)
    return sums


def best_of(found: Sequence[Evaluation]) -> Evaluation:
    """The evaluation with the lowest loss; the earliest one of several."""
    return min(found, key=lambda evaluation: evaluation.loss)


def read_evaluations(file: Path) -> list[Evaluation]:
    """The evaluations of a run so far; none where there is no such file. Raises ValueError where it is damaged."""
    if not file.exists():
        return []
    try:
        return [Evaluation(**found) for found in json.loads(file.read_text())]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file}: it is damaged ({error}); remove it to go on without it") from error


def told(out: Path) -> list[str]:
    """The last and the best evaluation of a run, a line each; none if no episodes were held out."""
    found = read_evaluations(out / EVALUATIONS)
    named = (("Held out:   ", found[-1]), (f"Best:       hf:{out / BEST}, ", best_of(found))) if found else ()
    return [f"{name}loss {at.loss:.3f}, agreement {at.agreement:.0%} after step {at.step}" for name, at in named]

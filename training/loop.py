"""The one optimiser loop: learning-rate schedule, moving average of weights, clipping, ranks, resume, logging.

The caller brings what differs: the model, a factory of its optimizer, the batches and the loss. `Ranks` brings how the
processes work together. A run that is killed goes on from its last saved state and ends with the same weights as a run
that never stopped, as long as batch number k is always the same.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, Generic, TypeVar, cast

import torch
from torch import Tensor, nn

from envs.files import disk
from training.ranks import Ranks
from training.recipe import OnProgress, Progress, ignore_progress

SAVE_SECONDS = 30.0  # between two saved states
SAVE_SHARE = 0.05  # of the time, at most, goes to saving states
REPORT_SECONDS = 1.0  # between two progress reports
FLOOR = 0.05  # share of the learning rate that is left at the end

Part = TypeVar("Part")
Loss = Callable[[Any, Part], tuple[Tensor, Mapping[str, Tensor]]]
Evaluate = Callable[[int], Mapping[str, float]]  # figures after so many steps; none where it is not time for them
OptimizerFactory = Callable[[list[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to learn.

    `name`: the job's in progress reports and TensorBoard. `steps`: of the optimizer. `size`: units of data in a step,
    over all ranks. `unit`: what a unit is called. `rate`: the learning rate at its peak, which comes after `warmup`
    steps. `average`: decay of the moving average of weights, 0 for none. `clip`: the largest norm of the gradients.
    `seed`: of what the loss draws, such as dropout; step k draws the same in a run that was resumed.
    """

    name: str
    steps: int
    size: int
    rate: float
    unit: str = "frames"
    warmup: float = 100.0
    average: float = 0.0
    clip: float = 1.0
    seed: int = 0


class Loop(Generic[Part]):
    """Trains the parameters of `model` that require gradients.

    `make_optimizer`: called with those parameters. `state`: the file in which a killed run finds its last state.
    `log`: the folder for TensorBoard. `first`: the first step that `run` does; it is above 0 in a resumed run.
    """

    def __init__(
        self,
        model: nn.Module,
        make_optimizer: OptimizerFactory,
        plan: Plan,
        *,
        state: Path,
        ranks: Ranks | None = None,
        log: Path | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        self.plan, self.ranks, self.first = plan, ranks or Ranks(), 0
        self._model, self._state, self._log, self._on_progress = model, state, log, on_progress
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._forward, self._optimizer = self.ranks.prepare(model, make_optimizer(self._parameters))
        self._average = [p.detach().clone() for p in self._parameters] if plan.average else []
        self._figures: dict[str, float] = {}
        self._measured: Mapping[str, float] = {}  # by the last evaluation
        self._seconds = 0.0  # spent before this process began
        if state.exists():
            self._resume()
        self._began = self._reported = self._saved = time.monotonic()
        self._save_every = SAVE_SECONDS

    @property
    def seconds(self) -> float:
        """The time that the run has taken so far, with what came before it was resumed."""
        return self._seconds + time.monotonic() - self._began

    def run(self, batches: Iterable[Sequence[Part]], loss: Loss[Part], evaluate: Evaluate | None = None) -> None:
        """Take every step from `first` on, then give the model its averaged weights.

        Each batch is a sequence of parts whose gradients are added up, so that a batch may be larger than memory.
        `loss(model, part)` returns the part's loss and figures; a batch's figure is the sum over its parts. A figure
        that is not finite is left out of the report. `evaluate(done)` is called in every process, after each step.
        """
        self._began = self._reported = self._saved = time.monotonic()
        writer = self._summary_writer()
        with closing(writer) if writer else nullcontext():
            for step, parts in zip(range(self.first, self.plan.steps), batches, strict=True):
                figures = self._update(step, parts, loss)
                last = step + 1 == self.plan.steps
                measured = evaluate(step + 1) if evaluate else {}
                if self.ranks.leads and (last or measured or time.monotonic() - self._reported > REPORT_SECONDS):
                    self._report(step + 1, figures, measured, writer)
                if self.ranks.leads and not last and time.monotonic() - self._saved > self._save_every:
                    self._save(step + 1)
        with torch.no_grad():
            for parameter, mean in zip(self._parameters, self._average, strict=False):
                parameter.copy_(mean)

    def discard_state(self) -> None:
        """Remove the saved state: call this once the trained model is safe on disk."""
        self._state.unlink(missing_ok=True)

    def _update(self, step: int, parts: Sequence[Part], loss: Loss[Part]) -> dict[str, Tensor]:
        """Take one step; the figures of its batch."""
        torch.manual_seed(self.plan.seed + step)
        for group in self._optimizer.param_groups:
            group["lr"] = self.plan.rate * schedule(step, self.plan.steps, self.plan.warmup)
        figures: dict[str, Tensor] = {}
        for part in parts:
            value, found = loss(self._forward, part)
            self.ranks.backward(value)
            for name, figure in found.items():
                figures[name] = figure.detach() + figures.get(name, 0.0)
        self.ranks.share_gradients(self._parameters)
        self.ranks.clip(self._parameters, self.plan.clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._average:
            # The average follows faster at first, so that it forgets the weights that it began with.
            share = 1.0 - min(self.plan.average, step / (step + 10.0))
            torch._foreach_lerp_(self._average, [p.detach() for p in self._parameters], share)
        return figures

    def _report(self, done: int, figures: Mapping[str, Tensor], measured: Mapping[str, float], writer: Any) -> None:
        """Tell progress and TensorBoard the newest finite value of every figure, what was measured just now, and the
        speed since the start."""
        self._reported = time.monotonic()
        self._figures |= {name: float(value) for name, value in figures.items() if value.isfinite()}
        units = done * self.plan.size
        speed = (done - self.first) * self.plan.size / (self._reported - self._began)
        shown = {**self._figures, f"{self.plan.unit}/s": speed}
        for name, value in {**shown, **measured}.items() if writer is not None else ():
            writer.add_scalar(f"{self.plan.name}/{name}", value, units)
        self._measured = measured or self._measured
        shown |= self._measured
        self._on_progress(Progress(self.plan.name, units, self.plan.steps * self.plan.size, shown))

    def _summary_writer(self) -> Any:
        """What writes TensorBoard's events; None if there is no log to write."""
        if self._log is None or not self.ranks.leads:
            return None
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(self._log), purge_step=self.first * self.plan.size)

    def _save(self, step: int) -> None:
        """Write what a killed run needs to go on at `step`: whole, or not at all. Raises DiskFullError."""
        began = time.monotonic()
        self._state.parent.mkdir(parents=True, exist_ok=True)
        part = self._state.with_name(f".{self._state.name}.part")
        state = {
            "step": step,
            "seconds": self.seconds,
            "model": _learned(self._model),
            "optimizer": self._optimizer.state_dict(),
            "average": self._average,
        }
        with disk(self._state.parent):
            try:
                _write(part, state)
                os.replace(part, self._state)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
        self._saved = time.monotonic()
        self._save_every = max(SAVE_SECONDS, (self._saved - began) / SAVE_SHARE)

    def _resume(self) -> None:
        """Go on from the saved state. Raises ValueError if it is damaged, or that of another model."""
        with _usable(self._state):
            state = torch.load(self._state, weights_only=True, map_location="cpu")
            self._model.load_state_dict(state["model"], strict=False)
            self._optimizer.load_state_dict(state["optimizer"])
            for mean, saved in zip(self._average, state["average"], strict=True):
                mean.copy_(saved)
            self.first, self._seconds = int(state["step"]), float(state["seconds"])


def saved_step(state: Path) -> int:
    """The step at which a run with this state goes on; 0 where there is no saved state. Reads no weights. Raises
    ValueError if it is damaged."""
    if not state.exists():
        return 0
    with _usable(state):
        return int(torch.load(state, weights_only=True, map_location="cpu", mmap=True)["step"])
    raise AssertionError


def _write(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state. Raises OSError; torch itself says RuntimeError, and not what was wrong."""
    refused: list[OSError] = []
    with path.open("wb", buffering=0) as file:

        class Disk:
            def write(self, data: bytes) -> int:
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[file.write(rest) :]
                except OSError as error:
                    refused.append(error)
                    raise
                return len(data)

            def flush(self) -> None:
                """There is no buffer."""

        try:
            torch.save(state, cast("IO[bytes]", Disk()))
        except RuntimeError:
            if refused:
                raise refused[0] from None
            raise


@contextmanager
def _usable(state: Path) -> Iterator[None]:
    """A saved state that can't be used is told with what can be done."""
    try:
        yield
    except (
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        EOFError,
        UnpicklingError,
    ) as error:
        said = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{state}: the run can't go on from it ({type(error).__name__}: {said}); remove it to begin again"
        ) from error


def schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate at a step: it rises for `warmup` steps, and follows a cosine down to FLOOR."""
    rise = min(1.0, (step + 1) / warmup)
    return rise * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _learned(model: nn.Module) -> dict[str, Tensor]:
    """What training changes in a model: the parameters that require gradients, and the buffers."""
    buffers = {name for name, _ in model.named_buffers()}
    kept = {name: value for name, value in model.state_dict().items() if name in buffers}
    return kept | {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

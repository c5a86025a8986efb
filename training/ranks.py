"""`Ranks`: the processes that train one model together, and `launch`, which starts them on this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from envs.reaper import die_with_parent
from training.recipe import OnProgress
from training.workers.crew import ONE_THREAD, environment

# glibc returns freed memory to the system at once by default, and every training step asks for it again. That doubles
# the time of a step.
_ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "500000000",
}


class Ranks:
    """The processes that train together, as one of them sees them. This class is a process that trains alone.

    `rank`: this process, from 0. `count`: how many there are. Rank 0 leads: it reports, saves and logs.
    """

    rank, count = 0, 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def prepare(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The model that computes the loss and the optimizer that takes the steps: wrapped, where ranks need that."""
        return model, optimizer

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those that are there."""
        torch.autograd.backward(loss)

    def share_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients over the processes."""

    def clip(self, parameters: Sequence[nn.Parameter], norm: float) -> None:
        """Scale the gradients down where their norm over all parameters is above `norm`."""
        torch.nn.utils.clip_grad_norm_(parameters, norm)

    def close(self) -> None:
        """Wait for the other processes and leave them."""


class GlooRanks(Ranks):
    """Process `rank` of `count` on one machine. They meet at the file `meeting`, which must not exist before."""

    def __init__(self, rank: int, count: int, meeting: Path) -> None:
        self.rank, self.count = rank, count
        dist.init_process_group("gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=count)

    def share_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients over the processes, in one message."""
        # A part of the model that one process has no use for in this step may be in use in another.
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([g.reshape(-1) for g in grads])
        dist.all_reduce(flat)
        flat /= self.count
        for parameter, value in zip(parameters, torch.split(flat, [g.numel() for g in grads]), strict=True):
            parameter.grad = value.view_as(parameter)

    def close(self) -> None:
        dist.barrier()
        dist.destroy_process_group()


Job = Callable[[Ranks, OnProgress], None]  # what every process runs; only rank 0 reports progress


def launch(job: Job, count: int, meeting: Path, on_progress: OnProgress) -> None:
    """Run `job` in `count` new processes of one thread each, which meet at the file `meeting`. `job` must be picklable.

    Raises RuntimeError if a process dies; the others are ended then.
    """
    context = multiprocessing.get_context("spawn")
    reports: Any = context.Queue()
    meeting.unlink(missing_ok=True)
    processes = [
        context.Process(target=_rank, args=(os.getpid(), job, rank, count, meeting, reports)) for rank in range(count)
    ]
    with environment(_ALLOCATOR | ONE_THREAD):  # the allocator reads its settings when a process starts
        for process in processes:
            process.start()
    try:
        while any(process.is_alive() for process in processes):
            with contextlib.suppress(queue.Empty):
                on_progress(reports.get(timeout=0.5))
            if any(process.exitcode for process in processes):
                raise RuntimeError("a training process died; see the messages above")
    finally:
        for process in processes:
            process.terminate()
            process.join()
        meeting.unlink(missing_ok=True)


def _rank(parent: int, job: Job, rank: int, count: int, meeting: Path, reports: Any) -> None:
    """What one of the processes does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl+C and ends this process
    die_with_parent(parent)
    job(GlooRanks(rank, count, meeting) if count > 1 else Ranks(), reports.put)

"""`Ranks`: the processes that train one model together. `launch` starts them on this machine; `launched` is for those
that torchrun or `accelerate launch` has started."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

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

_PATIENCE = timedelta(days=7)  # of processes that wait for rank 0: torchrun ends them all where one has failed
T = TypeVar("T")


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

    def joined(self, own: T) -> list[T]:
        """What all processes have, in the order of their ranks."""
        return [own]

    def of_lead(self, own: T) -> T:
        """What rank 0 has."""
        return own

    def wait(self) -> None:
        """Wait for the other processes."""

    def close(self) -> None:
        """Wait for the other processes and leave them."""


class SharedRanks(Ranks):
    """Process `rank` of `count` in torch's process group, which is there already."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count

    def share_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients over the processes, in one message."""
        # A part of the model that one process has no use for in this step may be in use in another.
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([g.reshape(-1) for g in grads])
        dist.all_reduce(flat)
        flat /= self.count
        for parameter, value in zip(parameters, torch.split(flat, [g.numel() for g in grads]), strict=True):
            parameter.grad = value.view_as(parameter)

    def joined(self, own: T) -> list[T]:
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, own)
        return found

    def of_lead(self, own: T) -> T:
        said = [own]
        dist.broadcast_object_list(said)
        return said[0]

    def wait(self) -> None:
        dist.barrier()

    def close(self) -> None:
        self.wait()
        dist.destroy_process_group()


class GlooRanks(SharedRanks):
    """Process `rank` of `count` on one machine. They meet at the file `meeting`, which must not exist before."""

    def __init__(self, rank: int, count: int, meeting: Path) -> None:
        dist.init_process_group("gloo", init_method=f"file://{meeting.resolve()}", rank=rank, world_size=count)
        super().__init__(rank, count)


@contextlib.contextmanager
def launched() -> Iterator[Ranks]:
    """The processes that torchrun or `accelerate launch` has started, each on a GPU of its own where there are GPUs. If
    neither has, this process alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if gpu else "gloo", timeout=_PATIENCE)
    ranks = SharedRanks(dist.get_rank(), count)
    try:
        yield ranks
        ranks.wait()  # who leaves first takes threads away from under those that are still there
    finally:  # where something failed there is no waiting: the others may have failed too
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

"""`Workers`: what does many jobs of one kind at once, on this machine or on others.

Jobs, results and what makes a worker are pickled, and don't depend on where they run. `training.workers.hire` chooses
the Workers by name; `training.workers.crew` has those of this machine, `training.workers.ray_workers` those of a Ray
cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from envs.errors import UserError
from training.workers.usage import Usage


class Worker(Protocol):
    """Does jobs, one after the other, in its own process."""

    def work(self, job: Any) -> Any:
        """Do one job. A UserError or OSError ends all work; another exception makes this job `Failed`."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Failed:
    """A job that raised: `error` says what."""

    error: str


class WorkersError(UserError):
    """No worker can go on: the message says why."""


@runtime_checkable
class Workers(Protocol):
    """Does many jobs at once. A context manager; leaving it waits for the jobs at hand and frees the machines.

    `count`: how many jobs are done at once. `usage`: what they did with their time.
    """

    usage: Usage

    @property
    def count(self) -> int: ...

    def run(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Do these jobs; gives (job, result or Failed) in the order in which they are done. Raises WorkersError where
        no worker can go on."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


MakeWorker = Callable[[], Worker]  # called once in every process; picklable
# What an entry point of `ludens.workers` is called with: its argument ("" without one), what makes a worker, and how
# many jobs there are at most (None if that is not known).
MakeWorkers = Callable[[str, MakeWorker, int | None], Workers]

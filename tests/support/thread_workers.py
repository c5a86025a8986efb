"""Workers that are no Crew: threads of this process. They stand in for those of a cluster.

A test of what the workers do, rather than of the processes themselves, uses them too: a new process spends seconds on
importing torch before its first job.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Self

import pytest

from envs.errors import UserError
from training import ranks
from training.recipe import OnProgress
from training.workers import hire
from training.workers.usage import Usage
from training.workers.workers import Failed, MakeWorker, WorkersError

THREADS = "tests.support.thread_workers:ThreadWorkers"  # as `--workers` has it


class ThreadWorkers:
    """Every job gets a worker of its own. All that goes in and out is pickled, as it is on the way to other machines.

    `opened`: the arguments of all that were made.
    """

    opened: list[str] = []  # noqa: RUF012

    def __init__(self, argument: str, make: MakeWorker, most: int | None) -> None:
        self.count = min(3, most or 3)
        self.usage = Usage()
        self._make = pickle.dumps(make)
        ThreadWorkers.opened.append(argument)

    def run(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        with ThreadPoolExecutor(self.count) as pool:
            todo = {pool.submit(self._work, pickle.dumps(job)): job for job in jobs}
            for done in as_completed(todo):
                yield todo[done], pickle.loads(done.result())

    def _work(self, job: bytes) -> bytes:
        worker = pickle.loads(self._make)()
        try:
            return pickle.dumps(worker.work(pickle.loads(job)))
        except (UserError, OSError) as error:
            raise WorkersError(str(error)) from None
        except Exception as error:
            return pickle.dumps(Failed(f"{type(error).__name__}: {error}"))
        finally:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def train_here(job: ranks.Job, count: int, meeting: Path, on_progress: OnProgress) -> None:
    """What `training.ranks.launch` does, in this process. The job is pickled as it is on its way to a new one."""
    assert count == 1
    pickle.loads(pickle.dumps(job))(ranks.Ranks(), on_progress)


def no_processes(patch: pytest.MonkeyPatch, *launching: str) -> None:
    """Let a number of workers mean threads here, and modules that launch training train in this process.

    `launching`: the modules, such as "training.small.stage".
    """
    patch.setattr(hire, "make_crew", ThreadWorkers)
    for module in launching:
        patch.setattr(f"{module}.launch", train_here)

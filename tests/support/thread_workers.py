"""Workers that are no Crew: threads of this process. They stand in for those of a cluster."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Self

from training.workers.workers import Failed, MakeWorker


class ThreadWorkers:
    """Every job gets a worker of its own. All that goes in and out is pickled, as it is on the way to other machines.

    `opened`: the arguments of all that were made.
    """

    opened: list[str] = []  # noqa: RUF012

    def __init__(self, argument: str, make: MakeWorker, most: int | None) -> None:
        self.count = min(3, most or 3)
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
        except Exception as error:
            return pickle.dumps(Failed(f"{type(error).__name__}: {error}"))
        finally:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

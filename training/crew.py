"""A crew: many processes that each do one kind of job, on a core of their own.

A process that dies takes one job with it, which another one does again; too many deaths end the work with an error.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from envs.errors import UserError
from envs.reaper import die_with_parent

# Read when a process starts: on its one core, a second thread of torch would only spin for the first.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_DEATHS = 3  # of one worker, then the crew gives up: something is wrong with the machine
_STOP_SECONDS = 20.0  # what a worker has to finish the job at hand


class Worker(Protocol):
    """Does jobs, one after the other, in a process of its own."""

    def work(self, job: Any) -> Any:
        """Do one job. A UserError or OSError ends the crew; another exception makes this job `Failed`."""

    def close(self) -> None: ...


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables that hold for the processes that are started here."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True)
class Failed:
    """A job that raised: `error` says what."""

    error: str


class CrewError(UserError):
    """Nothing more can be done: the message says why."""


class Crew:
    """`workers` processes that do jobs. `hire` is called in each, and makes its Worker; it must be picklable.

    Closing the crew waits for the jobs at hand.
    """

    def __init__(self, hire: Callable[[], Worker], workers: int) -> None:
        self._hire = hire
        self._context = multiprocessing.get_context("spawn")
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._cores = [cores[i % len(cores)] if cores else None for i in range(workers)]
        self._deaths = [0] * workers
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        for number in range(workers):
            process, connection = self._start(number)
            self._processes.append(process)
            self._connections.append(connection)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Do these jobs; gives (job, result or Failed) as each is done. Raises CrewError where no more can be."""
        todo, again = iter(jobs), deque[Any]()
        at_hand: dict[int, Any] = {}  # worker -> job

        def give(number: int) -> None:
            try:
                job = again.popleft() if again else next(todo)
            except StopIteration:
                return
            at_hand[number] = job
            with contextlib.suppress(OSError):  # it is dead: the loop below sees that next
                self._connections[number].send((job,))

        for number in range(len(self._connections)):
            give(number)
        while at_hand:
            ready = wait([self._connections[number] for number in at_hand])
            for number in [n for n in at_hand if self._connections[n] in ready]:
                job = at_hand.pop(number)
                try:
                    result = self._connections[number].recv()
                except (EOFError, ConnectionError):
                    again.append(job)
                    self._revive(number)
                else:
                    if isinstance(result, CrewError):
                        raise result
                    yield job, result
                give(number)

    def close(self) -> None:
        """Let the workers finish their job, then end them."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.send(None)
        deadline = time.monotonic() + _STOP_SECONDS
        for process, connection in zip(self._processes, self._connections, strict=True):
            process.join(max(0.1, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()

    def _start(self, number: int) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._hire, self._cores[number], os.getpid()), name=f"crew-{number}"
        )
        # Ctrl+C is for us alone: a worker is born with it blocked, and is told to stop. What comes while it is blocked
        # here too reaches us right after.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with environment(ONE_THREAD):
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        return process, ours

    def _revive(self, number: int) -> None:
        self._deaths[number] += 1
        status = self._processes[number].exitcode
        if self._deaths[number] > _DEATHS:
            raise CrewError(f"a worker process died {_DEATHS + 1} times (last status {status}); see agent doctor")
        self._connections[number].close()
        self._processes[number], self._connections[number] = self._start(number)


def _work(connection: Connection, hire: Callable[[], Worker], core: int | None, parent: int) -> None:
    """A worker process: does what it is told to until it is told None."""
    os.setpgid(0, 0)  # the loop takes Ctrl+C where it can; out of the terminal's group it never comes
    die_with_parent(parent)
    if core is not None:
        os.sched_setaffinity(0, {core})  # the game inherits it: a wake-up on another core costs more than a step
    worker: Worker | None = None
    try:
        while (order := connection.recv()) is not None:
            worker = worker or hire()
            try:
                connection.send(worker.work(order[0]))
            except (UserError, OSError):
                raise
            except Exception as error:
                worker.close()  # whatever state it is in, the next job starts from a new one
                worker = None
                connection.send(Failed(f"{type(error).__name__}: {error}"))
    except (UserError, OSError) as error:
        with contextlib.suppress(OSError):
            connection.send(CrewError(str(error)))
    except EOFError:
        pass  # the parent is gone
    finally:
        if worker is not None:
            worker.close()

"""`Crew`: Workers on this machine, processes that each do one kind of job. Where they fill all cores, each has its own.

Where a process dies, another one does its job again. Too many deaths end the work with an error.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any, Self

from envs.errors import UserError
from envs.reaper import die_with_parent
from training.workers.usage import Usage
from training.workers.workers import Failed, MakeWorker, Worker, WorkersError

# Read when a process starts: on its one core, a second thread of torch would only spin for the first.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
MOST = 256  # processes
_DEATHS = 3  # of one process; after one more the crew gives up: something is wrong with the machine
_STOP_SECONDS = 20.0  # what a worker has to finish the job at hand


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started inside the block."""
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


def make_crew(argument: str, make: MakeWorker, most: int | None = None) -> Crew:
    """The entry point `crew`: `crew:4` is the same as `4`. Raises UserError for another argument."""
    text = argument or "2"
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise UserError(f"--workers crew:{argument}: expected 1 to {MOST} processes")
    return Crew(make, min(int(text), most or MOST))


class Crew:
    """`count` processes that do jobs. `make` is called in each and makes its Worker; it must be picklable.

    Closing the crew waits for the jobs at hand.
    """

    def __init__(self, make: MakeWorker, count: int) -> None:
        self.count = count
        self.usage = Usage()
        self._make = make
        self._context = multiprocessing.get_context("spawn")
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        # A crew that leaves cores free is placed by the system: pinned, two such runs could meet on one core.
        self._cores = [cores[i % len(cores)] if 0 < len(cores) <= count else None for i in range(count)]
        self._deaths = [0] * count
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        for number in range(count):
            process, connection = self._start(number)
            self._processes.append(process)
            self._connections.append(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Do these jobs; gives (job, result or Failed) in the order in which they are done. Raises WorkersError where
        no worker can go on."""
        todo, again = iter(jobs), deque[Any]()
        at_hand: dict[int, tuple[Any, float]] = {}  # worker -> job, and when it was given
        last = time.monotonic()

        def give(number: int) -> None:
            try:
                job = again.popleft() if again else next(todo)
            except StopIteration:
                return
            at_hand[number] = job, time.monotonic()
            with contextlib.suppress(OSError):  # it is dead: the loop below sees that next
                self._connections[number].send((job,))

        for number in range(len(self._connections)):
            give(number)
        while at_hand:
            ready = wait([self._connections[number] for number in at_hand])
            now = time.monotonic()
            self.usage.present += (now - last) * self.count
            last = now
            for number in [n for n in at_hand if self._connections[n] in ready]:
                job, given = at_hand.pop(number)
                try:
                    result = self._connections[number].recv()
                except (EOFError, ConnectionError):
                    again.append(job)
                    self.usage.again += 1
                    self._revive(number)
                else:
                    if isinstance(result, WorkersError):
                        raise result
                    self.usage.busy += now - given
                    yield job, result
                give(number)

    def close(self) -> None:
        """Let the workers finish their job, then end them; a second Ctrl+C ends them at once."""
        try:
            self._finish_jobs(time.monotonic() + _STOP_SECONDS)
        finally:
            for process, connection in zip(self._processes, self._connections, strict=True):
                process.kill()  # nothing happens to one that has ended
                process.join()
                connection.close()

    def _finish_jobs(self, deadline: float) -> None:
        """Wait until the workers have ended. What they still send is read, since a pipe that is full holds them up."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.send(None)
        for process, connection in zip(self._processes, self._connections, strict=True):
            heard: list[Any] = [process.sentinel, connection]
            while process.is_alive() and (left := deadline - time.monotonic()) > 0.0:
                if connection in wait(heard, left):
                    try:
                        connection.recv()
                    except (EOFError, OSError):
                        heard = [process.sentinel]

    def _start(self, number: int) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._make, self._cores[number], os.getpid()), name=f"crew-{number}"
        )
        # Ctrl+C is for this process alone: a worker starts with SIGINT blocked, and is told to stop over its pipe. A
        # SIGINT that arrives while it is blocked here too is delivered right after.
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
            raise WorkersError(f"a worker process died {_DEATHS + 1} times (last status {status}); see agent doctor")
        self._connections[number].close()
        self._processes[number], self._connections[number] = self._start(number)


def _work(connection: Connection, make: MakeWorker, core: int | None, parent: int) -> None:
    """A worker process: does one job after the other, until it is sent None."""
    os.setpgid(0, 0)  # outside the terminal's process group Ctrl+C never arrives
    die_with_parent(parent)
    if core is not None:
        os.sched_setaffinity(0, {core})  # the game inherits it: a wake-up on another core costs more than a step
    worker: Worker | None = None
    try:
        while (order := connection.recv()) is not None:
            worker = worker or make()
            try:
                connection.send(worker.work(order[0]))
            except (UserError, OSError):
                raise
            except Exception as error:
                worker.close()  # its state is unknown, so the next job starts with a new one
                worker = None
                connection.send(Failed(f"{type(error).__name__}: {error}"))
    except (UserError, OSError) as error:
        with contextlib.suppress(OSError):
            connection.send(WorkersError(str(error)))
    except EOFError:
        pass  # the parent is gone
    finally:
        if worker is not None:
            worker.close()

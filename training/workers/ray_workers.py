"""`RayWorkers`: Workers on every node of a Ray cluster, an actor for each core.

A job whose actor is lost, with its node or alone, is queued again. The actor is killed first, so that nobody does a job
beside its second try, and a job's result is given once. Actors start in place of lost ones and on nodes that join.

Jobs, results and what makes a worker travel between the nodes of the cluster by Ray, which pickles them. Who can reach
the ports of a cluster without a token can run any code on its nodes: docs/scale.md says how to close them.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import platform
import secrets
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from envs import extras
from envs.errors import UserError
from training.workers.usage import Usage
from training.workers.workers import Failed, MakeWorker, Worker, WorkersError

T = TypeVar("T")

LOOK = 1.0  # seconds between two looks at how many cores the cluster has
PATIENCE = 180.0  # seconds without any worker after which the work ends
_LOSSES = 3  # of one job; with one more it is the job that kills its workers
_STOP_SECONDS = 20.0  # what a worker has to finish the job at hand
# Ray's switch for clusters of several machines, named after the systems on which it is off by default. Where it is off,
# every process listens on 127.0.0.1 alone.
_SEVERAL = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_STARTS = 3  # tries to start a node
# A cluster that is started here shares its machine with whatever is busy there: its processes get more time to start
# than Ray gives them, and the workers are not the last in the queue for a core.
_PATIENT = {
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_worker_register_timeout_seconds": "240",
    "RAY_worker_niceness": "0",
}
_CONNECT_SECONDS = 10.0
_PACKAGES = ("envs", "agent", "tasks", "rewards", "training")


def make_ray(argument: str, make: MakeWorker, most: int | None = None) -> RayWorkers:
    """The entry point `ray`. `ray` starts a cluster of this machine alone, `ray:ADDRESS` joins the one whose head node
    has that address, `ray:auto` the one that this machine is a node of. Raises UserError."""
    extras.require("--workers ray", "ray")
    if "://" in argument:
        raise UserError(
            f"--workers ray:{argument}: Ray Client is not supported; run the command on a node of the cluster, and "
            "give the head's HOST:PORT, or auto"
        )
    return RayWorkers(argument, make, most)


@dataclass(eq=False)
class _Hired:
    """An actor. `arriving`: its first call; None as soon as that is answered."""

    handle: Any
    arriving: Any


@dataclass(eq=False)
class _Order:
    """A job, and how often it was lost."""

    job: Any
    losses: int = 0


class RayWorkers:
    """Actors that do jobs, one for each core of a cluster, at most `most`. `make` is called in each and makes its
    Worker. Raises UserError where there is no cluster."""

    def __init__(self, address: str, make: MakeWorker, most: int | None = None) -> None:
        self.usage = Usage()
        self._most = most
        self._name = f"--workers ray:{address}" if address else "--workers ray"
        self._ray = import_ray(address)
        self._joined = _join(self._ray, address, self._name)
        self._hired: list[_Hired] = []
        self._looked = self._seen = time.monotonic()
        self._why = "no node has a core to spare"
        try:
            options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0, "scheduling_strategy": "SPREAD"}
            self._actor = self._ray.remote(**options)(Actor)
            self._make = self._ray.put(make)
            self._grow()
        except BaseException:
            self.close()
            raise
        self.count = max(1, len(self._hired))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, jobs: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Do these jobs; gives (job, result or Failed) in the order in which they are done. Raises WorkersError where
        no worker can go on."""
        orders = _Orders(jobs)
        at_hand: dict[Any, tuple[_Hired, _Order]] = {}  # by the call that does it
        done: list[tuple[Any, Any]] = []
        last = self._seen = time.monotonic()
        while True:
            self._grow()
            busy = {hired for hired, _ in at_hand.values()}
            for hired in [one for one in self._hired if one.arriving is None and one not in busy]:
                if (order := orders.take()) is None:
                    break
                at_hand[hired.handle.work.remote(order.job)] = (hired, order)
            yield from done
            if not at_hand and orders.empty:
                return
            ready, _ = self._wait([*at_hand, *(one.arriving for one in self._hired if one.arriving is not None)])
            now = time.monotonic()
            self.usage.present += (now - last) * sum(one.arriving is None for one in self._hired)
            last = now
            done = []
            for call in ready:
                if call not in at_hand:
                    self._welcome(call)
                    continue
                hired, order = at_hand.pop(call)
                try:
                    result, seconds = self._ray.get(call)
                except self._ray.exceptions.RayTaskError as error:  # its arguments or its result can't be pickled
                    done.append((order.job, Failed(str(error).strip().splitlines()[-1])))
                except self._ray.exceptions.RayError as error:
                    self._dismiss(hired, error)
                    orders.again(order, self._why)
                    self.usage.again += 1
                else:
                    if isinstance(result, WorkersError):
                        raise result
                    self.usage.busy += seconds
                    done.append((order.job, result))

    def close(self) -> None:
        """Let the workers finish their job, then end them."""
        calls = [one.handle.close.remote() for one in self._hired if one.arriving is None]
        if calls:
            self._ray.wait(calls, num_returns=len(calls), timeout=_STOP_SECONDS)
        for one in self._hired:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(one.handle)
        self._hired = []
        if self._joined:
            self._ray.shutdown()

    def _grow(self) -> None:
        """An actor for every core that the cluster has now."""
        now = time.monotonic()
        if self._hired and now - self._looked < LOOK:
            return
        self._looked = now
        cores = int(self._ray.cluster_resources().get("CPU", 0))
        for _ in range(len(self._hired), cores if self._most is None else min(cores, self._most)):
            handle = self._actor.remote([self._make], os.getcwd())
            self._hired.append(_Hired(handle, handle.arrive.remote(digest())))

    def _wait(self, calls: list[Any]) -> tuple[list[Any], list[Any]]:
        """The calls that are done. Raises WorkersError where nobody has worked for long."""
        now = time.monotonic()
        if any(one.arriving is None for one in self._hired):
            self._seen = now
        elif now - self._seen > PATIENCE:
            raise WorkersError(f"{self._name}: no worker for {PATIENCE:.0f} s: {self._why}; see ray status")
        if not calls:
            time.sleep(LOOK)
            return [], []
        ready, left = self._ray.wait(calls, num_returns=1, timeout=LOOK)
        if left:  # what else is done already
            ready += self._ray.wait(left, num_returns=len(left), timeout=0)[0]
        return ready, left

    def _welcome(self, call: Any) -> None:
        """An actor is there. Raises WorkersError where it can't do our jobs."""
        hired = next(one for one in self._hired if one.arriving is call)
        try:
            problem = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            self._dismiss(hired, error)
            return
        if problem:
            raise WorkersError(f"{self._name}: {problem}")
        hired.arriving = None

    def _dismiss(self, hired: _Hired, error: Exception) -> None:
        """An actor is lost. It may live on where it can't be reached: it is killed there."""
        self._why = str(error).strip().splitlines()[0]
        self._hired.remove(hired)
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(hired.handle)


class _Orders:
    """The jobs that nobody has begun yet; lost ones first."""

    def __init__(self, jobs: Iterable[Any]) -> None:
        self._todo = iter(jobs)
        self._next: deque[_Order] = deque()
        self._pull()

    def _pull(self) -> None:
        for job in self._todo:
            self._next.append(_Order(job))
            return

    @property
    def empty(self) -> bool:
        return not self._next

    def take(self) -> _Order | None:
        """The next job; None if there is none."""
        if not self._next:
            return None
        order = self._next.popleft()
        if not self._next:
            self._pull()
        return order

    def again(self, order: _Order, why: str) -> None:
        """A job was lost. Raises WorkersError if that was too often."""
        order.losses += 1
        if order.losses > _LOSSES:
            raise WorkersError(f"a job lost its worker {order.losses} times, last: {why}")
        self._next.appendleft(order)


class Actor:
    """What runs on the nodes: a worker, made when its first job comes. `make`: a reference to what makes it, in a list,
    so that it is fetched with the first job and not before. `folder`: where the worker works, as the command does."""

    def __init__(self, make: list[Any], folder: str) -> None:
        self._make, self._folder = make[0], folder
        self._worker: Worker | None = None

    def arrive(self, code: str) -> str:
        """Be ready for jobs; why that can't be, "" if it can. `code`: which code to run."""
        node = platform.node()
        if digest() != code:
            return f"node {node} runs another ludens than this machine; install the same there, and start its ray again"
        try:
            os.chdir(self._folder)
        except OSError:
            return f"node {node} has no folder {self._folder}: all nodes have to see the files of the run"
        return ""

    def work(self, job: Any) -> tuple[Any, float]:
        """The result of a job, and how many seconds it took."""
        began = time.monotonic()
        return self._done(job), time.monotonic() - began

    def _done(self, job: Any) -> Any:
        if self._worker is None:
            try:
                make: MakeWorker = importlib.import_module("ray").get(self._make)
                self._worker = make()
            except Exception as error:
                return WorkersError(f"{platform.node()}: no worker can be made: {type(error).__name__}: {error}")
        try:
            return self._worker.work(job)
        except (UserError, OSError) as error:
            return WorkersError(f"{platform.node()}: {error}")
        except Exception as error:
            self.close()  # its state is unknown, so the next job starts with a new one
            return Failed(f"{type(error).__name__}: {error}")

    def close(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()


@cache
def digest() -> str:
    """Which code of ludens this process runs: the same files have the same digest."""
    found = hashlib.sha256()
    for package in _PACKAGES:
        root = Path(str(importlib.import_module(package).__file__)).parent
        for path in sorted(root.rglob("*.py")):
            found.update(f"{package}/{path.relative_to(root)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def import_ray(address: str) -> Any:
    """Ray, which reads these settings when it is imported and when it starts processes."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
    if "ray" not in sys.modules and address.rpartition(":")[0] in ("", "127.0.0.1", "localhost") and address != "auto":
        os.environ[_SEVERAL] = "0"
    if "ray" not in sys.modules and not address:
        # Other users of this machine reach its ports too: without the token they get no answer.
        os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
        for name, value in _PATIENT.items():
            os.environ.setdefault(name, value)
    return importlib.import_module("ray")


def patiently(start: Callable[[], T]) -> T:
    """Start a node of Ray, which gives up after 30 s: on a busy machine the next try may do it."""
    for _ in range(_STARTS - 1):
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
    return start()


def _join(ray: Any, address: str, name: str) -> bool:
    """Join a cluster, or start one; False where this process is in one already. Raises UserError."""
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {"address": address}
    if not address:
        # Ray would take a third of the memory for objects; results are seldom more than some MB.
        options = {"address": "local", "include_dashboard": False, "object_store_memory": 2**29}
        options["num_cpus"] = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        if os.environ.get(_SEVERAL) != "0":
            raise UserError(f"{name}: Ray was imported before, and would listen to other machines; start a new process")
    try:
        if address not in ("", "auto"):  # Ray would try for many minutes
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
        patiently(lambda: ray.init(**options, log_to_driver=False, logging_level="ERROR"))
    except Exception as error:
        said = next(iter(str(error).strip().splitlines()), type(error).__name__)
        mend = f"; ray start --address={address} makes this machine a node" if address not in ("", "auto") else ""
        raise UserError(f"{name}: no Ray cluster: {said}{mend}") from error
    return True

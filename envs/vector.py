"""`VectorWorld`: many worlds at once, in worker processes, with their frames in shared memory.

Each worker has several worlds and, by default, a core of its own that it shares with its games: waking a process on
another core costs more than stepping a small game. A worker that dies or hangs is killed with its games and started
anew; the episodes that it had are marked as broken.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Literal

import cloudpickle
import gymnasium
import numpy as np
import numpy.typing as npt

from envs.action import Action, KeyboardMouse
from envs.channel import Channel
from envs.reaper import spawn
from envs.vector_worker import Answer
from envs.world import World

Pixels = npt.NDArray[np.uint8]
_GRACE = 3.0  # seconds that a worker has to close its worlds


class WorkerError(RuntimeError):
    """A worker failed more often than its budget allows; the message ends with what it last wrote to stderr."""


@dataclass(frozen=True)
class Batch:
    """What `recv` brings: `worlds`, the index of each row; `pixels` uint8 (n, H, W, 3); the rest has length n."""

    worlds: list[int]
    pixels: Pixels
    rewards: npt.NDArray[np.float64]
    terminated: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    infos: list[dict[str, Any]]


@dataclass
class _Request:
    number: int
    operation: Literal["start", "reset", "step"]
    worlds: list[int]
    limit: float


@dataclass
class _Worker:
    makes: dict[int, Callable[[], World]]
    core: int
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None
    stderr: IO[bytes] | None = None
    pending: deque[_Request] = field(default_factory=deque)
    deadline: float = 0.0  # of the oldest request
    restarts: list[float] = field(default_factory=list)

    def tail(self) -> str:
        if self.stderr is None:
            return ""
        size = os.fstat(self.stderr.fileno()).st_size
        # pread: the worker writes through the same file offset
        text = os.pread(self.stderr.fileno(), 2000, max(0, size - 2000)).decode(errors="replace")
        return text.strip()


class VectorWorld:
    """N worlds that are stepped together.

    `makes`: one function a world; sent to the workers with cloudpickle, so that lambdas will do. All worlds have the
    same frame size and actions. `workers`: processes, by default one a core. `affinity`: "auto" pins worker k and its
    games to the k-th core that we may use, a sequence names the cores, None leaves it to the system. `timeout`:
    seconds that a worker may take to answer a request; `start_timeout`: to make its worlds. `restarts`: how often a
    worker may be started anew in its lifetime, and `restart_interval`: the least seconds between two of these; beyond
    that WorkerError is raised. `state`: whether `info["state"]` is brought here, which costs more than the frame.

    An episode begins with `reset` and nothing else: stepping a world whose episode is over is an error. An episode
    that is lost with its worker ends as truncated with `info["broken"]` True, a black frame and no reward.
    Not for use from several threads at once.
    """

    def __init__(
        self,
        makes: Sequence[Callable[[], World]],
        *,
        workers: int | None = None,
        affinity: Literal["auto"] | Sequence[int] | None = "auto",
        timeout: float = 30.0,
        start_timeout: float = 120.0,
        restarts: int = 10,
        restart_interval: float = 60.0,
        state: bool = True,
    ) -> None:
        if not makes:
            raise ValueError("VectorWorld needs at least one world")
        allowed = sorted(os.sched_getaffinity(0))
        count = min(len(makes), workers or len(allowed))
        cores = allowed if affinity == "auto" else list(affinity or [])
        self._timeout, self._start_timeout = timeout, start_timeout
        self._restarts, self._restart_interval = restarts, restart_interval
        self._state = state
        self._workers = [
            _Worker(dict(list(enumerate(makes))[k::count]), cores[k % len(cores)] if cores else -1)
            for k in range(count)
        ]
        self._worker_of = {index: worker for worker in self._workers for index in worker.makes}
        self._number = 0
        self._poll = select.poll()
        self._by_descriptor: dict[int, _Worker] = {}
        self._answers: dict[int, Answer] = {}
        self._busy: set[int] = set()
        self._running: set[int] = set()
        self._lost: dict[int, str] = {}  # worlds with a broken episode that is not reported yet
        self._frames: Pixels | None = None
        self._memory = os.memfd_create("frames", os.MFD_CLOEXEC)
        self.observation_space: gymnasium.spaces.Dict
        self.action_space: KeyboardMouse
        self.tick_hz: float
        try:
            for worker in self._workers:
                self._start(worker)
            while any(worker.pending for worker in self._workers):
                self._pump()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._worker_of)

    def reset(
        self,
        seeds: Sequence[int | None] | None = None,
        options: Sequence[dict[str, Any] | None] | dict[str, Any] | None = None,
        worlds: Sequence[int] | None = None,
    ) -> tuple[Pixels, list[dict[str, Any]]]:
        """Begin an episode in `worlds` (all by default): pixels (n, H, W, 3) and infos, in the order of `worlds`.

        `seeds` and `options` have an entry a world; one dict of options holds for all. A worker that fails here is
        started anew and asked again, since no episode is lost. Raises ValueError if a world refuses its options.
        """
        indices = list(range(len(self)) if worlds is None else worlds)
        each = [options] * len(indices) if options is None or isinstance(options, dict) else list(options)
        seeds = [None] * len(indices) if seeds is None else list(seeds)
        if not len(indices) == len(each) == len(seeds):
            raise ValueError(f"reset of {len(indices)} worlds got {len(seeds)} seeds and {len(each)} options")
        self._check_free(indices)
        todo = {index: (seed, option) for index, seed, option in zip(indices, seeds, each, strict=True)}
        infos: dict[int, dict[str, Any]] = {}
        while todo:
            self._submit("reset", todo)
            self._running.difference_update(todo)
            for index in todo:
                self._lost.pop(index, None)
            answers = self._take(list(todo))
            for index, _, _, _, info, _ in answers:
                if not info.get("broken"):
                    infos[index] = info
                    if index not in self._lost:
                        self._running.add(index)
                    del todo[index]
        return self._pixels(indices), [infos[index] for index in indices]

    def step(
        self, actions: Sequence[Action]
    ) -> tuple[Pixels, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """One tick in every world: pixels (N, H, W, 3), rewards (N,), terminated (N,), truncated (N,), infos."""
        return self.step_chunk([(action,) for action in actions])

    def step_chunk(
        self, chunks: Sequence[Sequence[Action]]
    ) -> tuple[Pixels, npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        """`World.step_chunk` in every world: each plays its own chunk, of any length, and is seen once, at the end."""
        if len(chunks) != len(self):
            raise ValueError(f"step of {len(self)} worlds got {len(chunks)} actions")
        self.send(dict(enumerate(chunks)))
        batch = self._batch(list(range(len(self))))
        return batch.pixels, batch.rewards, batch.terminated, batch.truncated, batch.infos

    def send(self, chunks: Mapping[int, Sequence[Action]]) -> None:
        """Let the worlds `chunks` names play their chunks, and return at once; `recv` brings what came of it.

        Raises ValueError on an action outside of the space or a world whose answer is still awaited, and
        `gymnasium.error.ResetNeeded` for a world without a running episode; nothing is sent then.
        """
        self._check_free(chunks)
        payloads = {index: self._encoded(index, chunk) for index, chunk in chunks.items()}
        for index in payloads:
            if index not in self._running and index not in self._lost:
                raise gymnasium.error.ResetNeeded(f"world {index} has no running episode: call reset(worlds=[{index}])")
        for index in [index for index in payloads if index in self._lost]:
            del payloads[index]
            self._busy.add(index)
            self._break(index, self._lost.pop(index))
        self._submit("step", payloads)

    def recv(self, at_least: int = 1) -> Batch:
        """What came of `send`, as soon as `at_least` worlds have answered (or all that are awaited, if fewer)."""
        if not self._busy:
            raise ValueError("recv() without send(): no answer is awaited")
        while len(self._answers) < min(at_least, len(self._busy)):
            self._pump()
        return self._batch(list(self._answers))

    def close(self) -> None:
        """Close every world and end every process. Safe to call twice."""
        for worker in self._workers:
            if worker.channel is not None and not worker.pending:
                _send(worker.channel, (0, "close", []))
            elif worker.process is not None:
                _kill(worker.process)
        deadline = time.monotonic() + _GRACE
        for worker in self._workers:
            if worker.channel is not None:
                end = select.poll()  # which shows as readable
                end.register(worker.channel, select.POLLIN)
                end.poll(max(0.0, deadline - time.monotonic()) * 1000)
            self._discard(worker)
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def __enter__(self) -> VectorWorld:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Requests and answers

    def _check_free(self, indices: Iterable[int]) -> None:
        for index in indices:
            if index not in self._worker_of:
                raise ValueError(f"there is no world {index}: they are numbered 0 to {len(self) - 1}")
            if self._worker_of[index].channel is None:
                raise WorkerError(f"world {index}: its worker is past its budget of restarts, or close() was called")
            if index in self._busy:
                raise ValueError(f"world {index} has not answered yet: call recv() first")

    def _encoded(self, index: int, chunk: Sequence[Action]) -> list[tuple[Any, ...]]:
        if not chunk:
            raise ValueError(f"world {index}: expected at least one action")
        fields: list[tuple[Any, ...]] = []
        last: Action | None = None
        for action in chunk:
            if action is not last:
                if not self.action_space.contains(action):
                    raise ValueError(f"world {index}: {action!r} is not in {self.action_space!r}")
                encoded = (action.keys, action.buttons, action.look, action.pointer, action.wheel)
                last = action
            fields.append(encoded)
        return fields

    def _submit(self, operation: Literal["reset", "step"], payloads: Mapping[int, Any]) -> None:
        for worker in self._workers:
            jobs = [(index, payloads[index]) for index in worker.makes if index in payloads]
            if not jobs:
                continue
            assert worker.channel is not None  # `_check_free` saw to it
            self._number += 1
            request = _Request(self._number, operation, [index for index, _ in jobs], self._timeout)
            self._busy.update(request.worlds)
            self._expect(worker, request)
            _send(worker.channel, (request.number, operation, jobs))

    def _expect(self, worker: _Worker, request: _Request) -> None:
        worker.pending.append(request)
        if len(worker.pending) == 1:
            worker.deadline = time.monotonic() + request.limit

    def _take(self, indices: list[int]) -> list[Answer]:
        """The answers of `indices`, waited for; ended episodes are taken note of."""
        while not self._answers.keys() >= set(indices):
            self._pump()
        answers = [self._answers.pop(index) for index in indices]
        self._busy.difference_update(indices)
        for index, _, terminated, truncated, _, error in answers:
            if terminated or truncated:
                self._running.discard(index)
            if error is not None:
                raise ValueError(f"world {index}: {error}")
        return answers

    def _batch(self, indices: list[int]) -> Batch:
        answers = self._take(indices)
        return Batch(
            indices,
            self._pixels(indices),
            np.array([answer[1] for answer in answers], np.float64),
            np.array([answer[2] for answer in answers], np.bool_),
            np.array([answer[3] for answer in answers], np.bool_),
            [answer[4] for answer in answers],
        )

    def _pixels(self, indices: list[int]) -> Pixels:
        assert self._frames is not None
        return self._frames.copy() if indices == list(range(len(self))) else self._frames[indices]

    def _pump(self) -> None:
        """Wait for the next answers, or for a worker that died or is past its deadline."""
        waiting = [worker.deadline for worker in self._workers if worker.pending]
        if not waiting:
            raise WorkerError("no answer is on its way: a worker is past its budget of restarts")
        for descriptor, _ in self._poll.poll(max(0.0, min(waiting) - time.monotonic()) * 1000 + 1):
            worker = self._by_descriptor[descriptor]
            self._read(worker)
            while worker.channel is not None and worker.channel.ready:
                self._read(worker)
        now = time.monotonic()
        for worker in self._workers:
            if worker.pending and now >= worker.deadline:
                self._fail(worker, f"did not answer within {worker.pending[0].limit:g} s")

    def _read(self, worker: _Worker) -> None:
        assert worker.channel is not None
        try:
            number, body = pickle.loads(worker.channel.recv())
        except (EOFError, OSError):
            self._fail(worker, "died")
            return
        # A channel belongs to one process, so an old worker can't answer for a new one; the number holds that
        # an answer meets its own request.
        if not worker.pending or worker.pending[0].number != number:
            self._fail(worker, "answered a request that was not made")
            return
        request = worker.pending.popleft()
        if worker.pending:
            worker.deadline = time.monotonic() + worker.pending[0].limit
        if request.operation == "start":
            self._started(worker, *body)
        else:
            for answer in body:
                self._answers[answer[0]] = answer

    # Processes

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        # recv reads a message to its end: a worker that stops in the middle of one must not stop us
        limit = struct.pack("ll", int(self._timeout) + 1, 0)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        worker.stderr = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the worker
        arguments = [theirs.fileno(), self._memory, os.getpid(), worker.core]
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        worker.process = spawn(
            [sys.executable, "-P", "-m", "envs.vector_worker", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=worker.stderr,
            stderr=worker.stderr,
            pass_fds=(theirs.fileno(), self._memory),
            start_new_session=True,  # its own process group, so that its games can be killed with it
            env={
                "OMP_NUM_THREADS": "1",
                **os.environ,
                "PYTHONPATH": path,
            },
        )
        theirs.close()
        worker.channel = Channel(ours)
        self._by_descriptor[worker.channel.fileno()] = worker
        self._poll.register(worker.channel.fileno(), select.POLLIN)
        self._expect(worker, _Request(0, "start", [], self._start_timeout))
        _send_bytes(worker.channel, cloudpickle.dumps((worker.makes, self._state)))
        if self._frames is not None:
            _send(worker.channel, self._frames.shape)

    def _started(self, worker: _Worker, shapes: set[tuple[int, ...]], space: KeyboardMouse, tick_hz: float) -> None:
        if self._frames is None:
            shape = (len(self), *next(iter(shapes)))
            size = int(np.prod(shape))
            os.ftruncate(self._memory, size)
            self._frames = np.frombuffer(mmap.mmap(self._memory, size), np.uint8).reshape(shape)
            self.observation_space = gymnasium.spaces.Dict(
                {"pixels": gymnasium.spaces.Box(0, 255, shape[1:], np.uint8)}
            )
            self.action_space, self.tick_hz = space, tick_hz
            for other in self._workers:
                assert other.channel is not None
                _send(other.channel, shape)
        if shapes != {self._frames.shape[1:]} or space != self.action_space or tick_hz != self.tick_hz:
            raise ValueError("VectorWorld: expected worlds of one frame size, action space and tick_hz; they differ")

    def _fail(self, worker: _Worker, why: str) -> None:
        """Kill a worker with its games, mark its episodes as broken, and start it anew if the budget allows."""
        self._discard(worker)
        tail = worker.tail()
        why_broken = f"its worker {why}"
        awaited = {index for request in worker.pending for index in request.worlds}
        worker.pending.clear()
        for index in worker.makes:
            if index in awaited:
                self._break(index, why_broken)
            elif index in self._answers:  # it answered before: that answer holds, the next step has no world
                if not (self._answers[index][2] or self._answers[index][3]):
                    self._lost[index] = why_broken
            elif index in self._running:
                self._lost[index] = why_broken
            self._running.discard(index)
        now = time.monotonic()
        too_soon = bool(worker.restarts) and now - worker.restarts[-1] < self._restart_interval
        if self._frames is None or too_soon or len(worker.restarts) >= self._restarts:
            if self._frames is None:
                budget = "while it made its worlds"
            elif too_soon:
                budget = f"twice within {self._restart_interval:g} s"
            else:
                budget = f"more than {self._restarts} times"
            raise WorkerError(
                f"the worker of worlds {list(worker.makes)} {why}, {budget}; its last words:\n{tail or '(none)'}"
            )
        worker.restarts.append(now)
        self._start(worker)

    def _break(self, index: int, why: str) -> None:
        """Answer for a world whose worker is gone. Its frame may be half written: black tells no lie."""
        if self._frames is not None:
            self._frames[index] = 0
        self._answers[index] = index, 0.0, False, True, {"broken": True, "why": why}, None

    def _discard(self, worker: _Worker) -> None:
        if worker.channel is not None:
            self._poll.unregister(worker.channel.fileno())
            del self._by_descriptor[worker.channel.fileno()]
            worker.channel.close()
            worker.channel = None
        if worker.process is not None:
            _kill(worker.process)
            worker.process = None


def _send(channel: Channel, message: Any) -> None:
    _send_bytes(channel, pickle.dumps(message, pickle.HIGHEST_PROTOCOL))


def _send_bytes(channel: Channel, data: bytes) -> None:
    with contextlib.suppress(OSError):  # it is dead or stuck, which shows where its answer is awaited
        channel.send(data)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the process and its group, its games among them. The group is ours until the process is waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()

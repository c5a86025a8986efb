"""`Remote`: starts a guest (`envs.bridge.server` in any Python), calls it with time-outs, and starts it anew."""

from __future__ import annotations

import contextlib
import hmac
import mmap
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal

import numpy as np

from envs import environment
from envs.bridge import server
from envs.bridge.server import GREETING, MAX_MESSAGE, VERSION, Channel, ProtocolError
from envs.errors import UserError
from envs.reaper import spawn

_GRACE = 5.0  # seconds that a guest has to close its world
_TAIL = 3000  # bytes of the log in an error
_LOG_LIMIT = 16 << 20  # bytes of the log on disk
_GREETING_LIMIT = 4096  # bytes from a client that has not shown the token
_DAY = 24 * 3600.0
_PREFIX = "ludens-bridge-"


class BridgeError(RuntimeError):
    """Something went wrong on the bridge."""


class GuestError(BridgeError):
    """The guest died, hung or spoke nonsense, and is gone; the message ends with what it last wrote.

    The next call starts a fresh one, if the budget allows.
    """


class RemoteError(BridgeError):
    """The guest is well, and what was called raised. `kind`: the exception's name; `trace`: its traceback there."""

    def __init__(self, kind: str, message: str, trace: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind, self.said, self.trace = kind, message, trace
        self.add_note(f"in the guest:\n{trace}")


class Remote:
    """A world in a guest process that is started when it is first called.

    `world`: "module:name" of a class or function there, called with `arguments` (plain values and arrays). `python`:
    the guest's interpreter, or the command that starts one; it needs numpy and msgpack. `path`: folders that the
    guest imports from. `env`: variables to set in the guest, beside those of ours that a game gets. `transport`:
    "unix" (a socket in a private folder) or "tcp" (loopback with a token). `memory`: bytes for frames; what does not
    fit travels over the socket. `timeout`: seconds for a call, `start_timeout` to start and to make the world.
    `restarts`: how often a guest may be started anew in all, and `restart_interval`: the least seconds between two.

    A guest that does not answer in time is killed with all its processes. Every guest has a connection, memory and
    request numbers of its own, so that an answer never meets another request. Threads take turns.
    """

    def __init__(
        self,
        world: str,
        *,
        arguments: Mapping[str, Any] | None = None,
        python: str | os.PathLike[str] | Sequence[str] = sys.executable,
        path: Sequence[str | os.PathLike[str]] = (),
        env: Mapping[str, str] | None = None,
        transport: Literal["unix", "tcp"] = "unix",
        memory: int = 16 << 20,
        timeout: float = 30.0,
        start_timeout: float = 120.0,
        restarts: int = 10,
        restart_interval: float = 60.0,
    ) -> None:
        if not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", world):
            raise UserError(f"bridge: expected the world as package.module:name, got {world!r}")
        self.world = world
        self.timeout = timeout
        self.started = 0  # guests so far
        self._arguments, self._path = dict(arguments or {}), [os.path.abspath(folder) for folder in path]
        self._python = [os.fspath(python)] if isinstance(python, str | os.PathLike) else list(python)
        self._env, self._transport, self._memory = dict(env or {}), transport, memory
        self._start_timeout, self._restarts, self._restart_interval = start_timeout, restarts, restart_interval
        self._restarted: list[float] = []
        self._guest: _Guest | None = None
        self._failed = False
        self._finalizer: weakref.finalize[..., Remote] | None = None
        self._description: dict[str, Any] = {}
        self._number = 0
        self._lock = threading.RLock()

    @property
    def description(self) -> dict[str, Any]:
        """`observation_space`, `action_space` (plain values) and `facts` of the world; starts the guest."""
        self.start()
        return self._description

    @property
    def facts(self) -> dict[str, Any]:
        """The running guest's Python, numpy and process id; empty if none runs."""
        return {} if self._guest is None else self._guest.facts

    def start(self) -> None:
        """Start the guest and make its world, unless it runs. Raises GuestError, also where the budget is spent."""
        with self._lock:
            if self._guest is not None:
                return
            if self._failed:
                self._spend()
            self.started += 1
            guest = self._guest = _Guest(self._python, self._env)
            self._finalizer = weakref.finalize(self, guest.kill)
            try:
                guest.connect(self._transport, self._memory, time.monotonic() + self._start_timeout)
            except BaseException as error:
                self._lose(error, "start", self._start_timeout)
                raise
            try:
                made = self._request("make", [self.world, self._arguments, self._path], self._start_timeout)
            except RemoteError:  # there is no world in this guest
                self._end()
                raise
            self._description = made

    def call(self, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        """What a method of `envs.bridge.server.Guest` gives: reset, step, step_chunk, get, call, look.

        Raises RemoteError if the call raised in the guest, GuestError if the guest is lost.
        """
        with self._lock:
            self.start()
            return self._request(method, list(arguments), self.timeout if timeout is None else timeout)

    def close(self) -> None:
        """Let the guest close its world, and end all its processes. May be called twice, and anything after it."""
        with self._lock:
            if self._guest is not None:
                with contextlib.suppress(BridgeError):
                    self._request("close", [], _GRACE)
            if self._guest is not None:
                self._guest.wait(_GRACE)  # it clears up behind itself as Python does at its end
            self._end()

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _request(self, method: str, arguments: list[Any], timeout: float) -> Any:
        assert self._guest is not None
        self._number += 1
        number = self._number
        try:
            self._guest.trim_log()
            deadline = time.monotonic() + timeout
            channel = self._guest.channel
            assert channel is not None
            channel.send([number, method, arguments], deadline)
            answer = channel.receive(deadline)
            match answer:
                case [int(about), True, value] if about == number:
                    return value
                case [int(about), False, {"type": str(kind), "message": str(said), "trace": str(trace)}] if (
                    about == number
                ):
                    raise RemoteError(kind, said, trace)
            raise ProtocolError(f"expected the answer to request {number}, got {repr(answer)[:80]}")
        except RemoteError:
            raise
        except BaseException as error:  # an interrupt too: its answer must not meet the next request
            self._lose(error, method, timeout)
            raise

    def _end(self) -> None:
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.kill()
        if self._finalizer is not None:
            self._finalizer.detach()  # it would keep the log open

    def _lose(self, error: BaseException, doing: str, timeout: float) -> None:
        """Kill the guest and raise GuestError, which tells what happened; return where `error` tells it best."""
        guest = self._guest
        assert guest is not None
        self._end()
        self._failed = True
        if isinstance(error, TimeoutError):
            why = f"did not answer {doing} within {timeout:g} s"
        elif isinstance(error, ProtocolError):
            why = f"broke the protocol in {doing}: {error}"
        elif isinstance(error, EOFError | OSError):
            why = f"died in {doing}"
        else:
            return
        words = guest.tail() or "(none)"
        raise GuestError(f"the guest of {self.world} {why}; its last words:\n{words}") from error

    def _spend(self) -> None:
        now = time.monotonic()
        if len(self._restarted) >= self._restarts:
            raise GuestError(f"the guest of {self.world} was started anew {self._restarts} times: no more")
        if self._restarted and now - self._restarted[-1] < self._restart_interval:
            raise GuestError(
                f"the guest of {self.world} failed twice within {self._restart_interval:g} s: look at its log first"
            )
        self._restarted.append(now)


class _Guest:
    """A process group, its log and its connection."""

    def __init__(self, python: list[str], env: dict[str, str]) -> None:
        self.channel: Channel | None = None
        self.facts: dict[str, Any] = {}
        self._log: IO[bytes] = tempfile.TemporaryFile("a+b")  # noqa: SIM115  # open as long as the guest
        self._process: subprocess.Popen[bytes] | None = None
        self._python, self._env = python, env
        _sweep()
        # where the guest has its temporary files, so that what it leaves there goes with it
        self._scratch = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True)

    def connect(self, transport: Literal["unix", "tcp"], memory: int, deadline: float) -> None:
        """Start the process and exchange greetings. Raises as `Channel` does."""
        token = secrets.token_hex(32)
        with (
            tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=_memory_folder()) as folder,
            socket.socket(socket.AF_UNIX if transport == "unix" else socket.AF_INET) as listener,
        ):
            listener.bind(f"{folder}/socket" if transport == "unix" else ("127.0.0.1", 0))
            listener.listen()
            bound = listener.getsockname()
            self._spawn(bound if transport == "unix" else f"127.0.0.1:{bound[1]}", token)
            channel = self._accept(listener, token, deadline)
            self.channel = channel
            if memory:
                with open(f"{folder}/frames", "w+b") as file:
                    file.truncate(memory)
                    channel.memory = np.frombuffer(mmap.mmap(file.fileno(), memory), np.uint8)
            channel.send([VERSION, f"{folder}/frames" if memory else None], deadline)
            if channel.receive(deadline) != "ready":
                raise ProtocolError("expected 'ready'")
        # both sides have the memory mapped and the socket open: neither needs its name any more

    def _spawn(self, address: str, token: str) -> None:
        # The guest is a foreign program. The variables that steer our Python would mislead the guest's.
        kept = environment.for_games()
        kept.update({"PYTHONUNBUFFERED": "1", "TMPDIR": self._scratch.name, **self._env, "LUDENS_BRIDGE_TOKEN": token})
        command = [*self._python, os.path.abspath(server.__file__), address]
        try:
            self._process = spawn(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,  # its own process group, which is killed as a whole
                env=kept,
            )
        except OSError as error:
            raise UserError(f"bridge: {command[0]} can't be started ({error.strerror}); give a Python") from error

    def _accept(self, listener: socket.socket, token: str, deadline: float) -> Channel:
        """The connection of our guest. A client without the token is disconnected."""
        while True:
            if self._process is not None and self._process.poll() is not None:
                raise EOFError("it ended before it connected")
            if time.monotonic() > deadline:
                raise TimeoutError
            listener.settimeout(0.1)
            try:
                sock, _ = listener.accept()
            except TimeoutError:
                continue
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channel = Channel(sock, limit=_GREETING_LIMIT)
            match _greeting(channel, deadline):
                case [str(said), int(version), str(given), dict(facts)] if said == GREETING and hmac.compare_digest(
                    given.encode(), token.encode()
                ):
                    if version != VERSION:
                        channel.close()
                        raise ProtocolError(f"it speaks version {version} of the bridge; expected {VERSION}")
                    self.facts, channel.limit = facts, MAX_MESSAGE
                    return channel
            channel.close()

    def wait(self, seconds: float) -> None:
        """Wait for the end of a guest that was asked to close."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def kill(self) -> None:
        """End every process of the guest. May be called twice."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        if self._process is not None and self._process.returncode is None:
            # not waited for yet, so that the group's number is still ours
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._scratch.cleanup()

    def tail(self) -> str:
        """What the guest last wrote."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), _TAIL, max(0, size - _TAIL)).decode(errors="replace").strip()

    def trim_log(self) -> None:
        """Forget the log's beginning when it has grown long; the guest appends, so that it goes on at the new end."""
        size = os.fstat(self._log.fileno()).st_size
        if size > _LOG_LIMIT:
            kept = os.pread(self._log.fileno(), _TAIL, size - _TAIL)
            self._log.truncate(0)
            os.write(self._log.fileno(), kept)


def _greeting(channel: Channel, deadline: float) -> Any:
    """The first message of a client, which has five seconds for it; None if no valid message comes."""
    try:
        return channel.receive(min(deadline, time.monotonic() + 5.0))
    except (ProtocolError, EOFError, OSError):
        return None


def _memory_folder() -> str | None:
    """Where files live in memory, if anywhere."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _sweep() -> None:
    """Remove the folders of clients that were killed a day ago or earlier.

    A process that we do not see may live in another container that shares our folders: hence the day.
    """
    horizon = time.time() - _DAY
    places = (Path(place) for place in {_memory_folder(), tempfile.gettempdir()} if place)
    for folder in (folder for place in places for folder in place.glob(f"{_PREFIX}*-*")):
        pid = folder.name[len(_PREFIX) :].split("-")[0]
        with contextlib.suppress(OSError):  # another process swept it
            if not os.path.exists(f"/proc/{pid}") and folder.stat().st_mtime < horizon:
                shutil.rmtree(folder, ignore_errors=True)

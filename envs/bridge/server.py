"""The guest's side of the bridge: serves one world to one client, over a socket, in whatever Python it is started.

    python server.py ADDRESS        ADDRESS: a Unix socket's path, or 127.0.0.1:PORT; the token comes in the environment

This one file needs numpy, msgpack and Python 3.9 alone, and imports nothing of ours, so that it can be started by its
path, or copied, where old versions of everything live. `envs.bridge.client` starts it and imports its wire.

A message is four bytes of length, big-endian, and as many bytes of msgpack. Two extension types carry arrays: INLINE
[dtype, shape, bytes] and SHARED [dtype, shape, offset], whose bytes lie in shared memory and are copied out before the
next request. Nothing is ever unpickled or evaluated: what does not decode raises `ProtocolError`.

The guest greets with [GREETING, VERSION, token, facts]; the client answers [VERSION, memory file or None]; the guest
says "ready" when it has mapped the file, which the client then unlinks. A request is [number, method, arguments], its
answer [number, True, value] or [number, False, {type, message, trace}]. One request is on its way at a time.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import importlib
import inspect
import mmap
import os
import re
import signal
import socket
import struct
import sys
import time
import traceback
from typing import Any

import msgpack
import numpy as np

VERSION = 1
GREETING = "ludens-bridge"
MAX_MESSAGE = 64 << 20  # bytes

_INLINE, _SHARED = 1, 2
_SMALL = 4096  # bytes; what is smaller is not worth the detour through shared memory
_DTYPE = re.compile(r"[<>|=][biufc]\d{1,2}")
_HEAD = struct.Struct(">I")


class ProtocolError(Exception):
    """What came over the wire is no message of this protocol."""


class Channel:
    """One side of a connection. Not for use from several threads at once.

    `memory`: shared bytes, a uint8 array. The side that `writes` places large arrays there, one message at a time;
    the other side copies them out. Without memory they travel in the message.
    """

    def __init__(self, sock: socket.socket, limit: int = MAX_MESSAGE) -> None:
        self.sock = sock
        self.limit = limit
        self.memory: np.ndarray | None = None
        self.writes = False
        self._used = 0

    def send(self, message: Any, deadline: float | None = None) -> None:
        """Send a message of plain values and arrays. `deadline`: by `time.monotonic()`.

        Raises ProtocolError for a message beyond the limit or one that msgpack can't hold, before a byte is sent;
        OSError (a time-out among them) if the other side is gone or does not read.
        """
        self._used = 0
        try:
            body = msgpack.packb(message, default=self._pack, use_bin_type=True, unicode_errors="replace")
        except (ValueError, TypeError, OverflowError) as error:
            raise ProtocolError(f"can't be sent: {type(error).__name__}: {error}") from error
        if len(body) > self.limit:
            raise ProtocolError(f"a message of {len(body)} bytes is over the limit of {self.limit}")
        self._wait(deadline)
        self.sock.sendall(_HEAD.pack(len(body)) + body)

    def receive(self, deadline: float | None = None) -> Any:
        """The next message. Raises EOFError at the end, ProtocolError for nonsense, OSError past the deadline."""
        (size,) = _HEAD.unpack(self._read(_HEAD.size, deadline))
        if size > self.limit:
            raise ProtocolError(f"a message of {size} bytes is over the limit of {self.limit}")
        return self.decode(self._read(size, deadline))

    def decode(self, body: bytes) -> Any:
        """The message that `body` holds. Raises ProtocolError, and nothing else, for what is none."""
        try:
            return msgpack.unpackb(body, raw=False, strict_map_key=False, ext_hook=self._unpack)
        except ProtocolError:
            raise
        except Exception as error:  # msgpack raises many kinds
            raise ProtocolError(f"not a message: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        self.memory = None
        self.sock.close()

    def _read(self, size: int, deadline: float | None) -> bytes:
        parts = []
        while size:
            self._wait(deadline)
            part = self.sock.recv(min(size, 1 << 20))
            if not part:
                raise EOFError("the connection ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, deadline: float | None) -> None:
        """Let the next call on the socket last until the deadline, which a guest that drips does not move."""
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise socket.timeout("timed out")
        self.sock.settimeout(left)

    def _pack(self, value: Any) -> Any:
        """What msgpack does not know: arrays, numpy's scalars, sets, dataclasses; anything else as its repr."""
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biufc":
                return value.tolist()
            dtype, shape, data = value.dtype.str, list(value.shape), np.ascontiguousarray(value)
            start, end = self._used, self._used + data.nbytes
            if self.writes and self.memory is not None and _SMALL <= data.nbytes <= len(self.memory) - start:
                self.memory[start:end] = data.reshape(-1).view(np.uint8)
                self._used = end
                return msgpack.ExtType(_SHARED, msgpack.packb([dtype, shape, start]))
            return msgpack.ExtType(_INLINE, msgpack.packb([dtype, shape, data.tobytes()], use_bin_type=True))
        if isinstance(value, np.generic):
            plain = value.item()
            return repr(plain) if isinstance(plain, np.generic) else plain
        if isinstance(value, (set, frozenset)):
            return sorted(value, key=repr)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return repr(value)[:200]

    def _unpack(self, code: int, data: bytes) -> np.ndarray:
        if code not in (_INLINE, _SHARED):
            raise ProtocolError(f"unknown extension {code}")
        parts = msgpack.unpackb(data, raw=False)
        if not isinstance(parts, list) or len(parts) != 3:
            raise ProtocolError("an array needs a type, a shape and its bytes")
        name, shape, where = parts
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            raise ProtocolError(f"an array of type {name!r:.40}; expected plain numbers")
        if not isinstance(shape, list) or len(shape) > 16 or not all(type(n) is int and n >= 0 for n in shape):
            raise ProtocolError(f"an array of shape {shape!r:.80}")
        dtype = np.dtype(name)
        size = dtype.itemsize
        for n in shape:
            size *= n
        if code == _SHARED:
            have = 0 if self.memory is None else len(self.memory)
            if self.writes or type(where) is not int or not 0 <= where <= have - size:
                raise ProtocolError("an array outside of the shared memory")
            assert self.memory is not None
            flat = self.memory[where : where + size].copy()
        else:
            if not isinstance(where, bytes) or len(where) != size:
                raise ProtocolError(f"an array of {shape!r:.80} whose bytes do not fit")
            flat = np.array(bytearray(where), np.uint8)
        return flat.view(dtype).reshape(shape)


class Guest:
    """The world, and gym's two dialects made one: `reset` gives (observation, info), `step` gives five things.

    Every public method can be requested. `make` comes first.
    """

    def __init__(self) -> None:
        self._world: Any = None

    def make(self, reference: str, arguments: dict[str, Any], path: list[str]) -> dict[str, Any]:
        """Call the `module:name` that `reference` names with `arguments`, and describe the world that it gives.

        `path`: folders to import from, before all others.
        """
        sys.path[:0] = path
        self._world = self.look(reference)(**arguments)
        facts = {name: getattr(self._world, name) for name in FACTS if hasattr(self._world, name)}
        facts["controls"] = dict(getattr(self._world, "controls", None) or {})
        return {
            "observation_space": describe_space(getattr(self._world, "observation_space", None)),
            "action_space": describe_space(getattr(self._world, "action_space", None)),
            "facts": facts,
        }

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        world = self._world
        # a wrapper of old gym takes anything and hands it on: ask the world inside
        takes = inspect.signature(world.reset).parameters
        if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
            takes = inspect.signature(getattr(world, "unwrapped", world).reset).parameters
        given: dict[str, Any] = {}
        if "seed" in takes:
            given["seed"] = seed
        elif seed is not None and hasattr(world, "seed"):
            world.seed(seed)
        if options:
            if "options" not in takes:
                raise ValueError("this world takes no reset options, and got: {}".format(", ".join(sorted(options))))
            given["options"] = options
        result = world.reset(**given)
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            return result
        return result, {}

    def step(self, action: Any) -> Any:
        space: Any = getattr(self._world, "action_space", None)
        if hasattr(space, "from_jsonable") and type(space).__name__ == "KeyboardMouse":  # a world of ours
            action = space.from_jsonable([action])[0]
        result = self._world.step(action)
        if len(result) == 5:
            observation, reward, terminated, truncated, info = result
        else:
            observation, reward, done, info = result
            truncated = bool(done) and bool(info.get("TimeLimit.truncated", False))
            terminated = bool(done) and not truncated
        return observation, float(reward), bool(terminated), bool(truncated), info

    def step_chunk(self, actions: list[Any]) -> Any:
        """Step through `actions`, at least one, and observe once; also says after how many the episode ended."""
        total, ticks = 0.0, 0
        for action in actions:
            observation, reward, terminated, truncated, info = self.step(action)
            total, ticks = total + reward, ticks + 1
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info, ticks

    def look(self, reference: str) -> Any:
        """What `module:name` is in the guest: a constant, a table."""
        module, _, name = reference.partition(":")
        value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
        return value

    def get(self, name: str) -> Any:
        """An attribute of the world; dots lead inwards."""
        value = self._world
        for part in _public(name).split("."):
            value = getattr(value, part)
        return value

    def call(self, name: str, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        """What a method of the world returns."""
        return self.get(name)(*arguments, **keywords)

    def close(self) -> None:
        world, self._world = self._world, None
        if world is not None and hasattr(world, "close"):
            world.close()


FACTS = ("tick_hz", "realtime", "deterministic", "keys", "buttons", "max_look", "frame_size")


def _public(name: str) -> str:
    if any(part.startswith("_") for part in name.split(".")):
        raise AttributeError(f"{name!r} is private")
    return name


def describe_space(space: Any) -> dict[str, Any] | None:
    """A space of gym or gymnasium, of any version, or of something that looks like one, as plain values."""
    if space is None:
        return None
    kind = next((base.__name__ for base in type(space).__mro__ if base.__name__ in _FIELDS), "")
    if not kind:
        return {"kind": type(space).__name__, "repr": repr(space)[:200]}
    if kind == "Dict":
        return {"kind": kind, "spaces": {str(key): describe_space(value) for key, value in space.spaces.items()}}
    if kind == "Tuple":
        return {"kind": kind, "spaces": [describe_space(value) for value in space.spaces]}
    described = {name: getattr(space, name) for name in _FIELDS[kind] if hasattr(space, name)}
    if kind == "Box":  # bounds that are the same everywhere need no array
        for name in ("low", "high"):
            bound = np.asarray(described[name])
            described[name] = bound.flat[0].item() if bound.size and (bound == bound.flat[0]).all() else bound
        described.update(dtype=str(np.dtype(space.dtype)), shape=list(space.shape))
    return {"kind": kind, **described}


_FIELDS: dict[str, tuple[str, ...]] = {
    "Dict": (), "Tuple": (), "Discrete": ("n", "start"), "MultiDiscrete": ("nvec",), "MultiBinary": ("n",),
    "Box": ("low", "high"), "KeyboardMouse": ("keys", "buttons", "max_look", "pointer", "wheel"),
}  # fmt: skip


def serve(channel: Channel) -> None:
    """Answer requests until the client closes the world or goes away."""
    guest = Guest()
    try:
        while True:
            request = channel.receive()
            if not isinstance(request, list) or len(request) != 3 or not isinstance(request[2], list):
                raise ProtocolError("expected [number, method, arguments]")
            number, method, arguments = request
            try:
                answer = [number, True, getattr(guest, _public(method))(*arguments)]
            except Exception as error:
                answer = [number, False, _told(error)]
            try:
                channel.send(answer)
            except ProtocolError as error:
                channel.send([number, False, _told(error)])
            if method == "close":
                return
    except (EOFError, ConnectionError):  # the client is gone
        guest.close()


def _told(error: Exception) -> dict[str, str]:
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"type": type(error).__name__, "message": str(error)[:2000], "trace": trace[-8000:]}


def connect(address: str, token: str) -> Channel:
    """Greet the client that listens at `address`, and map the memory that it offers."""
    host, _, port = address.rpartition(":")
    if host == "127.0.0.1":
        sock = socket.create_connection((host, int(port)), timeout=30.0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(address)
    channel = Channel(sock)
    facts = {"python": sys.version.split()[0], "numpy": np.__version__, "pid": os.getpid()}
    channel.send([GREETING, VERSION, token, facts])
    version, memory = channel.receive()
    if version != VERSION:
        raise ProtocolError(f"the client speaks version {version} of the bridge, this guest {VERSION}")
    if memory is not None:
        with open(memory, "r+b") as file:
            channel.memory, channel.writes = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8), True
    channel.send("ready")
    return channel


def watch_over() -> None:
    """Fork, and go on as the child; the parent takes the whole process group along when the client or we end.

    A world has processes of its own (Minecraft has Java), which a death signal to us alone would leave behind. On
    Linux the kernel tells the parent of the client's death, also by SIGKILL.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    before = os.getppid()
    alone = os.getpgrp() != os.getpid()  # started by hand: the group is not ours to kill
    child = 0

    def end(*_: Any) -> None:
        if alone:
            os.kill(child, signal.SIGKILL)
            os._exit(1)
        os.killpg(0, signal.SIGKILL)

    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    signal.signal(signal.SIGTERM, end)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: die with the parent that watches over us
        return
    libc.prctl(1, signal.SIGTERM)
    if os.getppid() != before:
        end()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    os.waitpid(child, 0)
    end()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a world over the bridge; started by envs.bridge.client.")
    parser.add_argument("address", help="a Unix socket's path, or 127.0.0.1:PORT")
    address = parser.parse_args().address
    token = os.environ.pop("LUDENS_BRIDGE_TOKEN", "")
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if entry != here]  # our modules are none of the world's
    watch_over()
    serve(connect(address, token))


if __name__ == "__main__":
    main()

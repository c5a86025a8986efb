"""`RemotePolicy`: plays with a policy that `agent serve` serves, on this machine or another: `remote:HOST:PORT`.

Everything that the policy knows travels with each request, so a connection that breaks costs no episode: the policy is
asked again over the next one. In a world that does not wait, the hands let go of everything meanwhile.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import ClientConnection, connect

from agent.models.keys import checked_key
from agent.policy import Context, Decision, PolicySpec
from agent.serve.messages import (
    LIMIT,
    PATH,
    PROTOCOL,
    MessageError,
    of_context,
    of_world,
    packed,
    to_decision,
    to_spec,
    unpacked,
)
from envs.errors import UserError
from envs.world import World

_T = TypeVar("_T")

TOKEN = "LUDENS_TOKEN"
_OPENING = 10.0  # seconds for a connection
_DEADLINE = 60.0  # seconds for an answer
PATIENCE = 5.0  # seconds in which a lost connection has to come back
_AGAIN = 0.2  # seconds between two attempts
_TOO_BIG = 1009  # how a websocket says so


class RemotePolicy:
    """Plays with the policy at `address`, HOST:PORT or ws(s)://HOST:PORT. Any thread may ask it.

    Raises UserError, which says how to mend it, where there is no server, the token is wrong, the server speaks another
    version, or the connection was lost and did not come back within PATIENCE.
    """

    def __init__(self, address: str, token: str) -> None:
        self._link = _Link(address, token)
        self._place: dict[str, Any] | None = None
        self.spec = _unhurried(self._link.open())

    def for_world(self, world: World) -> RemotePolicy:
        """The policy that plays `world`, over the same connection."""
        mine = object.__new__(RemotePolicy)
        mine._link, mine._place = self._link, of_world(world, type(world.unwrapped).__name__)
        answer = self._link.ask({"type": "fit", "world": mine._place})
        mine.spec = _unhurried(self._link.read(lambda: to_spec(answer.get("spec"))))
        return mine

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        """A decision for each context, as the policy makes them over there."""
        told = [of_context(context) for context in contexts]
        answer = self._link.ask({"type": "act", "world": self._place, "contexts": told})
        found = answer.get("decisions")
        if not isinstance(found, list) or len(found) != len(contexts):
            raise UserError(f"{self._link.who} answered no decisions; is it agent serve of this version?")
        return self._link.read(lambda: [to_decision(decision) for decision in found])

    def close(self) -> None:
        """End the connection. Safe to call twice."""
        self._link.close()


def _unhurried(spec: PolicySpec) -> PolicySpec:
    """A network may be slow for long: then the hands let go."""
    return replace(spec, starved="release")


class _Link:
    """One connection to a policy server, which is opened anew where it is lost. One request is on its way at a time."""

    def __init__(self, address: str, token: str) -> None:
        self._url, self.who = _checked(address)
        self._token = token
        self._lock = threading.Lock()
        self._socket: ClientConnection | None = None
        self._opened = ExitStack()

    def open(self) -> PolicySpec:
        """Connect; what the server's policy wants. Raises UserError."""
        with self._lock:
            try:
                return self._open()
            except (OSError, InvalidHandshake, ConnectionClosed) as error:
                raise UserError(
                    f"no policy server at {self.who}: {_said(error)}; start one there with 'agent serve --policy small'"
                ) from error

    def ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a message. Raises UserError, also where the server answers with an error."""
        try:
            body = packed(message)
        except MessageError as error:
            raise UserError(f"{self.who}: {error}; ask for fewer or smaller pictures") from error
        with self._lock:
            answer = self._exchange(body)
        if answer["type"] == "error":
            raise UserError(f"{self.who}: {answer.get('message')!s:.1000}")
        return answer

    def read(self, how: Callable[[], _T]) -> _T:
        """What `how` reads of an answer. Raises UserError where it can't."""
        try:
            return how()
        except MessageError as error:
            raise UserError(f"{self.who} answered what can't be read: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _exchange(self, body: bytes) -> dict[str, Any]:
        lost: float | None = None  # when
        while True:
            try:
                if self._socket is None:
                    self._open()
                return self._sent(body)
            except (OSError, InvalidHandshake, ConnectionClosed) as error:
                self._drop()
                if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == _TOO_BIG:
                    raise UserError(f"{self.who} refuses a message of {len(body):,} bytes: {_said(error)}") from error
                lost = lost or time.monotonic()
                if time.monotonic() - lost > PATIENCE:
                    raise UserError(
                        f"the connection to {self.who} was lost and did not come back within {PATIENCE:g} s "
                        f"({_said(error)}); every key is released; start 'agent serve' there again"
                    ) from error
            time.sleep(_AGAIN)

    def _open(self) -> PolicySpec:
        """Connect and greet. Raises UserError for what another attempt does not mend, and what the network raises."""
        try:
            opening = connect(
                self._url, additional_headers={"Authorization": f"Bearer {self._token}"}, compression=None, proxy=None,
                open_timeout=_OPENING, close_timeout=1.0, max_size=LIMIT, ping_interval=None,
            )  # fmt: skip
            self._socket = self._opened.enter_context(opening)
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                raise UserError(
                    f"{self.who} refuses the token; put the one that agent serve prints there into the environment "
                    f"variable {TOKEN}, or its file into --token-file"
                ) from error
            raise UserError(
                f"{self.who} is no policy server: HTTP {error.response.status_code}; expected the HOST:PORT of agent "
                "serve"
            ) from error
        hello = {"type": "hello", "protocol": PROTOCOL, "ludens": version("ludens")}
        welcome = self._sent(packed(hello))
        if welcome["type"] == "error":
            self._drop()
            raise UserError(f"{self.who}: {welcome.get('message')!s:.1000}")
        if welcome["type"] != "welcome" or welcome.get("protocol") != PROTOCOL:
            self._drop()
            raise UserError(
                f"{self.who} speaks protocol {welcome.get('protocol')!r:.20}, this client {PROTOCOL}; install the same "
                f"version of ludens on both machines, here it is {version('ludens')}"
            )
        return self.read(lambda: to_spec(welcome.get("spec")))

    def _sent(self, body: bytes) -> dict[str, Any]:
        assert self._socket is not None
        self._socket.send(body)
        try:
            answer = self._socket.recv(timeout=_DEADLINE)
        except TimeoutError as error:
            self._drop()
            raise UserError(f"{self.who} did not answer within {_DEADLINE:g} s") from error
        return self.read(lambda: unpacked(answer if isinstance(answer, bytes) else answer.encode()))

    def _drop(self) -> None:
        self._socket = None
        with suppress(OSError, ConnectionClosed):
            self._opened.close()


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return getattr(error, "strerror", None) or text or type(error).__name__


def _checked(address: str) -> tuple[str, str]:
    """The URL of the websocket at an address, and what to call the server. Raises UserError."""
    url = address if address.startswith(("ws://", "wss://")) else f"ws://{address}"
    expected = "expected remote:HOST:PORT, such as remote:127.0.0.1:8765, or remote:wss://HOST"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"remote: {error}; {expected}") from error
    if not host or (port is None and parts.scheme == "ws"):
        raise UserError(f"remote: {expected}")
    if parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/"):
        raise UserError(f"remote: the address holds more than host and port; {expected}, and the token in {TOKEN}")
    return f"{parts.scheme}://{parts.netloc}{PATH}", parts.netloc


def token_from(file: Path | None) -> str:
    """The token in a file, else that of the environment; "" where there is none. Raises UserError."""
    try:
        if file is not None:
            return checked_key(file.expanduser().read_text(), f"--token-file {file}")
        given = os.environ.get(TOKEN, "")
        return checked_key(given, TOKEN) if given else ""
    except (OSError, ValueError) as error:
        raise UserError(
            f"--token-file {file}: {error.strerror}" if isinstance(error, OSError) else str(error)
        ) from error


def load_remote(address: str = "", *, token_file: Path | None = None) -> RemotePolicy:
    """The policy `remote:HOST:PORT`. The token comes from a file, or from the environment. Raises UserError."""
    _checked(address)
    token = token_from(token_file)
    if not token:
        raise UserError(
            f"remote:{address} needs a token: put the one that agent serve prints there into the environment variable "
            f"{TOKEN}, or name its file with --token-file"
        )
    try:
        return RemotePolicy(address, token)
    except InvalidURI as error:
        raise UserError(f"remote:{address}: {error}") from error

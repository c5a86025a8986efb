"""`Doorkeeper`: connections of strangers are few, short, and never cost the run a file descriptor that it needs.

Every user of the machine can connect to 127.0.0.1. A connection that has not shown the page's cookie or token lives
for a few seconds. Only a few such connections exist at a time, and none is kept when descriptors get scarce.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 64  # connections of strangers at a time
SECONDS = 10.0  # that a stranger has to show the cookie or the token
RESERVE = 128  # file descriptors that belong to the run
BACKLOG = 16  # connections that are accepted in one go

Client = tuple[str, int]


class Doorkeeper:
    """Watches the connections of a page's server. All of it runs in the server's event loop."""

    def __init__(self) -> None:
        self._strangers: dict[Client, tuple[asyncio.Transport, asyncio.TimerHandle]] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """What the server is to speak HTTP with: uvicorn's protocol, under this doorkeeper."""
        keeper = self

        class Watched(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                keeper.came(self.client, transport)

            def connection_lost(self, error: Exception | None) -> None:
                keeper.left(self.client)
                super().connection_lost(error)

        return Watched

    def came(self, client: Client | None, transport: asyncio.Transport) -> None:
        """A client has connected. If there are too many strangers, the one that waits longest is dropped: a client with
        the cookie shows it at once."""
        if client is None or _scarce(transport):
            transport.abort()
            return
        if len(self._strangers) >= MOST:
            self._turn_out(next(iter(self._strangers)))
        timer = asyncio.get_running_loop().call_later(SECONDS, self._turn_out, client)
        self._strangers[client] = transport, timer

    def admit(self, client: Any) -> None:
        """The connection of `client`, as a request's scope names it, has shown the cookie or the token."""
        self.left(tuple(client) if client else None)

    def left(self, client: Client | tuple[Any, ...] | None) -> None:
        """The connection is over, or not a stranger's any more."""
        if client in self._strangers:
            self._strangers.pop(client)[1].cancel()

    def _turn_out(self, client: Client) -> None:
        transport, timer = self._strangers.pop(client)
        timer.cancel()
        transport.abort()


def _scarce(transport: asyncio.Transport) -> bool:
    """Whether a new connection takes one of the last file descriptors; the system hands out the lowest that is free."""
    sock = transport.get_extra_info("socket")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sock is not None and limit != resource.RLIM_INFINITY and sock.fileno() >= limit - min(RESERVE, limit // 4)


def more_descriptors() -> None:
    """Raise the limit on file descriptors as far as the system lets us: a run has a page, games and models."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    if soft != resource.RLIM_INFINITY and soft < wanted and sys.platform != "darwin":
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

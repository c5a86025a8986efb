"""`Background`: a web server in a thread beside the run."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import uvicorn

from agent.web.doorkeeper import BACKLOG, Doorkeeper
from envs.errors import UserError

_STARTING = 20.0  # seconds
_CLOSING = 5.0


def listen(port: int, host: str = "127.0.0.1") -> socket.socket:
    """A socket that is bound to `host` and `port`; port 0 takes a free one. Raises UserError where that can't be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle's algorithm where the protocol is named; with it an HTTP answer waits 40 ms for an ACK
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except socket.gaierror as error:
        sock.close()
        raise UserError(f"--host {host}: {error.strerror}; 127.0.0.1 is this machine alone") from error
    except OSError as error:
        sock.close()
        raise UserError(f"--port {port}: {error.strerror}; 0 takes a free one") from error
    return sock


class Background:
    """Serves the ASGI application `app` on `sock` in a thread called `name`, from now until `close`.

    `doorkeeper` watches the connections. `failed`: what to tell a person where the server does not start. `how`: more
    of uvicorn's settings. Raises UserError with `failed`.
    """

    def __init__(
        self, app: Any, sock: socket.socket, doorkeeper: Doorkeeper, *, name: str, failed: str, **how: Any
    ) -> None:
        config = uvicorn.Config(
            app, http=doorkeeper.protocol(), ws="wsproto", backlog=BACKLOG, log_level="error", access_log=False,
            timeout_graceful_shutdown=1, server_header=False, lifespan="off", **how,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([sock],), name=name, daemon=True)
        self._thread.start()
        end = time.monotonic() + _STARTING
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise UserError(failed)
            time.sleep(0.005)

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Block until it serves no more, or for so many seconds."""
        self._thread.join(seconds)

    def close(self) -> None:
        """Stop serving. Safe to call twice."""
        self._server.should_exit = True
        self._thread.join(_CLOSING)

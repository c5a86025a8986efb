"""`serve`: a folder on the loopback interface, for the pages of a game that lies on this machine.

Every user of the machine can connect to 127.0.0.1, so the server answers only our own browser: it opened the
secret address and sends the cookie it got there. On Linux the server disconnects other users at once.
"""

from __future__ import annotations

import os
import secrets
import socket
import stat
import threading
from functools import partial
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, ClassVar

_MOST = 64  # connections at a time
_SECONDS = 30.0  # that a connection may rest


class FolderServer(ThreadingHTTPServer):
    """Serves the files of `folder`, until `shutdown` and `server_close`. `entry`: the path before a file's name by
    which a browser enters: it gets a cookie there and goes on to the file."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.session = secrets.token_urlsafe(32)
        self.entry = f"/{secrets.token_urlsafe(32)}/"
        self._places = threading.BoundedSemaphore(_MOST)
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(self.folder)))

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether a connection may send requests: it belongs to our user, or the system does not tell its user."""
        uid = _owner(client_address[1], self.server_port)
        return uid is None or uid == os.geteuid()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a browser may hang up whenever it likes."""


class _Handler(SimpleHTTPRequestHandler):
    server: FolderServer
    timeout = _SECONDS  # of a connection that sends nothing
    # What a browser insists on; the tables of the system may lack or change them.
    extensions_map: ClassVar[dict[str, str]] = {  # type: ignore[misc]
        **SimpleHTTPRequestHandler.extensions_map,
        **dict.fromkeys((".js", ".mjs"), "text/javascript"),
        ".css": "text/css",
        ".html": "text/html",
        ".json": "application/json",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
    }

    def send_head(self) -> Any:
        # A foreign page whose host name resolves to this address sends its own name: refuse it.
        if self.headers.get("Host") != f"127.0.0.1:{self.server.server_port}":
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        begin = self.path[: len(self.server.entry)]
        if secrets.compare_digest(begin.encode(), self.server.entry.encode()):
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", "/" + self.path[len(begin) :].lstrip("/"))
            self.send_header("Set-Cookie", f"{self._cookie}={self.server.session}; Path=/; HttpOnly; SameSite=Strict")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if not self._entered():
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        if self.path == "/favicon.ico" and not Path(self.translate_path(self.path)).exists():
            self.send_response(HTTPStatus.NO_CONTENT)  # browsers ask for it unasked: no news for the console
            self.end_headers()
            return None
        if not _public(self.server.folder, Path(self.translate_path(self.path))):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    @property
    def _cookie(self) -> str:
        return f"ludens-files-{self.server.server_port}"

    def _entered(self) -> bool:
        """Whether the request has the cookie that the secret address gives."""
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return found is not None and secrets.compare_digest(found.value.encode(), self.server.session.encode())

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # a game that is being written changes between two resets
        super().end_headers()

    def list_directory(self, path: Any) -> IO[bytes] | None:  # type: ignore[override]
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the console of the page tells what is missing."""


def _public(folder: Path, path: Path) -> bool:
    """Whether a file or folder belongs to the page: it lies in `folder` itself, also where links lead, nothing on the
    way to it has a name that begins with a dot, and it is a regular file or a folder."""
    try:
        real = path.resolve()
        kind = real.stat().st_mode
    except (OSError, RuntimeError, ValueError):  # it is not there, links go in circles, or a name that can't be
        return False
    if not (real == folder or folder in real.parents):
        return False
    parts = (*path.relative_to(folder).parts, *real.relative_to(folder).parts)
    return not any(part.startswith(".") for part in parts) and (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def _owner(port: int, server_port: int) -> int | None:
    """The user whose socket connects 127.0.0.1:`port` with our `server_port`; None if the system does not tell."""
    loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
    local, remote = f"{loopback}:{port:04X}", f"{loopback}:{server_port:04X}"
    try:
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if fields[1:3] == [local, remote]:
                    return int(fields[7])
    except (OSError, ValueError, IndexError):
        pass
    return None


def serve(folder: Path) -> FolderServer:
    """Serve the files of `folder` at a free port of 127.0.0.1 from a thread, until `shutdown` and `server_close`."""
    server = FolderServer(folder)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="page server", daemon=True
    ).start()
    return server

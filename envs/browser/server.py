"""`serve`: a folder on the loopback interface, for the pages of a game that lies on this machine."""

from __future__ import annotations

import threading
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, ClassVar


class _Handler(SimpleHTTPRequestHandler):
    server: ThreadingHTTPServer
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
        # A page elsewhere whose name was pointed at this address asks with its own name: refuse it.
        if self.headers.get("Host") != f"127.0.0.1:{self.server.server_port}":
            self.send_error(HTTPStatus.FORBIDDEN)
            return None
        if self.path == "/favicon.ico" and not Path(self.translate_path(self.path)).exists():
            self.send_response(HTTPStatus.NO_CONTENT)  # browsers ask for it unasked: no news for the console
            self.end_headers()
            return None
        return super().send_head()

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # a game that is being written changes between two resets
        super().end_headers()

    def list_directory(self, path: Any) -> IO[bytes] | None:  # type: ignore[override]
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the console of the page tells what is missing."""


def serve(folder: Path) -> ThreadingHTTPServer:
    """Serve the files of `folder` at a free port of 127.0.0.1 from a thread, until `shutdown` and `server_close`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    server.daemon_threads = True
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="page server", daemon=True
    ).start()
    return server

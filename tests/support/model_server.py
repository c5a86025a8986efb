"""A service of chat completions on the loopback interface that misbehaves as told."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

Behaviour = Callable[[Any], None]


class FakeServer:
    """Answers the n-th request by the n-th behaviour of `script`, later ones by the last. `asked`: what came."""

    def __init__(self, *script: Behaviour) -> None:
        self.script = list(script)
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.over = Event()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.body = json.loads(body)
                fake.asked.append(self.body)
                fake.headers.append({key.lower(): value for key, value in self.headers.items()})
                behaviour = fake.script.pop(0) if len(fake.script) > 1 else fake.script[0]
                self.over = fake.over
                with contextlib.suppress(ConnectionError):  # the client has given up
                    behaviour(self)

            def log_message(self, *what: Any) -> None:
                """Says nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *what: Any) -> None:
                """A client that goes away is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def serving(*script: Behaviour) -> Iterator[FakeServer]:
    server = FakeServer(*script)
    try:
        yield server
    finally:
        server.close()


def send(status: int, body: str | bytes | dict[str, Any] = b"", length: int | None = None, **headers: str) -> Behaviour:
    """An answer; `length`: one that it wrongly announces."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body

    def behave(handler: Any) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("content-length", str(length or len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return behave


def says(text: Any, prompt: int = 7, completion: int = 3, **more: Any) -> Behaviour:
    """A good completion, or what looks like one."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop", "message": message, **more}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return send(200, {"choices": [choice], "usage": usage})


def streams(*events: dict[str, Any] | str) -> Behaviour:
    """Server-sent events, then the end of the connection."""

    def behave(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        for event in events:
            data = event if isinstance(event, str) else json.dumps(event)
            handler.wfile.write(f"data: {data}\n\n".encode())
            handler.wfile.flush()

    return behave


def piece(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **more}]}


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
COUNT = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


def hang(handler: Any) -> None:
    handler.over.wait(30)


def drip(handler: Any) -> None:
    """A byte now and then, so that no read ever times out."""
    handler.send_response(200)
    handler.send_header("content-length", "100000")
    handler.end_headers()
    end = time.monotonic() + 30
    while time.monotonic() < end and not handler.over.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def flood(handler: Any) -> None:
    """10 MB."""
    handler.send_response(200)
    handler.send_header("content-length", str(10_000_000))
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" " * 100_000)


def chooses(tokens: dict[str, float], prompt: int = 7) -> Behaviour:
    """A completion of one token with the log-probabilities of the likeliest ones. `tokens`: their probabilities."""
    top = [{"token": token, "logprob": math.log(chance)} for token, chance in tokens.items()]
    return says(next(iter(tokens)), prompt, 1, finish_reason="length",
                logprobs={"content": [{**top[0], "top_logprobs": top}]})  # fmt: skip

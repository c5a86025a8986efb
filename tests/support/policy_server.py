"""A policy server on the loopback interface, and clients of it that know nothing of Ludens."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import msgpack
import numpy as np
from websockets.sync.client import ClientConnection, connect

from agent.models.pictures import encode
from agent.policy import Context, Decision, PolicySpec
from agent.serve.messages import PATH
from agent.serve.server import PolicyServer
from agent.view import View
from envs.action import Action


class Mirror:
    """Decides by what it is shown and told, so that a decision for another client would be seen."""

    spec = PolicySpec(View.stretched((24, 32)), history=3, chunk=4, tick_hz=50.0)

    def act(self, contexts: Sequence[Context]) -> list[Decision]:
        return [
            Decision((Action(frozenset({"KeyW"}), look=(float(c.frames[-1][0, 0, 0]) / 16, 0.0)),) * 4, c.instruction)
            for c in contexts
        ]


def bearer(served: PolicyServer) -> dict[str, str]:
    """The header that a client has to show."""
    return {"Authorization": f"Bearer {served.token}"}


@contextmanager
def wire(served: PolicyServer, *, greets: bool = True) -> Iterator[ClientConnection]:
    """A connection that has said hello, if it `greets`."""
    how: Any = {"additional_headers": bearer(served), "proxy": None, "compression": None}
    with connect(f"ws://{served.address}{PATH}", **how) as socket:
        if greets:
            assert asked(socket, type="hello", protocol=1)["type"] == "welcome"
        yield socket


def asked(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    socket.send(msgpack.packb(message))
    answer = socket.recv(timeout=30)
    assert isinstance(answer, bytes)
    return msgpack.unpackb(answer)  # type: ignore[no-any-return]


def picture(colour: int = 0) -> np.ndarray:
    return np.full((24, 32, 3), colour, np.uint8)


def data_url(frame: np.ndarray) -> dict[str, Any]:
    file, kind = encode(frame)
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{base64.b64encode(file).decode()}"}}


def ask_chat(served: PolicyServer, chat: Any, **more: Any) -> httpx.Response:
    body = {"model": "mirror", "messages": chat, **more}
    return httpx.post(f"http://{served.address}/v1/chat/completions", json=body, headers=bearer(served), timeout=30)


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}

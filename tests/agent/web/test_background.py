"""The web servers beside a run."""

from __future__ import annotations

import socket

import httpx
from starlette.responses import PlainTextResponse

from agent.web.background import Background, listen
from agent.web.doorkeeper import Doorkeeper


def test_an_answer_does_not_wait_for_the_network_to_fill_a_packet() -> None:
    sock = listen(0)
    port = sock.getsockname()[1]
    server = Background(PlainTextResponse("here"), sock, Doorkeeper(), name="test", failed="it did not start")
    try:
        with httpx.Client() as client:  # the connection stays open
            assert client.get(f"http://127.0.0.1:{port}/").text == "here"
            (connection,) = server._server.server_state.connections
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        server.close()
    assert not server.alive

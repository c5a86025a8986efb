"""A game without Ludens: play with a policy that `agent serve` serves, from any program with websockets and msgpack.

    agent serve                                                  # here or on another machine
    LUDENS_TOKEN=... python examples/remote_client.py 127.0.0.1:8765

Nothing of Ludens is imported; the game is a grey picture.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import msgpack
from websockets.sync.client import ClientConnection, connect


def ask(socket: ClientConnection, **message: Any) -> dict[str, Any]:
    """The server's answer to a message."""
    socket.send(msgpack.packb(message))
    answer: dict[str, Any] = msgpack.unpackb(socket.recv())
    if answer["type"] == "error":
        raise SystemExit(answer["message"])
    return answer


def main() -> None:
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8765"
    token = {"Authorization": f"Bearer {os.environ['LUDENS_TOKEN']}"}
    with connect(f"ws://{address}/v1/policy", additional_headers=token, compression=None) as socket:
        ask(socket, type="hello", protocol=1)
        height, width = ask(socket, type="reset", seed=0)["spec"]["view"]["size"]
        for _ in range(3):
            pixels = {"height": height, "width": width, "rgb": bytes([128]) * (height * width * 3)}
            decision = ask(socket, type="observe", pixels=pixels, instruction="go to the red torch")
            for action in decision["actions"]:  # one a tick: the keys that are down, degrees of look
                print(action.get("keys", []), action.get("look", [0.0, 0.0]))


if __name__ == "__main__":
    main()

"""Policies without Ludens: served over a websocket, from any program with websockets and msgpack.

    export LUDENS_TOKEN=$(openssl rand -hex 16)
    python examples/remote_policy.py colours                     # walks to the colour that the instruction names
    python examples/stable_baselines3_ppo.py clip ppo.zip        # trains a policy of Stable-Baselines3
    python examples/remote_policy.py ppo.zip                     # and that one served
    agent play "go to the red torch" --policy remote:127.0.0.1:8770

Nothing of Ludens is imported here: docs/serving.md has the messages. A server keeps nothing between two requests.
"""

from __future__ import annotations

import hmac
import os
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

Pixels = npt.NDArray[np.uint8]
Action = dict[str, Any]  # of a tick: {"keys": ["KeyW"], "buttons": ["left"], "look": [degrees right, degrees up]}
Decide = Callable[[Pixels, str, int], list[Action]]  # picture, instruction, seed -> the actions of the next TICKS

TICKS = 4  # of a decision
SPEC = {"view": {"size": [120, 160], "aspect": "stretch"}, "chunk": TICKS, "tick_hz": 35.0}


def policy_server(decide: Decide, port: int, token: str) -> Server:
    """A server on this machine alone that answers whoever shows the token; `serve_forever` runs it."""

    def guard(connection: ServerConnection, request: Request) -> Response | None:
        shown = request.headers.get("Authorization", "")
        if request.path != "/v1/policy":
            return connection.respond(HTTPStatus.NOT_FOUND, "no such path\n")
        if not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong token\n")
        return None

    def talk(connection: ServerConnection) -> None:
        try:
            for message in connection:
                connection.send(msgpack.packb(answer(decide, msgpack.unpackb(message))))
        except ConnectionClosed:
            pass

    return serve(talk, "127.0.0.1", port, process_request=guard, compression=None, max_size=64 << 20)


def answer(decide: Decide, message: dict[str, Any]) -> dict[str, Any]:
    """The answer to one message of a client."""
    if message["type"] == "hello":
        return {"type": "welcome", "protocol": 1, "spec": SPEC}
    if message["type"] == "fit":
        return {"type": "fitted", "spec": SPEC}
    if message["type"] == "act":
        return {"type": "decisions", "decisions": [decided(decide, context) for context in message["contexts"]]}
    return {"type": "error", "message": f"{message['type']} is not served here"}


def decided(decide: Decide, context: dict[str, Any]) -> dict[str, Any]:
    newest = context["frames"][-1]
    pixels = np.frombuffer(newest["rgb"], np.uint8).reshape(newest["height"], newest["width"], 3)
    return {"actions": decide(pixels, context["instruction"], context["seed"])}


# A policy by hand

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0), "white": (1, 1, 1)}
SHOTS = {"shoot", "kill", "attack", "fire", "destroy"}


def colours(pixels: Pixels, instruction: str, seed: int) -> list[Action]:
    """Turns until the colour that the instruction names is ahead, walks to it, and fires where it is told to; with no
    colour to look for it wanders."""
    words = instruction.lower().replace(",", " ").split()
    wanted = next((COLOURS[word] for word in words if word in COLOURS), None)
    columns = np.flatnonzero(like(pixels, wanted).sum(0) > 2) if wanted else np.empty(0)
    if not len(columns):
        way = 5.0 if wanted else float(np.random.default_rng(seed).choice([-8.0, 0.0, 8.0]))
        return [{"keys": [] if wanted else ["KeyW"], "look": [way, 0.0]}] * TICKS
    off = float(columns.mean()) / (pixels.shape[1] - 1) - 0.5  # the picture is 90 degrees wide
    ahead = abs(off) < 0.15
    action: Action = {"keys": ["KeyW"] if ahead else [], "look": [90.0 * off / TICKS, 0.0]}
    if ahead and SHOTS & set(words):
        action |= {"keys": [], "buttons": ["left"]}
    return [action] * TICKS


def like(pixels: Pixels, colour: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Which pixels are of a colour: its channels are far above the others, or all are bright."""
    channels, there = pixels.astype(np.int16), np.array(colour, bool)
    low = channels[..., there].min(-1)
    found: npt.NDArray[np.bool_] = low > 200 if there.all() else low - channels[..., ~there].max(-1) > 60
    return found


# A policy of Stable-Baselines3

# The actions that examples/stable_baselines3_ppo.py has numbered.
NUMBERED: list[Action] = [{"keys": ["KeyW"]}, {"look": [-4.0, 0.0]}, {"look": [4.0, 0.0]},
                          {"keys": ["KeyW"], "look": [-4.0, 0.0]}, {"keys": ["KeyW"], "look": [4.0, 0.0]}]  # fmt: skip


def stable_baselines3(file: str) -> Decide:
    """The policy in a file of Stable-Baselines3's PPO, which does not read. Its file is unpickled: trust where it is
    from."""
    import torch
    from stable_baselines3 import PPO

    torch.set_num_threads(1)
    model = PPO.load(file, device="cpu")

    def decide(pixels: Pixels, instruction: str, seed: int) -> list[Action]:
        number, _ = model.predict(pixels[::2, ::2], deterministic=True)
        return [NUMBERED[int(number)]] * TICKS

    return decide


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else "colours"
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8770
    decide = colours if what == "colours" else stable_baselines3(what)
    with policy_server(decide, port, os.environ["LUDENS_TOKEN"]) as server:
        print(f"agent play --policy remote:127.0.0.1:{port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()

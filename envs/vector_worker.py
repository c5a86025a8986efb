"""The worker side of `envs.vector`: plays its worlds when asked, one request at a time.

Started as `python -m envs.vector_worker SOCKET MEMORY PARENT CORE` by `VectorWorld`, never by hand. An exception that
is not the caller's mistake (a ValueError) ends the process: the parent sees it, and starts a fresh one.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

import cloudpickle
import numpy as np

from envs.action import Action
from envs.channel import Channel
from envs.reaper import die_with_parent
from envs.world import World

# (world, reward, terminated, truncated, info, error), where error is the text of a ValueError or None
Answer = tuple[int, float, bool, bool, dict[str, Any], str | None]


def main(descriptor: int, memory: int, parent: int, core: int) -> None:
    die_with_parent(parent)
    if core >= 0:
        os.sched_setaffinity(0, {core})  # before a world starts its game, which inherits it
    for inherited in (descriptor, memory):
        os.set_inheritable(inherited, False)  # a game that kept them would hide our death from the parent
    channel = Channel(socket.socket(fileno=descriptor))
    makes, send_state = cloudpickle.loads(channel.recv())
    worlds: dict[int, World] = {index: make() for index, make in makes.items()}
    one = next(iter(worlds.values()))
    shapes = {world.observation_space["pixels"].shape for world in worlds.values()}
    channel.send(pickle.dumps((0, (shapes, one.action_space, one.tick_hz))))
    try:
        shape = pickle.loads(channel.recv())
        frames = np.frombuffer(mmap.mmap(memory, int(np.prod(shape))), np.uint8).reshape(shape)
        serve(channel, worlds, frames, send_state)
    except (EOFError, ConnectionError):  # the parent is gone
        pass
    finally:
        for world in worlds.values():
            world.close()


def serve(channel: Channel, worlds: dict[int, World], frames: np.ndarray, send_state: bool) -> None:
    """Answer requests (number, operation, [(world, payload)]) until one asks to close."""
    operations: dict[str, Callable[[World, Any], Any]] = {"reset": _reset, "step": _step}
    while True:
        number, operation, jobs = pickle.loads(channel.recv())
        if operation == "close":
            return
        act = operations[operation]
        answers: list[Answer] = []
        for index, payload in jobs:
            try:
                observation, reward, terminated, truncated, info = act(worlds[index], payload)
            except ValueError as error:
                answers.append((index, 0.0, False, False, {}, str(error)))
                continue
            frames[index] = observation["pixels"]
            if not send_state:
                info.pop("state", None)
            answers.append((index, float(reward), bool(terminated), bool(truncated), info, None))
        channel.send(pickle.dumps((number, answers), pickle.HIGHEST_PROTOCOL))


def _reset(world: World, payload: tuple[int | None, dict[str, Any] | None]) -> Any:
    seed, options = payload
    observation, info = world.reset(seed=seed, options=options)
    return observation, 0.0, False, False, info


def _step(world: World, chunk: Sequence[tuple[Any, ...]]) -> Any:
    actions: list[Action] = []
    last: tuple[Any, ...] | None = None
    for fields in chunk:
        # a repeated action comes as the same tuple: keep it the same object, which worlds compare fast
        actions.append(actions[-1] if fields is last else Action(*fields))
        last = fields
    return world.step_chunk(actions)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))

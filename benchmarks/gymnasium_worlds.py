"""How fast `gymnasium:ENV_ID` is: a step of the world, against a step of the bare environment.

    python benchmarks/gymnasium_worlds.py [--blocks 40] [--envs MiniWorld-OneRoomS6-v0 ALE/Pong-v5] [--json OUT]

Two processes for each environment play the same actions from the same seeds. One calls `gymnasium.make` and `step`, and
takes the picture from the observation or, where there is none, from `render`. The other steps the world, which also
checks the action, reads it with its key map and keeps ground truth. Both are pinned to the same core and play in blocks
of 50 steps that alternate (A B A B); resets are not timed. The table has the median of a step and the quartiles in
brackets.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium

from envs.action import BUTTONS, Action
from envs.gymnasium import packages
from envs.gymnasium.defaults import default_keys
from envs.gymnasium.keymap import KeyMap
from envs.gymnasium.pixels import find_picture
from envs.gymnasium.world import GymnasiumWorld

ENVS = ("MiniWorld-OneRoomS6-v0", "VizdoomBasic-v1", "ALE/Pong-v5")
BLOCK = 50  # steps


class Bare:
    """The environment as it is."""

    def __init__(self, env_id: str) -> None:
        packages.import_home(env_id)
        self.env = gymnasium.make(env_id, disable_env_checker=True)
        packages.settle(self.env)
        self._draws = find_picture(self.env.observation_space, None) is None
        if self._draws:
            self.env.close()
            self.env = gymnasium.make(env_id, render_mode="rgb_array", disable_env_checker=True)
        keymap = KeyMap(self.env.action_space, default_keys(self.env), "")
        self.actions = [keymap.read(action) for action in hands(keymap)]

    def reset(self, seed: int) -> None:
        self.env.reset(seed=seed)

    def step(self, action: Any) -> bool:
        _, _, terminated, truncated, _ = self.env.step(action)
        if self._draws:
            self.env.render()
        return terminated or truncated


class World:
    """The environment as a world."""

    def __init__(self, env_id: str) -> None:
        self.world = GymnasiumWorld(env_id)
        self.actions = list(hands(self.world.keymap))

    def reset(self, seed: int) -> None:
        self.world.reset(seed=seed)

    def step(self, action: Action) -> bool:
        _, _, terminated, truncated, _ = self.world.step(action)
        return terminated or truncated


def hands(keymap: KeyMap) -> list[Action]:
    """An action for each key and button that does something on its own."""
    actions = []
    for name in sorted({*keymap.keys, *keymap.buttons}):
        held = frozenset({name})
        action = Action(buttons=held) if name in BUTTONS else Action(keys=held)
        if keymap.read(action) is not None:
            actions.append(action)
    return actions


_player: Bare | World  # of a worker
_played = 0  # its steps


def begin(kind: type[Bare] | type[World], env_id: str) -> None:
    """What a worker does first."""
    global _player
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    _player = kind(env_id)
    _player.reset(0)


def block() -> list[float]:
    """Seconds of each step of a block."""
    global _played
    taken = []
    for _ in range(BLOCK):
        action = _player.actions[_played // 3 % len(_player.actions)]
        _played += 1
        start = time.perf_counter()
        over = _player.step(action)
        taken.append(time.perf_counter() - start)
        if over:
            _player.reset(_played)
    return taken


def measure(env_id: str, blocks: int) -> dict[str, list[float]]:
    """Seconds of each step, of both."""
    context = multiprocessing.get_context("spawn")
    taken: dict[str, list[float]] = {"bare": [], "world": []}
    pools = {
        name: ProcessPoolExecutor(1, mp_context=context, initializer=partial(begin, kind, env_id))
        for name, kind in (("bare", Bare), ("world", World))
    }
    try:
        for pool in pools.values():
            pool.submit(block).result()  # the first is slow
        for _ in range(blocks):
            for name, pool in pools.items():
                taken[name] += pool.submit(block).result()
    finally:
        for pool in pools.values():
            pool.shutdown()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--envs", nargs="+", default=ENVS)
    parser.add_argument("--json", type=Path, help="write the medians there")
    options = parser.parse_args()
    report = {}
    for env_id in options.envs:
        taken = measure(env_id, options.blocks)
        medians = {name: statistics.median(values) for name, values in taken.items()}
        report[env_id] = {**medians, "ratio": medians["bare"] / medians["world"]}
        for name, values in taken.items():
            quarters = statistics.quantiles(values, n=4)
            spread = f"({1 / quarters[2]:.0f} to {1 / quarters[0]:.0f})"
            ratio = medians["bare"] / medians[name]
            print(f"{env_id:24} {name:6} {1 / medians[name]:7.0f} /s   {ratio:5.2f} of bare   {spread}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()

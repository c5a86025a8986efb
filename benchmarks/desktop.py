"""How fast a desktop world is: a step with its frame, against a bare loop of mss on the same screen.

    python benchmarks/desktop.py [--blocks 40] [--turns 20] [--size 320x240] [--game FILE.yaml]

The tiny game of tests/support/x11_game.py, or another one, plays in an Xvfb. The world's clock runs at 10,000 ticks a
second, so that it never waits. Six contenders are measured in blocks of 30 calls that alternate (A B A B): mss alone,
mss with the picture as an RGB array, `pixels()` of the world, and steps that hold the same keys, turn, and press and
release a key. The table has medians and, in brackets, the quartiles. The last line is the latency from a turn to the
first other frame, in milliseconds, at the game's own pace.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mss
import numpy as np

from envs.action import Action
from envs.desktop.game import Game, read_game
from envs.desktop.server import authorized
from envs.desktop.world import DesktopWorld

BLOCK = 30
TINY = Path(__file__).parents[1] / "tests" / "support" / "x11_game.py"
STILL, HELD = Action(), Action(keys=frozenset({"KeyW"}))
TURNS = (Action(look=(2.0, 0.0)), Action(look=(-2.0, 0.0)))


def times(call: Callable[[int], Any]) -> list[float]:
    """Seconds of each call of a block."""
    taken = []
    for i in range(BLOCK):
        begin = time.perf_counter()
        call(i)
        taken.append(time.perf_counter() - begin)
    return taken


def latency(world: DesktopWorld) -> float:
    """Milliseconds from a turn to the first other frame."""
    time.sleep(0.3)
    before = world.pixels()
    begin = time.perf_counter()
    world.step(TURNS[0])
    while np.array_equal(before, world.pixels()) and time.perf_counter() - begin < 1.0:
        pass
    return 1000.0 * (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--turns", type=int, default=20, help="turns whose latency is measured")
    parser.add_argument("--game", help="the YAML file of another game than the tiny one")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    if options.game:
        game = read_game(options.game)
    else:
        command = (sys.executable, str(TINY), "--size", options.size)
        game = Game(command=command, keys={"KeyW": "KeyW"}, ready="ready to play", degrees_per_count=(0.2, 0.2))
    world = DesktopWorld(game.model_copy(update={"tick_hz": 10_000.0, "size": (width, height), "hold": 0.0}))
    world.reset(seed=0)
    try:
        with authorized(world.folder / "Xauthority"):
            camera = mss.MSS(display=world.screen.name)
        area = {"left": 0, "top": 0, "width": width, "height": height}
        contenders: dict[str, Callable[[int], Any]] = {
            "mss.grab": lambda i: camera.grab(area),
            "mss.grab and its RGB array": lambda i: np.asarray(camera.grab(area))[..., 2::-1].copy(),
            "DesktopWorld.pixels": lambda i: world.pixels(),
            "DesktopWorld.step, nothing new": lambda i: world.step(STILL),
            "DesktopWorld.step, turning": lambda i: world.step(TURNS[i % 2]),
            "DesktopWorld.step, tapping a key": lambda i: world.step((STILL, HELD)[i % 2]),
        }
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.blocks):
            for name, call in contenders.items():
                taken[name] += times(call)
        delays = [latency(world) for _ in range(options.turns)]
        camera.close()
    finally:
        world.close()
    base = statistics.median(taken["mss.grab and its RGB array"])
    print(f"{world.game.name}, {width}x{height}")
    for name, values in taken.items():
        middle, quarters = statistics.median(values), statistics.quantiles(values, n=4)
        spread = f"({1 / quarters[2]:.0f} to {1 / quarters[0]:.0f})"
        print(f"{name:34} {1 / middle:7.0f} /s   {base / middle:5.2f} of mss with an array   {spread}")
    print(f"from a turn to another frame: median {statistics.median(delays):.0f} ms, most {max(delays):.0f} ms")


if __name__ == "__main__":
    main()

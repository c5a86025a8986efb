"""How fast the playroom is: a step with its frame, against a bare loop of mujoco.Renderer.

    python benchmarks/playroom.py [--seconds 3] [--rounds 5] [--things 10] [--json OUT]

Both play the same compiled room at 128x128 with the same physics steps to a frame, without shadows, pinned to one core,
in rounds that alternate (A B A B); medians. The bare loop does nothing but mj_step, update_scene and render. Three
variants of the world: standing, the same without ground truth, and walking; and chunks of 4 ticks, which draw
once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from envs.action import Action
from envs.playroom.drawing import mujoco
from envs.playroom.mjcf import SUBSTEPS, compile_room
from envs.playroom.rooms import generate
from envs.playroom.world import Playroom

SIDE = 128
WALK = [Action(keys=frozenset({"KeyW"}), look=(3.0, 0.0)), Action(keys=frozenset({"KeyD"}), look=(-2.0, 0.0))]


def rate(step: Callable[[int], Any], seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) - start < seconds:
        step(count)
        count += 1
    return count / (now - start)


def bare(room: Any) -> Callable[[int], Any]:
    model = compile_room(room, width=SIDE, height=SIDE, shadows=False).model
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 40)
    renderer = mujoco.Renderer(model, SIDE, SIDE)
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0

    def step(_: int) -> None:
        mujoco.mj_step(model, data, SUBSTEPS)
        renderer.update_scene(data, "eyes")
        renderer.render()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--things", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    room = generate(3, n_things=(options.things, options.things))
    still = Action()

    def world(**how: Any) -> Playroom:
        made = Playroom(f"{SIDE}x{SIDE}", **how)
        made.reset(seed=0, options={"room": room.to_json()})
        return made

    plain, silent, moving, chunks = world(), world(state=False), world(), world(state=False)
    contenders: dict[str, Callable[[int], Any]] = {
        "bare mujoco.Renderer": bare(room),
        "Playroom.step, standing": lambda i: plain.step(still),
        "Playroom.step, without state": lambda i: silent.step(still),
        "Playroom.step, walking": lambda i: moving.step(WALK[i // 45 % 2]),
        "Playroom.step_chunk of 4, without state": lambda i: chunks.step_chunk([still] * 4),
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, step in contenders.items():
            rates[name].append(rate(step, options.seconds))
    base = statistics.median(rates["bare mujoco.Renderer"])
    print(f"{len(room.things)} things, {SIDE}x{SIDE}, {SUBSTEPS} substeps, {os.environ.get('MUJOCO_GL')}, one core")
    for name, values in rates.items():
        middle = statistics.median(values)
        print(f"{name:40} {middle:7.0f} /s   {middle / base:5.2f} of bare   ({min(values):.0f} to {max(values):.0f})")
    if options.json:
        options.json.write_text(json.dumps({"machine": platform.platform(), "rates": rates}, indent=1))


if __name__ == "__main__":
    main()

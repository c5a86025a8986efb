"""How fast the playroom is: a step with its frame, against a bare loop of mujoco.Renderer.

    python benchmarks/playroom.py [--blocks 60] [--things 10] [--json OUT]

Both play the same compiled room at 128x128 with the same physics steps to a frame, seen from the same place, without
shadows, pinned to one core, in blocks of 30 steps that alternate (A B A B). The table has the median of a step, which a
busy machine disturbs little, and the quartiles in brackets. The bare loop does nothing but mj_step, update_scene and
render. The world stands, with ground truth and without it, and walks; it draws once for a chunk of 4 ticks.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from envs.action import Action
from envs.playroom.drawing import mujoco
from envs.playroom.mjcf import SUBSTEPS, compile_room
from envs.playroom.rooms import generate
from envs.playroom.world import Playroom

SIDE = 128
BLOCK = 30  # steps
WALK = [Action(keys=frozenset({"KeyW"}), look=(3.0, 0.0)), Action(keys=frozenset({"KeyD"}), look=(-2.0, 0.0))]


def times(step: Callable[[int], Any], start: int) -> list[float]:
    """Seconds of each step of a block."""
    taken = []
    for i in range(start, start + BLOCK):
        begin = time.perf_counter()
        step(i)
        taken.append(time.perf_counter() - begin)
    return taken


def bare(room: Any) -> Callable[[int], Any]:
    model = compile_room(room, width=SIDE, height=SIDE, shadows=False).model
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 40)
    yaw = math.radians(room.start[2])
    ahead, left = (math.cos(yaw), math.sin(yaw), 0.0), (-math.sin(yaw), math.cos(yaw), 0.0)
    axes = np.array([[-left[i], (0.0, 0.0, 1.0)[i], -ahead[i]] for i in range(3)])  # to the right, up, back
    mujoco.mju_mat2Quat(model.cam_quat[0], axes.ravel())
    renderer = mujoco.Renderer(model, SIDE, SIDE)
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
    drawn = mujoco.MjvOption()
    drawn.geomgroup[1:] = 0

    def step(_: int) -> Any:
        mujoco.mj_step(model, data, SUBSTEPS)
        renderer.update_scene(data, "eyes", drawn)
        return renderer.render()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=60)
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
    alike = np.abs(plain.step(still)[0]["pixels"].astype(int) - bare(room)(0)).mean()
    print(f"the two frames differ by {alike:.2f} of 255 in the mean (the crosshair)")
    contenders: dict[str, Callable[[int], Any]] = {
        "bare mujoco.Renderer": bare(room),
        "Playroom.step, standing": lambda i: plain.step(still),
        "Playroom.step, without state": lambda i: silent.step(still),
        "Playroom.step, walking": lambda i: moving.step(WALK[i // 45 % 2]),
        "Playroom.step_chunk of 4, without state": lambda i: chunks.step_chunk([still] * 4),
    }
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for block in range(options.blocks):
        for name, step in contenders.items():
            taken[name] += times(step, block * BLOCK)
    base = statistics.median(taken["bare mujoco.Renderer"])
    print(f"{len(room.things)} things, {SIDE}x{SIDE}, {SUBSTEPS} substeps, {os.environ.get('MUJOCO_GL')}, one core")
    for name, values in taken.items():
        middle, quarters = statistics.median(values), statistics.quantiles(values, n=4)
        spread = f"({1 / quarters[2]:.0f} to {1 / quarters[0]:.0f})"
        print(f"{name:40} {1 / middle:7.0f} /s   {base / middle:5.2f} of bare   {spread}")
    if options.json:
        medians = {name: statistics.median(values) for name, values in taken.items()}
        options.json.write_text(json.dumps({"machine": platform.platform(), "seconds": medians}, indent=1))


if __name__ == "__main__":
    main()

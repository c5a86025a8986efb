"""A model that is only prompted plays games of the desktop that have never heard of us."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.episode import Step, Subscriber
from tests.support.components import needs
from tests.support.oracle import play_by_truth


@needs("minetest")
def test_minetest_walks_jumps_and_places_with_the_right_button() -> None:
    """By ground truth: to the block ahead, a jump, then a block of its own on top of it."""
    from envs.minetest.level import Level, Thing
    from envs.minetest.world import Minetest

    ahead = (Thing("block", "red", 0, 4), Thing("chest", "blue", 4, 0, 3), Thing("pillar", "green", -5, 0))
    level = Level(8, "meadow", ahead, (0.0, 0.0, 0.0), items=(("block", "white", 2),))
    jumped: list[float] = []

    def decide(state: Any) -> str:
        if not any(y > 0.5 for y in jumped):
            return "tap jump for 400ms"
        if state.z < 1.9:
            return "hold forward for 150ms"
        top = math.degrees(math.atan2(1.0 - state.eye, 4.0 - state.z))  # the block is one node high
        right, up = (state.yaw + 180.0) % 360.0 - 180.0, top - state.pitch
        if max(abs(right), abs(up)) > 2.0:
            return f"look {right:.1f} {up:.1f} then wait 200ms"
        return "click right then wait 300ms"

    def success(state: Any) -> bool:
        jumped.append(state.y)
        return bool(state.placed)

    world = Minetest()
    try:
        outcome, _ = play_by_truth(
            world, decide, success, clock="realtime", time_limit=1400, options={"level": level.to_json()}
        )
    finally:
        world.close()
    assert outcome.success
    assert any(y > 0.5 for y in jumped)


class Mouse(Subscriber):
    """What the mouse did at every tick, and how the picture was."""

    def __init__(self) -> None:
        self.modes: list[str] = []
        self.frames: list[npt.NDArray[np.int16]] = []

    def on_step(self, step: Step) -> None:
        assert step.frame is not None
        self.modes.append(step.info["mouse"])
        self.frames.append(step.frame.astype(np.int16))


@needs("minetest")
def test_minetest_opens_the_inventory_points_in_it_and_closes_it() -> None:
    """The game shows a pointer while the inventory is open; the model is told, and the view stays as it was."""
    from envs.minetest.level import Level, Thing
    from envs.minetest.world import Minetest

    level = Level(8, "meadow", (Thing("pillar", "green", -5, 0),), (0.0, 0.0, 0.0), items=(("block", "white", 2),))
    mouse, yaws = Mouse(), list[float]()

    def shown(frame: npt.NDArray[np.int16], mode: str) -> bool:
        return mode == "pointer" and bool(np.abs(mouse.frames[0] - frame).mean() > 5.0)

    def say() -> Iterator[str]:
        yield from ("wait 300ms", "tap inventory then wait 700ms")
        while not shown(mouse.frames[-1], mouse.modes[-1]):  # a busy machine draws it late
            yield "wait 300ms"
        yield from ("point 300 700 look 40 0 for 300ms", "tap inventory then wait 700ms")
        while True:
            yield "wait 500ms"

    said = say()

    def success(state: Any) -> bool:
        yaws.append(state.yaw)
        return "pointer" in mouse.modes and mouse.modes[-10:] == ["look"] * 10

    world = Minetest("320x240")
    try:
        outcome, server = play_by_truth(
            world, lambda state: next(said), success, clock="realtime", time_limit=1400,
            options={"level": level.to_json()}, subscribers=(mouse,),
        )  # fmt: skip
    finally:
        world.close()
    assert outcome.success
    assert any(map(shown, mouse.frames, mouse.modes))
    assert max(yaws) - min(yaws) < 1.0  # neither the look nor the pointer turned the view
    prompts = ["".join(part.get("text", "") for part in asked["messages"][0]["content"]) for asked in server.asked]
    for told in ("Now moving the mouse turns the view", "Now the mouse has a pointer"):
        assert any(told in prompt for prompt in prompts)


class Pictures(Subscriber):
    def __init__(self) -> None:
        self.frames: list[npt.NDArray[np.int16]] = []

    def on_step(self, step: Step) -> None:
        assert step.frame is not None
        self.frames.append(step.frame.astype(np.int16))


@needs("crispy-doom")
def test_crispy_doom_walks_switches_the_weapon_by_a_digit_and_opens_a_door() -> None:
    """By the picture: the view changes when it walks, the bullets go with the pistol, behind the door is a hall."""
    from envs.desktop.game import Game
    from envs.desktop.world import DesktopWorld

    wad = "/usr/share/games/doom/freedoom2.wad"
    game = Game(
        command=("crispy-doom", "-iwad", wad, "-warp", "1", "-skill", "1", "-nomonsters", "-nosound", "-window",
                 "-geometry", "320x240"),
        keys={key: key for key in ("KeyW", "Space", "Digit1", "Digit2")}, ready="P_SetupLevel", start=(1.0,),
        degrees_per_count=(0.04395, 0.0),
        controls={"Digit1": "fists", "Digit2": "pistol", "KeyW": "walk forward", "Space": "open, use"},
    )  # fmt: skip
    said = ("wait 1000ms", "hold walk forward for 700ms", "wait 700ms", "tap fists then wait 1500ms",
            "hold walk forward for 4000ms then wait 700ms", "tap open then wait 1500ms")  # fmt: skip
    turns = iter(said)
    ends: list[int] = []
    seen = Pictures()
    world = DesktopWorld(game)

    def decide(state: Any) -> str:
        ends.append(len(seen.frames))
        return next(turns, "wait")

    try:
        play_by_truth(world, decide, lambda s: False, clock="realtime", time_limit=330, subscribers=(seen,))
    finally:
        world.close()
    begun, walked, there, opened = (seen.frames[at] for at in (ends[1], ends[3], ends[5], -1))
    view, ammunition = (slice(20, 120), slice(None)), (slice(202, 228), slice(2, 56))

    def change(one: Any, two: Any, where: Any) -> float:
        return float(np.abs(one[where] - two[where]).mean())

    assert change(begun, walked, view) > 5.0
    assert change(begun, walked, ammunition) < 1.0
    assert change(walked, there, ammunition) > 5.0  # fists have none
    assert change(there, opened, view) > 10.0

"""Dead reckoning: by hands and pixels alone, held against the engine."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from agent.episode import Frame, Step
from agent.long.odometer import Odometer, Pose
from envs.action import Action
from envs.doom.level import Level, Rect, Room
from envs.doom.placement import THEMES
from envs.doom.world import DoomWorld

WALK = 8.33  # map units a tick: the walking speed of Doom
FORWARD, STILL = Action(keys=frozenset({"KeyW"})), Action()


def step(tick: int, frame: Frame | None, action: Action) -> Step:
    return Step(tick, frame, action, 0.0, "go", "test", False, None, -1, -1, {})


@pytest.fixture(scope="module")
def world() -> Iterator[DoomWorld]:
    made = DoomWorld()
    yield made
    made.close()


def played(world: DoomWorld, angle: int, actions: list[Action]) -> tuple[Pose, tuple[float, float], float]:
    """The reckoned pose, the true way (ahead, right, in seconds of walking), and the true turn, degrees right, from the
    middle of an empty room."""
    level = Level((Room(Rect(0, 0, 704, 704), THEMES["brick"]),), (352, 352, angle))
    observation, info = world.reset(seed=1, options={"level": level.to_json()})
    odometer, start = Odometer(world.controls, world.tick_hz), info["state"]
    for tick, action in enumerate([*actions, STILL]):
        odometer.on_step(step(tick, observation["pixels"], action))
        observation, *_, info = world.step(action)
    end, first = info["state"], math.radians(start.angle)
    dx, dy = end.x - start.x, end.y - start.y
    second = WALK * world.tick_hz
    ahead, right = dx * math.cos(first) + dy * math.sin(first), dx * math.sin(first) - dy * math.cos(first)
    return odometer.pose, (ahead / second, right / second), start.angle - end.angle


@pytest.mark.parametrize("angle", [0, 130])
def test_it_knows_where_walks_and_turns_lead(world: DoomWorld, angle: int) -> None:
    turn = Action(keys=frozenset({"KeyW"}), look=(9.0, 0.0))
    pose, (ahead, right), turned = played(world, angle, [FORWARD] * 6 + [turn] * 10 + [FORWARD] * 6 + [STILL] * 12)
    assert (turned - pose.heading + 180.0) % 360.0 - 180.0 == pytest.approx(0.0, abs=0.5)
    assert math.hypot(pose.ahead - ahead, pose.right - right) < 0.15


@pytest.mark.parametrize("angle", [0, 90])
def test_a_wall_stops_it(world: DoomWorld, angle: int) -> None:
    """Four seconds of walking lead no farther than the wall. Blind hands would be more than two seconds off."""
    pose, way, _ = played(world, angle, [FORWARD] * 140)
    assert math.hypot(*way) < 2.0
    assert math.hypot(pose.ahead - way[0], pose.right - way[1]) < 0.3


def test_frames_that_change_while_it_turns_tell_nothing_of_a_wall() -> None:
    odometer = Odometer({"KeyW": "forward"}, 35.0)
    still = np.zeros((12, 16, 3), np.uint8)
    for tick in range(70):
        odometer.on_step(step(tick, still, Action(keys=frozenset({"KeyW"}), look=(2.0, 0.0))))
    assert odometer.pose != Pose(heading=odometer.pose.heading)


def test_bearings() -> None:
    here = Pose(1.0, 1.0, 90.0)  # looking to what was right at the start
    far, off = here.bearing(Pose(1.0, 3.0, 0.0))
    assert far == pytest.approx(2.0)
    assert off == pytest.approx(0.0)
    far, off = here.bearing(Pose(3.0, 1.0, 0.0))
    assert off == pytest.approx(-90.0)
    assert here.towards(-90.0, 2.0).ahead == pytest.approx(3.0)

"""Doors, locks and switches in the real engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from envs.action import Action
from envs.doom.level import Door, Level, Panel, Rect, Room, Thing
from envs.doom.levels import THEMES
from envs.doom.world import DoomState, DoomWorld

WALK, USE = Action(keys=frozenset({"KeyW"})), Action(keys=frozenset({"KeyE"}))


@pytest.fixture(scope="module")
def world() -> Iterator[DoomWorld]:
    made = DoomWorld()
    yield made
    made.close()


def two_rooms(door: Door, things: tuple[Thing, ...] = (), panels: tuple[Panel, ...] = (), angle: int = 0) -> Level:
    rooms = (Room(Rect(0, 0, 480, 480), THEMES["base"]), Room(Rect(512, 0, 900, 480), THEMES["brick"]))
    return Level(rooms, (300, 240, angle), doors=(door,), things=things, panels=panels)


def use(world: DoomWorld, level: Level) -> tuple[DoomState, DoomState]:
    """The state before, and after walking ahead for 30 ticks, pressing use and waiting for 35 ticks."""
    _, info = world.reset(seed=1, options={"level": level.to_json()})
    world.step_chunk([WALK] * 30)
    world.step_chunk([USE] * 2)
    *_, after = world.step_chunk([Action()] * 35)
    return info["state"], after["state"]


GAP = Rect(480, 192, 512, 288)


@pytest.mark.parametrize("kind", ["door", "remote", "locked"])
def test_a_door_is_shut_and_only_a_plain_one_opens_with_use(world: DoomWorld, kind: str) -> None:
    before, after = use(world, two_rooms(Door(GAP, kind, "red" if kind == "locked" else None)))  # type: ignore[arg-type]
    assert before.doors == (0.0,)
    assert (after.doors[0] >= 56.0) == (kind == "door")


@pytest.mark.parametrize("colour", ["red", "blue", "yellow"])
@pytest.mark.parametrize("key", ["red", "blue", "yellow", "green"])
def test_a_lock_opens_with_the_key_of_its_colour_alone(world: DoomWorld, colour: str, key: str) -> None:
    before, after = use(world, two_rooms(Door(GAP, "locked", colour), (Thing("key", key, 380, 240),)))
    assert len(before.objects) == 1
    assert not after.objects  # it lay on the way
    assert (after.doors[0] >= 56.0) == (key == colour)


def test_a_switch_opens_its_gate_and_counts_as_pressed(world: DoomWorld) -> None:
    panel = Panel(0, 208, 0, 272, door=0)
    before, after = use(world, two_rooms(Door(GAP, "remote"), panels=(panel,), angle=180))
    assert before.markers == {0}
    assert after.doors == (0.0,)  # too far away
    level = two_rooms(Door(GAP, "remote"), panels=(panel, Panel(208, 0, 272, 0)), angle=180)
    world.reset(seed=1, options={"level": level.to_json()})
    world.step_chunk([WALK] * 60)
    world.step_chunk([USE] * 2)
    *_, info = world.step_chunk([Action()] * 35)
    assert info["state"].doors[0] >= 56.0
    assert info["state"].markers == {1}


def test_one_walks_through_a_doorway_into_the_other_room(world: DoomWorld) -> None:
    world.reset(seed=1, options={"level": two_rooms(Door(GAP, "open")).to_json()})
    *_, info = world.step_chunk([WALK] * 60)
    assert info["state"].x > 540

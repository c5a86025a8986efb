"""Minetest: levels, and the real game with its mod, from key presses to pixels and ground truth."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import gymnasium
import numpy as np
import psutil
import pytest

from envs.action import NEUTRAL, Action
from envs.check import check_world
from envs.desktop.stage import GameError
from envs.errors import UserError
from envs.minetest import game
from envs.minetest.level import SITES, WIDEST, Level, Thing, generate
from envs.minetest.state import BLOCKED, MinetestState
from envs.minetest.things import COLOURS, HELD_OUT_THEMES, KINDS, TRAINING_THEMES, definitions, nodes_of
from envs.minetest.world import Minetest
from tests.support.components import needs

needs_game = needs("minetest")

AHEAD = Level(  # the player looks north at a block, a chest is to his right
    8, "meadow", (Thing("block", "red", 0, 4), Thing("chest", "blue", 4, 0, 3), Thing("pillar", "green", -5, 0)),
    (0.0, 0.0, 0.0), items=(("block", "white", 2),),
)  # fmt: skip


@pytest.fixture(scope="module")
def world() -> Iterator[Minetest]:
    made = Minetest()
    yield made
    made.close()


def begin(world: Minetest, level: Level = AHEAD) -> MinetestState:
    _, info = world.reset(options={"level": level.to_json()})
    return info["state"]


def play(world: Minetest, action: Action, until: Callable[[MinetestState], bool], ticks: int = 200) -> MinetestState:
    """Hold an action until ground truth says so; fails where it never does."""
    for _ in range(ticks):
        state: MinetestState = world.step(action)[4]["state"]
        if until(state):
            return state
    raise AssertionError(f"not in {ticks} ticks: {state}")


def keys(*names: str) -> Action:
    return Action(keys=frozenset(names))


def turn(world: Minetest, right: float, up: float) -> MinetestState:
    """Look so many degrees to the right of north, and up, by what ground truth says."""
    for _ in range(40):
        state: MinetestState = rest(world)
        off = (right + state.yaw + 180.0) % 360.0 - 180.0, up - state.pitch
        if max(map(abs, off)) < 0.3:
            return state
        world.step(Action(look=(min(20.0, max(-20.0, off[0])), min(20.0, max(-20.0, off[1])))))
    raise AssertionError(f"does not get there: {state.yaw}, {state.pitch}")


def rest(world: Minetest, ticks: int = 8) -> MinetestState:
    """Do nothing until ground truth knows of all that was done."""
    last, same = None, 0
    while same < ticks:
        state: MinetestState = world.step(NEUTRAL)[4]["state"]
        now = state.x, state.y, state.z, state.yaw, state.pitch
        last, same = now, same + 1 if now == last else 0
    return state


def test_levels_follow_from_their_seed() -> None:
    for seed in range(40):
        level = generate(seed, things=[("house", "red"), ("block", "blue")] if seed % 2 else ())
        assert level == generate(seed, things=[("house", "red"), ("block", "blue")] if seed % 2 else ())
        assert level == Level.from_json(level.to_json())
        assert level.theme in TRAINING_THEMES
        assert level.half <= WIDEST
        if seed % 2:
            assert [(t.kind, t.colour) for t in level.things[:2]] == [("house", "red"), ("block", "blue")]
        cells = [(t.x + x, t.z + z) for t in level.things for x, z in {(n[0], n[2]) for n in nodes(t)}]
        assert len(cells) == len(set(cells))
        assert all(max(abs(x), abs(z)) < level.half for x, z in cells)
    assert generate(1, themes=HELD_OUT_THEMES).theme in HELD_OUT_THEMES
    assert generate(2, natural=True, sites=[3]).site == 3
    with pytest.raises(ValueError, match="no room for"):
        generate(3, n_things=(60, 60))


def nodes(thing: Thing) -> list[tuple[int, int, int, str, int]]:
    return nodes_of(thing.kind, thing.colour, thing.turn)


def test_every_node_of_a_thing_is_defined_or_the_games_own() -> None:
    known = definitions()
    for kind in KINDS:
        for colour in COLOURS:
            for node in nodes_of(kind, colour, 1):
                assert node[3] in known or node[3].startswith("doors:")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"half": 99}, "half: expected 4 to 14"),
        ({"theme": "moon"}, "theme: expected one of meadow"),
        ({"site": len(SITES)}, "half|site"),
        ({"things": [{"kind": "tower", "colour": "red", "x": 0, "z": 0}]}, "unknown thing: red tower"),
        ({"things": [{"kind": "block", "colour": "red", "x": 20, "z": 0}]}, "expected a place in an area"),
        ({"things": [{"kind": "block"}]}, "TypeError"),
        ({"start": [0]}, "IndexError"),
    ],
)
def test_levels_that_can_not_be_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Level.from_json({**AHEAD.to_json(), **change})


def test_a_frame_is_90_degrees_wide_in_every_shape() -> None:
    for width, height in ((320, 240), (640, 480), (320, 180)):
        fov, per_count = game.optics(width, height)
        widened = math.radians(fov) * min(1.4, max(1.0, math.sqrt(1.6 * height / width)))
        assert math.degrees(2 * math.atan(math.tan(widened / 2) * width / height)) == pytest.approx(90.0)
        assert per_count == pytest.approx(0.2753 * height / width, rel=1e-3)


def test_a_resolution_that_can_not_be_is_refused() -> None:
    with pytest.raises(ValueError, match="resolution: expected WIDTHxHEIGHT of 64 to 2048"):
        Minetest("9x9")


@needs_game
def test_a_level_is_built_as_it_was_described(world: Minetest) -> None:
    state = begin(world)
    assert (state.x, state.z) == pytest.approx((0.0, 0.0), abs=0.05)
    assert state.y == pytest.approx(0.0, abs=0.05)
    assert min(state.yaw, 360.0 - state.yaw) < 0.5
    assert (state.tick, state.dug, state.placed, state.opened) == (0, (), (), frozenset())
    assert state.bag == {"ludens:block_white": 2}
    assert state.base == (0, 0, 0)
    middle = AHEAD.half + 1
    free = {(x, z) for x in range(-8, 9) for z in range(-8, 9)} - {(t.x, t.z) for t in AHEAD.things}
    assert {(x, z) for x in range(-8, 9) for z in range(-8, 9) if state.ground[x + middle, z + middle] == 0} == free
    assert state.bearing(0)[0] == pytest.approx(0.0, abs=0.5)
    assert state.bearing(1)[0] == pytest.approx(90.0, abs=0.5)
    assert state.bearing(2)[0] == pytest.approx(-90.0, abs=0.5)


@needs_game
def test_things_are_seen_where_ground_truth_has_them(world: Minetest) -> None:
    observation, _ = world.reset(options={"level": AHEAD.to_json()})
    assert observation["pixels"].shape == (120, 160, 3)
    assert observation["pixels"].dtype == np.uint8
    red = redness(observation["pixels"])
    columns = np.flatnonzero(red.any(axis=0))
    assert 70 < columns.mean() < 90  # the red block is in the middle ...
    assert np.flatnonzero(red.any(axis=1)).mean() > 60  # ... and lower than the eyes
    turn(world, 30.0, 0.0)
    columns = np.flatnonzero(redness(world.step(NEUTRAL)[0]["pixels"]).any(axis=0))
    sides = [80 - 80 * math.tan(math.radians(30.0) + side) for side in (math.atan(0.5 / 3.5), -math.atan(0.5 / 4.5))]
    assert (columns.min(), columns.max()) == pytest.approx(sides, abs=3)


def redness(pixels: np.ndarray) -> np.ndarray:
    values = pixels.astype(int)
    return (values[..., 0] > 80) & (values[..., 0] > 2 * values[..., 1]) & (values[..., 0] > 2 * values[..., 2])


@needs_game
def test_the_mouse_turns_by_degrees(world: Minetest) -> None:
    begin(world)
    turns: list[tuple[float, float]] = []
    for right, up in [(8.0, -4.0), (-8.0, 4.0)] * 5:
        before = rest(world)
        world.step(Action(look=(right, up)))
        after = rest(world)
        yaw = (before.yaw - after.yaw + 180.0) % 360.0 - 180.0
        turns.append((yaw / right, (after.pitch - before.pitch) / up))
    # the median: a move is lost where the game puts the pointer back at that moment
    assert np.median(turns, axis=0) == pytest.approx((1.0, 1.0), abs=0.03)


@needs_game
def test_keys_walk_and_jump(world: Minetest) -> None:
    begin(world)
    state = play(world, keys("KeyW"), lambda s: s.z > 1.0)
    assert abs(state.x) < 0.2
    play(world, keys("KeyA"), lambda s: s.x < -1.0)
    play(world, keys("KeyS"), lambda s: s.z < 0.5)
    play(world, keys("KeyD"), lambda s: s.x > 0.0)
    play(world, keys("Space"), lambda s: s.y > 0.5)
    assert "KeyW" not in world.held[0]


def put(world: Minetest, x: float, z: float) -> None:
    world.tell("teleport", x=x, y=0, z=z)
    play(world, NEUTRAL, lambda s: math.hypot(s.x - x, s.z - z) < 0.05 and s.y < 0.05)


@needs_game
def test_dig_place_and_open(world: Minetest) -> None:
    begin(world)
    put(world, 0.0, 2.0)
    state = turn(world, 0.0, -14.0)
    assert (state.aimed, state.aimed_top) == (0, True)
    assert state.aimed_distance < 4.0
    play(world, keys("KeyE"), lambda s: bool(s.placed), 30)  # E does what the right button does
    state = rest(world)
    first = state.placed[0]
    assert (first.x, first.z, first.on) == (0.0, 4.0, 0)
    assert state.bag.get("ludens:block_white", 0) < 2
    begin(world)
    put(world, 0.0, 2.0)
    turn(world, 0.0, -22.0)
    play(world, Action(buttons=frozenset({"left"})), lambda s: bool(s.dug))
    state = rest(world)
    assert state.dug == (0,)
    assert state.bag == {"ludens:block_white": 2, "ludens:block_red": 1}
    begin(world)
    put(world, 2.0, 0.0)
    turn(world, 90.0, -25.0)
    state = play(world, Action(buttons=frozenset({"right"})), lambda s: bool(s.opened), 60)
    assert state.opened == {1}


@needs_game
def test_a_house_is_entered_through_its_door(world: Minetest) -> None:
    level = Level(9, "yard", (Thing("house", "yellow", 0, 5, 2),), (0.0, 0.0, 0.0))
    begin(world, level)
    play(world, keys("KeyW"), lambda s: s.z > 1.4 and not s.inside(0))
    with pytest.raises(AssertionError, match="not in 20 ticks"):
        play(world, keys("KeyW"), lambda s: s.inside(0), 20)
    world.step(keys("KeyE"))
    play(world, NEUTRAL, lambda s: s.opened == {0})
    play(world, keys("KeyW"), lambda s: s.inside(0))


@needs_game
def test_the_same_state_after_reset_whatever_happened(world: Minetest) -> None:
    first = begin(world)
    world.action_space.seed(0)
    for _ in range(50):
        world.step(world.action_space.sample())
    world.step(keys("KeyD", "Space", "Digit4"))
    assert world.held[0] >= {"KeyD", "Space", "Digit4"}
    again = begin(world)
    assert world.held == (frozenset(), frozenset())
    for name in ("tick", "bag", "dug", "placed", "opened", "base", "level", "hp"):
        assert getattr(again, name) == getattr(first, name)
    assert np.array_equal(again.ground, first.ground)
    assert (again.x, again.y, again.z, again.pitch) == pytest.approx((first.x, first.y, first.z, 0.0), abs=0.05)
    _, info = world.reset(seed=5)
    _, same = world.reset(seed=5)
    assert info["state"].level == same["state"].level != first.level


@needs_game
def test_natural_terrain_is_mended_after_an_episode(world: Minetest) -> None:
    level = generate(3, things=[("pillar", "red")], natural=True, sites=[1])
    state = begin(world, level)
    assert state.y == pytest.approx(state.ground[round(state.x) + 17, round(state.z) + 17], abs=0.05)
    assert len(set(state.ground[state.ground > BLOCKED].tolist())) > 1
    begin(world)
    bare = begin(world, Level(level.half, level.theme, (), level.start, level.site))
    again = begin(world, level)
    assert np.array_equal(again.ground, state.ground)
    assert not np.array_equal(bare.ground, state.ground)


@needs_game
def test_commands_and_chat(world: Minetest) -> None:
    begin(world)
    world.tell("teleport", x=3, y=0, z=-3, yaw=90.0)
    play(world, NEUTRAL, lambda s: abs(s.x - 3.0) < 0.1 and abs(s.z + 3.0) < 0.1 and abs(s.yaw - 90.0) < 0.5)
    world.tell("give", item="ludens:cross_red 4")
    play(world, NEUTRAL, lambda s: s.bag.get("ludens:cross_red") == 4)
    before = world.step(NEUTRAL)[0]["pixels"]
    assert world.chat is not None
    world.chat.send("hello")
    assert world.chat.read() == []
    frames = [world.step(NEUTRAL)[0]["pixels"][:30] for _ in range(20)]
    assert any((frame != before[:30]).any(axis=2).sum() > 20 for frame in frames)  # it stands in the picture
    with pytest.raises(ValueError, match="unknown command 'fly'; known: give, level"):
        world.tell("fly")
    with pytest.raises(ValueError, match="unknown reset option 'room'"):
        world.reset(options={"room": {}})
    with pytest.raises(gymnasium.error.ResetNeeded):
        world.step(NEUTRAL)


@needs_game
@pytest.mark.parametrize("half", ["--server", "--go"])
def test_a_game_that_dies_is_told_and_started_anew(world: Minetest, half: str) -> None:
    begin(world)
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if half in line and any(str(world.folder) in part for part in line):
            os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(GameError, match="minetest ended with status"):
        play(world, NEUTRAL, lambda _: False)
    state = begin(world)
    assert state.tick == 0


@needs_game
def test_nothing_is_heard_from_outside_and_nothing_is_left(tmp_path: Path) -> None:
    world = Minetest("320x240", state=False)
    try:
        observation, info = world.reset(seed=1)
        assert observation["pixels"].shape == (240, 320, 3)
        assert "state" not in info
        folder = world.folder
        games = [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]
        addresses = {c.laddr.ip for p in games for c in p.net_connections() if c.laddr and c.status == "NONE"}
        assert "127.0.0.1" in addresses
        assert len(games) >= 2
        world.close()
        assert not folder.exists()
        assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in games)
        assert world.held == (frozenset(), frozenset())
    finally:
        world.close()


@needs_game
def test_conformance() -> None:
    assert check_world(Minetest, episodes=1, ticks=20) == []

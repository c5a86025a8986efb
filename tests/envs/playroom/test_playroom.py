"""The playroom: rooms as data, and what hands can do in the real physics."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from envs.action import NEUTRAL, Action
from envs.check import check_world
from envs.errors import UserError
from envs.playroom.room import Furniture, Room, Thing
from envs.playroom.rooms import ARM, BODY_RADIUS, HELD_OUT_THEMES, THEMES, TRAINING_THEMES, generate
from envs.playroom.state import PlayroomState
from envs.playroom.things import CLASSES, COLOURS, KINDS, SIZES
from envs.playroom.world import MAX_LOOK, MAX_PITCH, REACH, Playroom
from tests.support.components import needs

pytestmark = needs("mujoco-drawing")

LEFT, RIGHT = Action(buttons=frozenset({"left"})), Action(buttons=frozenset({"right"}))
CUBE = Thing("cube", "red", "small", 1.1, 0.0)
TABLE = Furniture("table", -1.4, 0.0, 1, 1.2, 0.75, 0.5)
BIN = Furniture("bin", 1.4, 0.0, 0, 0.75, 0.75, 0.32)


@pytest.fixture(scope="module")
def world() -> Iterator[Playroom]:
    made = Playroom(labels=True)
    yield made
    made.close()


def keys(*names: str, look: tuple[float, float] = (0.0, 0.0)) -> Action:
    return Action(keys=frozenset(names), look=look)


def apart(a: float, b: float) -> float:
    return (a - b + 180.0) % 360.0 - 180.0


def begin(world: Playroom, *things: Thing, furniture: tuple[Furniture, ...] = (), yaw: float = 0.0) -> PlayroomState:
    """The state at the beginning in a room of 5 m by 5 m, with the avatar in its middle."""
    room = Room(5.0, 5.0, 2.6, THEMES["sea"], (0.0, 0.0, yaw), furniture, things)
    return world.reset(seed=0, options={"room": room.to_json()})[1]["state"]


def play(world: Playroom, action: Action = NEUTRAL, ticks: int = 1) -> PlayroomState:
    return world.step_chunk([action] * ticks)[4]["state"]


def aim(world: Playroom, state: PlayroomState, thing: int) -> PlayroomState:
    for _ in range(5):
        right, up = state.bearing(thing)
        look = tuple(min(MAX_LOOK, max(-MAX_LOOK, angle)) for angle in (right, up))
        state = play(world, Action(look=look))  # type: ignore[arg-type]
    return state


def point_hand(world: Playroom, state: PlayroomState, x: float, y: float, z: float) -> PlayroomState:
    """Look so that what is held is over a place, 14 degrees under the crosshair."""
    for _ in range(40):
        dx, dy = x - state.x, y - state.y
        right = apart(state.yaw, math.degrees(math.atan2(dy, dx)))
        up = math.degrees(math.atan2(z - state.eye, math.hypot(dx, dy))) + 14.0 - state.pitch
        walk = "KeyW" if abs(right) < 5.0 and math.hypot(dx, dy) > 0.9 else None
        look = (min(20.0, max(-20.0, right)), min(20.0, max(-20.0, up)))
        state = play(world, keys(*([walk] if walk else []), look=look))
    return state


def test_the_contract_is_kept() -> None:
    assert [str(violation) for violation in check_world(Playroom, episodes=2, ticks=25)] == []


def test_rooms_are_data_and_a_seed_makes_one_room() -> None:
    for seed in range(30):
        room = generate(seed)
        assert Room.from_json(json.loads(json.dumps(room.to_json()))) == room == generate(seed)
        assert room.theme.name in TRAINING_THEMES
        assert not set(TRAINING_THEMES) & set(HELD_OUT_THEMES)
    assert len({generate(seed) for seed in range(30)}) == 30


@pytest.mark.parametrize("count", [8, 24])
def test_nothing_overlaps_and_everything_can_be_reached(count: int) -> None:
    for seed in range(15):
        room = generate(seed, n_things=(count, count), themes=HELD_OUT_THEMES)
        assert len(room.things) == count
        assert len({(thing.kind, thing.colour) for thing in room.things}) == count
        solid = [piece for piece in room.furniture if piece.kind != "rug"]
        for i, thing in enumerate(room.things):
            assert abs(thing.x) + thing.radius < room.width / 2
            assert abs(thing.y) + thing.radius < room.depth / 2
            for other in room.things[:i]:
                assert math.hypot(thing.x - other.x, thing.y - other.y) > thing.radius + other.radius
            if thing.z == 0.0:
                assert not any(piece.covers(thing.x, thing.y, thing.radius) for piece in solid)
            else:
                carrier = next(piece for piece in solid if piece.covers(thing.x, thing.y))
                assert thing.z == carrier.height
            # somewhere around it one can stand
            places = [
                (thing.x + r * math.cos(a), thing.y + r * math.sin(a))
                for r in np.linspace(0.1, ARM, 12)
                for a in np.linspace(0, 2 * math.pi, 32)
            ]
            assert any(
                abs(x) < room.width / 2 - BODY_RADIUS
                and abs(y) < room.depth / 2 - BODY_RADIUS
                and not any(piece.covers(x, y, BODY_RADIUS) for piece in solid)
                for x, y in places
            )


def test_what_is_asked_for_is_there() -> None:
    room = generate(4, things=[("duck", "purple", "large"), ("cone", "white", None)], furniture=("bin", "rug"))
    assert (room.things[0].kind, room.things[0].colour, room.things[0].size) == ("duck", "purple", "large")
    assert (room.things[1].kind, room.things[1].colour) == ("cone", "white")
    assert {piece.kind for piece in room.furniture} == {"bin", "rug"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"generator": {"themes": ["moon"]}}, "unknown 'moon'"),
        ({"generator": {"things": [["unicorn", "red", "small"]]}}, "unknown kind 'unicorn'"),
        ({"generator": {"things": [["duck", "red", "huge"]]}}, "unknown size 'huge'"),
        ({"generator": {"n_things": (3, 1)}}, "n_things"),
        ({"generator": {"doors": 1}}, "doors"),
        ({"level": {}}, "unknown reset option 'level'"),
        ({"room": {}}, "not a room"),
        ({"room": {**generate(0).to_json(), "width": float("nan")}}, "width: expected a number"),
        ({"room": {**generate(0).to_json(), "light": "<geom/>"}}, "light: expected a number"),
        ({"room": {**generate(0).to_json(), "furniture": [vars(TABLE), vars(TABLE)]}}, "at most one of each kind"),
        ({"room": {**generate(0).to_json(), "things": [{**vars(CUBE), "kind": "'/>"}]}}, "unknown"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(world: Playroom, options: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        world.reset(seed=0, options=options)


@pytest.mark.parametrize("resolution", ["160", "8x8", "160x120x3", "9999x9999"])
def test_wrong_resolutions_are_refused(resolution: str) -> None:
    with pytest.raises(ValueError, match="expected WIDTHxHEIGHT"):
        Playroom(resolution)


@pytest.mark.parametrize("size", list(SIZES))
def test_every_kind_stands_still_and_can_be_lifted(world: Playroom, size: str) -> None:
    for index, kind in enumerate(KINDS):
        colour = list(COLOURS)[index % len(COLOURS)]
        thing = Thing(kind, colour, size, 1.0, 0.0, 0.0, 25.0 * index)
        state = begin(world, thing)
        assert state.positions[0] == pytest.approx((1.0, 0.0, thing.height / 2), abs=0.02), kind
        assert np.abs(state.velocities).max() < 0.1, kind
        assert state.lies_on(0, "floor"), kind
        state = aim(world, state, 0)
        assert state.aimed == 0, kind
        assert (state.labels == CLASSES[kind, colour]).sum() > 20, kind
        state = play(world, LEFT)
        assert state.held == 0, kind
        state = play(world, keys(look=(0.0, 1.0)), 30)
        assert state.held == 0, kind
        assert state.positions[0][2] > thing.height, kind
        assert not state.on, kind


def test_a_thing_goes_where_the_eyes_go_and_falls_when_it_is_dropped(world: Playroom) -> None:
    state = aim(world, begin(world, CUBE), 0)
    play(world, LEFT)
    state = play(world, LEFT, 30)  # held down: a press is an edge
    assert state.held == 0
    play(world, keys(look=(9.0, 1.0)), 10)
    state = play(world, NEUTRAL, 20)
    assert state.held == 0
    assert abs(state.bearing(0)[0]) < 3.0
    play(world, keys("KeyW"), 20)
    assert play(world).distance(0) < 1.0
    play(world, keys("KeyE"))
    state = play(world, NEUTRAL, 40)
    assert state.held is None
    assert state.lies_on(0, "floor")


def test_what_is_out_of_reach_or_not_aimed_at_stays(world: Playroom) -> None:
    far = Thing("cube", "red", "small", REACH + 0.4, 0.0)
    state = aim(world, begin(world, far), 0)
    assert state.aimed is None
    assert play(world, LEFT).held is None
    play(world, RIGHT)
    assert play(world, NEUTRAL, 10).positions[0][0] == pytest.approx(far.x, abs=0.01)
    assert begin(world, CUBE).aimed is None  # it is on the floor, and the eyes look ahead
    assert play(world, LEFT).held is None


@pytest.mark.parametrize("kind", ["cube", "ball", "bottle"])
def test_a_push_drives_it_away(world: Playroom, kind: str) -> None:
    aim(world, begin(world, Thing(kind, "blue", "small", 1.1, 0.0)), 0)
    play(world, RIGHT)
    state = play(world, NEUTRAL, 60)
    assert state.positions[0][0] > 1.3
    assert abs(state.positions[0][1]) < 0.1


def test_things_are_put_in_the_bin_and_on_the_table(world: Playroom) -> None:
    duck, cube = Thing("duck", "yellow", "large", 0.0, 1.0), Thing("cube", "red", "small", 0.0, -1.0)
    state = begin(world, duck, cube, furniture=(BIN, TABLE))
    aim(world, state, 0)
    state = point_hand(world, play(world, LEFT), BIN.x, BIN.y, 0.1)
    assert not state.is_in(0)  # still in the hand
    play(world, LEFT)
    state = play(world, NEUTRAL, 40)
    assert state.is_in(0)
    assert state.lies_on(0, "bin")
    while state.distance(1) > 1.0:
        right, up = state.bearing(1)
        state = play(world, keys("KeyW", look=(min(20.0, max(-20.0, right)), min(20.0, max(-20.0, up)))))
    aim(world, state, 1)
    state = point_hand(world, play(world, LEFT), TABLE.x, TABLE.y, TABLE.height)
    play(world, LEFT)
    state = play(world, NEUTRAL, 40)
    assert state.lies_on(1, "table")
    assert not state.is_in(1)
    assert state.is_in(0)


def test_a_thing_lies_on_a_thing_and_on_the_rug(world: Playroom) -> None:
    rug = Furniture("rug", 1.0, 1.0, 0, 1.0, 1.0, 0.05)
    base = Thing("cube", "blue", "large", 1.0, 1.0)
    state = begin(world, base, Thing("cup", "white", "small", 1.0, 1.0, base.height), CUBE, furniture=(rug,))
    assert state.lies_on(1, 0)
    assert not state.lies_on(0, 1)
    assert state.on == {(0, "floor"), (1, 0), (2, "floor")}
    assert [state.lies_on(i, "rug") for i in range(3)] == [True, False, False]


@pytest.mark.parametrize("yaw", [0.0, 37.0, 90.0, 200.0])
def test_one_walks_turns_and_crouches_as_the_keys_say(world: Playroom, yaw: float) -> None:
    begin(world, yaw=yaw)
    state = play(world, keys("KeyW"), 20)
    assert math.hypot(state.x, state.y) > 0.7
    assert abs(apart(math.degrees(math.atan2(state.y, state.x)), yaw)) < 0.5
    begin(world, yaw=yaw)
    state = play(world, keys("KeyD"), 20)
    assert abs(apart(math.degrees(math.atan2(state.y, state.x)), yaw - 90.0)) < 0.5
    state = play(world, Action(look=(30.0, 10.0)))
    assert state.yaw == pytest.approx((yaw - 30.0) % 360)
    assert state.pitch == 10.0
    assert play(world, Action(look=(0.0, 45.0)), 3).pitch == MAX_PITCH
    tall = state.eye
    assert play(world, keys("KeyC"), 20).eye == play(world, keys("ControlLeft"), 2).eye < tall - 0.4
    assert play(world, NEUTRAL, 20).eye == tall


def test_a_turn_in_degrees_is_a_turn_of_the_picture(world: Playroom) -> None:
    """What is 20 degrees to the right, by the tangent, stands in the middle after a turn of 20 degrees."""
    angle = math.radians(-20.0)
    ball = Thing("ball", "red", "small", 2.2 * math.cos(angle), 2.2 * math.sin(angle))

    def column(state: PlayroomState) -> float:
        assert state.labels is not None
        return float(np.nonzero(state.labels == CLASSES["ball", "red"])[1].mean())

    state = begin(world, ball)
    focal = 60.0 / math.tan(math.radians(30.0))
    assert column(state) == pytest.approx(79.5 + focal * math.tan(-angle), abs=1.0)
    assert column(play(world, Action(look=(20.0, 0.0)))) == pytest.approx(79.5, abs=1.0)


def test_walls_furniture_and_the_held_thing_stop_nobody_from_staying_in_the_room(world: Playroom) -> None:
    state = begin(world, CUBE, furniture=(TABLE, BIN))
    aim(world, state, 0)
    play(world, LEFT)
    rng = np.random.default_rng(0)
    for _ in range(40):
        walk = rng.choice(["KeyW", "KeyA", "KeyD", "KeyS"], 2)
        state = play(world, keys(*walk, look=(float(rng.normal(0, 5)), float(rng.normal(0, 3)))), 15)
        assert max(abs(state.x), abs(state.y)) < 2.5 - BODY_RADIUS + 0.05
        assert not any(piece.covers(state.x, state.y, BODY_RADIUS - 0.05) for piece in (TABLE, BIN))
        assert np.abs(state.positions[:, :2]).max() < 2.5
        assert state.positions[:, 2].min() > 0.05
        assert np.abs(state.velocities[:, :3]).max() < 8.0


def test_frames_show_colours_and_labels_match_them(world: Playroom) -> None:
    state = aim(world, begin(world, CUBE), 0)
    frame = world.render()
    assert frame is not None
    assert state.labels is not None
    seen = frame[state.labels == CLASSES["cube", "red"]].mean(axis=0)
    assert seen[0] > 2 * seen[1]
    for theme in THEMES:
        pixels = world.reset(seed=1, options={"generator": {"themes": [theme]}})[0]["pixels"]
        assert 60 < pixels.mean() < 230, theme


def test_shadows_are_drawn_on_request() -> None:
    frames = []
    for shadows in (False, True):
        world = Playroom("64x48", shadows=shadows, crosshair=False, state=False)
        pixels, info = world.reset(seed=3)
        assert info == {}
        frames.append(pixels["pixels"].astype(int))
        world.close()
    assert np.abs(frames[0] - frames[1]).max() > 10


def test_states_compare_and_their_arrays_are_not_written_to(world: Playroom) -> None:
    first, again = begin(world, CUBE), begin(world, CUBE)
    assert first == again
    assert np.array_equal(first.positions, again.positions)
    with pytest.raises(ValueError, match="read-only"):
        first.positions[0, 0] = 3.0


def test_without_a_driver_the_error_names_the_package() -> None:
    script = (
        "from envs.errors import UserError\nfrom envs.playroom.world import Playroom\n"
        "world = Playroom()\ntry:\n    world.reset(seed=0)\nexcept UserError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "MUJOCO_GL": "disable"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "libegl1" in done.stdout
    assert "libosmesa6" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    assert issubclass(UserError, Exception)


def test_torch_can_be_imported_after_the_first_frame() -> None:
    """Mesa and Triton bring an LLVM each, and in the wrong order the process ends."""
    script = (
        "from envs.playroom.world import Playroom\nworld = Playroom('64x48')\nworld.reset(seed=0)\n"
        "import torch, torchvision\nprint(world.render().shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.strip() == "(48, 64, 3)", done.stderr[-500:]


# Going back


def test_a_room_goes_back_to_a_moment_bit_for_bit(world: Playroom) -> None:
    state = begin(world, CUBE, Thing("ball", "blue", "large", 0.0, 1.4), furniture=(TABLE,))
    aim(world, state, 0)
    assert play(world, LEFT).held == 0, "it holds the cube"
    saved = world.save()
    way = [keys("KeyW", look=(4.0, 0.0)), keys("KeyA"), LEFT, NEUTRAL, RIGHT, keys("KeyC")] * 4

    def played() -> list[bytes]:
        return [world.step(action)[0]["pixels"].tobytes() for action in way]

    there = played()
    after = play(world)
    assert after.held is None, "it let go of the cube"
    world.restore(saved)
    assert played() == there
    again = play(world)
    assert (again.tick, again.held, again.x, again.y) == (after.tick, after.held, after.x, after.y)
    begin(world, CUBE)
    with pytest.raises(ValueError, match="not of this episode"):
        world.restore(saved)

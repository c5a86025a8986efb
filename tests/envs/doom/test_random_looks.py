"""Looks: what they are made of, that they change nothing else, and that the engine draws them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import vizdoom

from envs.action import Action
from envs.doom import textures
from envs.doom.level import FOV, Level, Look, textmap
from envs.doom.levels import HELD_OUT_THEMES, THEMES, VAULT_THEMES, generate
from envs.doom.looks import MIXED, randomised
from envs.doom.placement import VAULT_PANEL_TEXTURES
from envs.doom.things import CLASSES
from envs.doom.world import DoomState, DoomWorld
from tasks.doom.suites import LOOKS, SUITES
from training.small.judge_goals import LOOKING

KEPT_APART = [THEMES[name] for name in HELD_OUT_THEMES + VAULT_THEMES]
OTHERS = {part for theme in KEPT_APART for part in (theme.wall, theme.floor, theme.ceiling)} | set(VAULT_PANEL_TEXTURES)


class Wad:
    """Freedoom's textures: of each its size and the pictures that it is made of; and the names of its flats."""

    def __init__(self) -> None:
        data = (Path(vizdoom.__file__).parent / "freedoom2.wad").read_bytes()
        count, directory = struct.unpack("<ii", data[4:12])
        rows = [struct.unpack("<ii8s", data[directory + 16 * i : directory + 16 * i + 16]) for i in range(count)]
        lumps = [(_text(name), data[at : at + size]) for at, size, name in rows]
        names = [name for name, _ in lumps]
        self.flats = set(names[names.index("F_START") : names.index("F_END")])
        by_name = dict(lumps)
        pictures = [_text(by_name["PNAMES"][4 + 8 * i : 12 + 8 * i]) for i in range(len(by_name["PNAMES"]) // 8)]
        self.textures: dict[str, tuple[int, int, set[str]]] = {}
        lump = by_name["TEXTURE1"]
        for i in range(struct.unpack("<i", lump[:4])[0]):
            at = struct.unpack("<i", lump[4 + 4 * i : 8 + 4 * i])[0]
            width, height = struct.unpack("<hh", lump[at + 12 : at + 16])
            parts = struct.unpack("<h", lump[at + 20 : at + 22])[0]
            used = {pictures[struct.unpack("<h", lump[at + 26 + 10 * j : at + 28 + 10 * j])[0]] for j in range(parts)}
            self.textures[_text(lump[at : at + 8])] = (width, height, used)


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("latin1").upper()


@pytest.fixture(scope="module")
def wad() -> Wad:
    return Wad()


@pytest.fixture(scope="module")
def world() -> Iterator[DoomWorld]:
    made = DoomWorld(labels=True)
    yield made
    made.close()


def parts() -> set[str]:
    """What the composed textures are made of."""
    return set(re.findall(r'Patch "(\w+)"', textures.composed()))


def drawn(level: Level) -> set[str]:
    """Every texture that a level names."""
    return set(re.findall(r'texture\w+="([^"]+)"', textmap(level))) - {"-"}


def looking(suite: str, count: int) -> list[Level]:
    chosen = LOOKING if suite == LOOKING.name else SUITES[suite]
    return [Level.from_json(chosen.task(1, i, evaluation=False).options["level"]) for i in range(count)]


def test_nothing_is_made_of_what_is_held_out_or_the_vaults(wad: Wad) -> None:
    pool = {*textures.WALLS, *textures.CEILINGS, *textures.SWITCHES, *parts()}
    assert not pool & OTHERS
    # nor is any wall of a picture that theirs are of, under another name
    theirs = set().union(*(wad.textures[theme.wall][2] for theme in KEPT_APART))
    for name in {*textures.WALLS, *textures.SWITCHES, *parts()}:
        assert not wad.textures[name][2] & theirs, name


def test_all_of_it_is_in_freedoom(wad: Wad) -> None:
    for name in textures.WALLS:
        assert wad.textures[name][1] == 128, name
    for name in textures.SWITCHES:
        assert wad.textures[name][:2] == (64, 128), name
        assert name.replace("SW1", "SW2") in wad.textures
    assert set(textures.CEILINGS) <= wad.flats
    made = set(re.findall(r"WallTexture (\w+),", textures.composed()))
    doors = {*textures.DOORS, *textures.GATES, *(name for names in textures.LOCKS.values() for name in names)}
    assert parts() | doors - made <= set(wad.textures)
    assert not made & set(wad.textures)
    assert max(len(name) for name in made) <= 8


@pytest.mark.parametrize("suite", [f"doom-room{LOOKS}", f"doom-rooms{LOOKS}", LOOKING.name])
def test_no_level_of_any_looks_draws_what_is_held_out(suite: str) -> None:
    seen = set().union(*(drawn(level) for level in looking(suite, 30)))
    assert not seen & OTHERS
    assert len(seen) > 60


def test_looks_change_nothing_but_looks() -> None:
    level = generate(3, panels=2)
    other = randomised(level, 3)
    assert other == randomised(level, 3) != randomised(level, 4)
    assert (other.things, other.start, other.pillars, other.doors) == (
        level.things,
        level.start,
        level.pillars,
        level.doors,
    )
    assert [room.rect for room in other.rooms] == [room.rect for room in level.rooms]
    assert [replace(p, texture="") for p in other.panels] == [replace(p, texture="") for p in level.panels]
    assert Level.from_json(other.to_json()) == other
    assert "look" not in level.to_json()  # what has none is written as it always was


def test_every_lock_shows_its_colour_and_every_kind_of_door_its_own() -> None:
    found = set()
    for level in looking(LOOKING.name, 30):
        assert level.look is not None
        for door, texture in zip(level.doors, level.look.doors, strict=True):
            kinds = {"door": textures.DOORS, "remote": textures.GATES, "open": ("-",)}
            assert texture in (textures.LOCKS[door.colour or ""] if door.kind == "locked" else kinds[door.kind])
            found.add(texture)
        assert {room.theme.name for room in level.rooms} & {MIXED, *THEMES}
    assert len(found) > 30
    assert not set(textures.DOORS) & set(textures.GATES)
    assert not set(textures.LOCKS["red"]) & set(textures.LOCKS["blue"])


def frame(world: DoomWorld, level: Level) -> tuple[npt.NDArray[np.uint8], DoomState]:
    observation, info = world.reset(seed=1, options={"level": level.to_json()})
    return observation["pixels"].copy(), info["state"]


def test_the_engine_draws_a_look(world: DoomWorld) -> None:
    level = replace(generate(8, things=[("torch", "green")], n_things=(1, 1)), pillars=())
    thing = level.things[0]
    x, y, _ = level.start
    angle = round(np.degrees(np.arctan2(thing.y - y, thing.x - x)))
    level = replace(level, start=(x, y, angle))
    usual, state = frame(world, level)
    pixels = int((state.labels > 0).sum())  # type: ignore[operator]
    for look in (Look(weapon=False), Look(fov=75.0), Look(scales=(1.5,)), Look(tints=("ff8080",))):
        other, state = frame(world, replace(level, look=look))
        assert (other != usual).any(), look
        if look.fov != FOV or look.scales:  # it looks larger
            assert int((state.labels > 0).sum()) > 1.2 * pixels  # type: ignore[operator]
        again, _ = frame(world, level)
        assert (again == usual).all()  # and leaves no trace in the next level


def test_a_thing_is_where_the_view_says(world: DoomWorld) -> None:
    """The columns of fixtures are told by geometry, those of things by pixels; both have to agree in any view."""
    from agent.sight import COLUMNS, column_of
    from tasks.doom.geometry import bearing

    for fov in (76.0, 106.0):
        for level in looking(f"doom-room{LOOKS}", 6):
            assert level.look is not None
            _, state = frame(world, replace(level, look=replace(level.look, fov=fov)))
            assert state.labels is not None
            for thing in state.objects:
                mine = [o for o in state.objects if (o.kind, o.colour) == (thing.kind, thing.colour)]
                column = column_of(bearing(state, thing.x, thing.y), fov)
                columns = np.nonzero(state.labels == CLASSES[thing.kind, thing.colour])[1]
                if (
                    len(mine) == 1
                    and len(columns)
                    and 4 < column < COLUMNS - 4
                    and 8 < columns.min() < columns.max() < 152
                ):
                    assert abs(columns.mean() / 2 - column) < 6


def test_a_pressed_switch_looks_other_than_before(world: DoomWorld) -> None:
    level = generate(5, panels=1, n_things=(0, 0), pillars=0)
    panel = replace(level.panels[0], texture="SW1STRTN")
    room = level.rooms[0].rect
    x, y = panel.centre
    ahead = {room.x0: (50, 0, 180), room.x1: (-50, 0, 0)}.get(panel.x0) if panel.x0 == panel.x1 else None
    dx, dy, angle = ahead or ((0, 50, 270) if panel.y0 == room.y0 else (0, -50, 90))
    level = replace(level, panels=(panel,), start=(round(x + dx), round(y + dy), angle), look=Look(weapon=False))
    before, state = frame(world, level)
    assert state.markers == {0}
    for _ in range(4):
        observation, _, _, _, info = world.step(Action(frozenset({"KeyE"})))
    assert info["state"].markers == frozenset()
    assert (observation["pixels"] != before).any()


def test_a_look_that_fits_no_level_is_refused() -> None:
    data = randomised(generate(1), 1).to_json()
    with pytest.raises(ValueError, match="field of view"):
        Level.from_json({**data, "look": {**data["look"], "fov": float("nan")}})
    with pytest.raises(ValueError, match="2 tints; expected 1"):
        Level.from_json({**data, "look": {**data["look"], "tints": ["ffffff", "ffffff"]}})
    with pytest.raises(ValueError, match="not a level"):
        Level.from_json({**data, "look": {"fov": 90.0}})

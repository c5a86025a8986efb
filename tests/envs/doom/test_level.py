"""Levels as data: rectangles in, UDMF out; generators keep their promises."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.doom.layouts import HELD_OUT_LAYOUTS, LAYOUTS, TRAINING_LAYOUTS, VAULT_LAYOUTS, floor_plan, furnish
from envs.doom.level import Door, Level, Panel, Rect, Room, Thing, joined, textmap
from envs.doom.levels import HELD_OUT_THEMES, THEMES, TRAINING_THEMES, VAULT_THEMES, generate, segment_hits
from envs.doom.picture import draw_map
from envs.doom.things import ACTORS

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = sorted(THEMES)

rects = st.builds(
    lambda x, y, w, h: Rect(x, y, x + w, y + h),
    st.integers(-2000, 2000), st.integers(-2000, 2000), st.integers(1, 900), st.integers(1, 900),
)  # fmt: skip
things = st.builds(
    lambda pair, x, y: Thing(*pair, x, y), st.sampled_from(list(ACTORS)), st.integers(-99, 99), st.integers(-99, 99)
)
rooms = st.builds(
    Room,
    rects,
    st.sampled_from([THEMES[n] for n in NAMES]),
    st.integers(96, 256),
    st.integers(0, 255),
    st.text("ab", max_size=3),
)
doors = st.builds(
    Door, rects, st.sampled_from(["open", "door", "locked", "remote"]), st.sampled_from([None, "red", "blue", "yellow"])
)
panels = st.builds(
    Panel, st.integers(0, 9), st.integers(0, 9), st.integers(9, 20), st.integers(9, 20), st.none() | st.integers(0, 3)
)
levels = st.builds(
    Level,
    rooms=st.lists(rooms, min_size=1, max_size=4).map(tuple),
    start=st.tuples(st.integers(-99, 99), st.integers(-99, 99), st.integers(0, 359)),
    things=st.lists(things, max_size=5).map(tuple),
    doors=st.lists(doors, max_size=3).map(tuple),
    pillars=st.lists(rects, max_size=2).map(tuple),
    panels=st.lists(panels, max_size=2).map(tuple),
    seed=st.integers(0, 2**31),
)


@QUICK
@given(levels)
def test_a_level_survives_json(level: Level) -> None:
    again = Level.from_json(level.to_json())
    assert again == level
    assert again.seed == level.seed


def test_what_is_no_level_is_refused() -> None:
    with pytest.raises(ValueError, match="not a level: 'start'"):
        Level.from_json({"rooms": []})


@QUICK
@given(st.integers(0, 2**31), st.sampled_from([(), *((name,) for name in LAYOUTS)]))
def test_every_wall_is_closed(seed: int, layouts: tuple[str, ...]) -> None:
    """Around every sector the lines form closed loops: each vertex is left as often as it is entered."""
    level = generate(seed, layouts=layouts)
    text = textmap(level)
    sides = [int(s) for s in re.findall(r"sidedef\{sector=(\d+);", text)]
    assert text.count("sector{") == len(level.rooms) + len(level.doors)
    balance: dict[tuple[int, int], int] = {}
    for v1, v2, front, back in re.findall(r"linedef\{v1=(\d+);v2=(\d+);sidefront=(\d+);(?:sideback=(\d+);)?", text):
        for side, (a, b) in ((front, (v1, v2)), (back, (v2, v1))):
            if side:
                sector = sides[int(side)]
                balance[sector, int(a)] = balance.get((sector, int(a)), 0) + 1
                balance[sector, int(b)] = balance.get((sector, int(b)), 0) - 1
    assert set(sides) == set(range(len(level.rooms) + len(level.doors)))
    assert not any(balance.values())


@QUICK
@given(st.integers(0, 2**31), st.sampled_from(sorted(LAYOUTS)))
def test_rooms_of_a_house_keep_apart_and_their_doors_join_them(seed: int, name: str) -> None:
    level = generate(seed, layouts=[name], n_things=(5, 6), themes=NAMES)
    assert generate(seed, layouts=[name], n_things=(5, 6), themes=NAMES) == level
    for a, b in itertools.combinations([r.rect for r in level.rooms], 2):
        assert a.x1 < b.x0 or b.x1 < a.x0 or a.y1 < b.y0 or b.y1 < a.y0
    found = {tuple(sorted(joined(level, i))) for i in range(len(level.doors))}
    assert found == {tuple(sorted(pair)) for pair in LAYOUTS[name].joins}
    for thing in level.things:
        assert sum(r.rect.contains(thing.x, thing.y, 40) for r in level.rooms) == 1
    for a, b in itertools.combinations(level.things, 2):
        assert math.hypot(a.x - b.x, a.y - b.y) >= 90
    for door in level.doors:  # one can get through
        assert min(door.rect.x1 - door.rect.x0, door.rect.y1 - door.rect.y0) == 32
        assert max(door.rect.x1 - door.rect.x0, door.rect.y1 - door.rect.y0) >= 64


@QUICK
@given(st.integers(0, 2**31), st.integers(0, 3))
def test_a_room_holds_what_was_asked_and_nothing_twice(seed: int, panels: int) -> None:
    wanted = [("key", "red"), ("torch", "green")]
    level = generate(seed, things=wanted, panels=panels, themes=["brick"])
    have = [(t.kind, t.colour) for t in level.things]
    assert have[:2] == wanted
    assert len(have) == len(set(have)) <= 7
    assert len(level.panels) == panels
    assert level.rooms[0].theme.name == "brick"
    assert not any(segment_hits(p, *level.start[:2], t.x, t.y) for p in level.pillars for t in level.things)


def test_panels_of_a_house_hang_on_walls_away_from_doors() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        plan = floor_plan(rng, VAULT_LAYOUTS, VAULT_THEMES)
        level = furnish(plan, rng, start=0, things=[], panels=[(0, 1), (1, None)], doors={1: ("remote", None)})
        for room, panel in zip((0, 1), level.panels, strict=True):
            assert plan.rooms[room].rect.contains(*panel.centre)
            assert not any(d.rect.contains(*panel.centre, -50) for d in level.doors)
        # its wall is one line of the text, or several that all work
        assert re.search(r"special=11;arg0=101;", textmap(level))


def test_beyond_a_door_lies_what_only_it_leads_to() -> None:
    plan = floor_plan(np.random.default_rng(0), ["row"], TRAINING_THEMES)
    assert plan.beyond(1, start=0) == {2}
    assert plan.beyond(0, start=2) == {0}
    ring = floor_plan(np.random.default_rng(0), ["ring"], TRAINING_THEMES)
    assert not any(ring.beyond(door, start=0) for door in range(4))


def test_splits_share_no_theme_and_no_layout() -> None:
    assert len(TRAINING_THEMES) >= 8
    for parts, everything in (
        ((TRAINING_THEMES, HELD_OUT_THEMES, VAULT_THEMES), THEMES),
        ((TRAINING_LAYOUTS, HELD_OUT_LAYOUTS, VAULT_LAYOUTS), LAYOUTS),
    ):
        assert sum(len(p) for p in parts) == len(everything)
        assert set().union(*parts) == set(everything)
    walls = [{THEMES[n].wall for n in part} for part in (TRAINING_THEMES, HELD_OUT_THEMES, VAULT_THEMES)]
    assert not any(a & b for a, b in itertools.combinations(walls, 2))
    graphs = [
        {LAYOUTS[n].joins + LAYOUTS[n].rooms for n in p} for p in (TRAINING_LAYOUTS, HELD_OUT_LAYOUTS, VAULT_LAYOUTS)
    ]
    assert not any(a & b for a, b in itertools.combinations(graphs, 2))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"themes": ["moon"]}, "unknown theme 'moon'"), ({"layouts": ["maze"]}, "unknown layout 'maze'; known: .*ring")],
)
def test_unknown_names_are_said(options: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        generate(1, **options)  # type: ignore[arg-type]


def test_the_map_shows_rooms_doors_and_the_way_walked() -> None:
    theme = THEMES["base"]
    level = Level(
        (Room(Rect(0, 0, 320, 320), theme), Room(Rect(352, 0, 672, 320), theme)), (60, 60, 90),
        things=(Thing("key", "blue", 200, 200),), doors=(Door(Rect(320, 112, 352, 208), "locked", "red"),),
    )  # fmt: skip
    picture = draw_map(level, size=720, path=[(60, 60), (280, 60)])
    assert picture.size == (720, 368)

    def at(x: int, y: int) -> tuple[int, ...]:
        return picture.getpixel((x + 24, 320 + 24 - y))  # type: ignore[return-value]

    assert at(336, 160) == (220, 50, 47)
    assert at(200, 200) == (50, 90, 220)
    assert at(336, 20) == at(-10, -10) != at(160, 100)
    assert at(270, 60) == (20, 20, 20)

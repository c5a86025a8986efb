"""Views: sizes, shapes, budgets, points; how people write them, and what the worlds draw for them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli.compose import drawn_for, load_policy
from agent.codec import Codec
from agent.episode import Frame
from agent.glimpses import Glimpses
from agent.policy import Context
from agent.prompted import PROMPTED, Setting, Turn
from agent.view import View, picture_tokens, read_view, shown
from envs.action import KeyboardMouse
from envs.doom.world import DoomWorld
from envs.errors import UserError

sides = st.integers(16, 400)
sizes = st.tuples(sides, sides)


@given(sizes, sizes, st.sampled_from(["letterbox", "crop"]))
@settings(max_examples=60, deadline=None)
def test_nothing_is_stretched_without_a_word(world: tuple[int, int], size: tuple[int, int], aspect: str) -> None:
    """A square in the middle of the world's picture stays a square."""
    frame = np.full((*world, 3), 100, np.uint8)
    side = min(world) // 2
    top, left = (world[0] - side) // 2, (world[1] - side) // 2
    frame[top : top + side, left : left + side] = 250
    picture = shown(frame, size, aspect)  # type: ignore[arg-type]
    assert picture.shape == (*size, 3)
    bright = picture[..., 0] > 175
    high, wide = bright.any(1).sum(), bright.any(0).sum()
    if high < size[0] and wide < size[1]:  # all of it is in view
        assert abs(int(high) - int(wide)) <= 3
    assert bool((picture == 0).any()) <= (aspect == "letterbox")


@given(sizes, sizes, st.sampled_from(["letterbox", "crop", "stretch"]), st.floats(0.2, 0.8), st.floats(0.2, 0.8))
@settings(max_examples=80, deadline=None)
def test_points_are_those_of_the_picture_that_was_shown(
    world: tuple[int, int], size: tuple[int, int], aspect: str, x: float, y: float
) -> None:
    """A model that points at what is bright in its picture hits the bright thing in the world."""
    view = View(size, aspect=aspect)  # type: ignore[arg-type]
    setting = Setting(Codec(KeyboardMouse((), ("left",), pointer=True)), view=view, size=world)
    frame = np.zeros((*world, 3), np.uint8)
    half = np.array(world) / 6
    top, left = (np.array((y, x)) * world - half).astype(int)
    bottom, right = (np.array((y, x)) * world + half).astype(int)
    frame[max(0, top) : bottom + 1, max(0, left) : right + 1] = 255
    lit = np.argwhere(view.newest(frame)[..., 0] > 127)
    if not len(lit):
        return  # it was cropped away
    down, across = (1000 * (lit.mean(0) + 0.5) / size).round().astype(int)
    (action, *_) = setting.actions(Turn(setting.codec.read(f"point {across} {down}")), Context((frame,), "go"))
    assert action.pointer is not None
    at = min(int(action.pointer[1] * world[0]), world[0] - 1), min(int(action.pointer[0] * world[1]), world[1] - 1)
    assert frame[max(0, at[0] - 2) : at[0] + 3, max(0, at[1] - 2) : at[1] + 3].any()  # pixels are coarse
    told = setting.past(Context((frame, frame), "go", actions=((action,) * 4,)), 2)[0]
    pointer = setting.codec.read(told.removeprefix("act: ")).stretches[0].pointer
    assert pointer is not None
    assert np.abs(np.subtract(pointer, (across, down))).max() <= 1 + 500 / min(
        size
    )  # a thin world's pixels are whole ones in the picture


def test_a_budget_of_tokens_shrinks_the_last_picture_only_when_it_is_alone() -> None:
    view = read_view("tokens=6000", PROMPTED)
    assert view.sizes((1080, 1920)) == ((180, 320), (720, 1280))
    (alone,) = read_view("tokens=900", PROMPTED).sizes((1080, 1920))
    assert picture_tokens(*alone) <= 900
    assert alone[1] / alone[0] == pytest.approx(16 / 9, rel=0.02)
    assert View.stretched((120, 160)).sizes((500, 800)) == ((120, 160),)
    assert PROMPTED.sizes((500, 800))[-1] == (500, 800), "nothing is enlarged"


def test_what_people_write() -> None:
    view = read_view(" size=640x480, frames=2,apart=1000ms,encoding=jpeg,tokens=any,bytes=200000", PROMPTED)
    assert view == View(
        (480, 640), exactly=False, frames=2, apart=1000.0, earlier=(180, 320), encoding="jpeg:90", bytes=200_000
    )
    assert read_view("exactly=160x120,aspect=stretch,apart=decisions,earlier=any", PROMPTED).apart is None
    assert read_view("", PROMPTED) is not None
    assert read_view("size=world", PROMPTED).sizes((1440, 2560))[-1] != (1440, 2560)  # the tokens are bounded still


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sise=640x480", "expected NAME=VALUE with a name of size, exactly"),
        ("size=640", "--view: size: expected WIDTHxHEIGHT"),
        ("aspect=wide", "aspect: expected letterbox, crop, stretch"),
        ("aspect=stretch", "stretched to an exact size alone"),
        ("size=world,aspect=crop", "cropped to the shape of a size"),
        ("frames=0", "frames: expected at least 1"),
        ("apart=soon", "expected milliseconds such as 500, or decisions"),
        ("encoding=webp", "expected png or jpeg:QUALITY"),
        ("exactly=1280x720,tokens=100", "100 are fewer than the"),
    ],
)
def test_mistakes_are_told_in_a_line(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_view(text, PROMPTED)


def test_what_was_made_for_one_view_takes_no_other() -> None:
    with pytest.raises(UserError, match="policy 'random' sees what it was made for; leave --view out"):
        load_policy("random", view="frames=2")


def test_worlds_draw_at_what_is_asked_for() -> None:
    assert drawn_for(PROMPTED, DoomWorld.resolutions) == "640x480"
    assert drawn_for(View.stretched((120, 160)), DoomWorld.resolutions) == "160x120"
    assert drawn_for(View((300, 400), exactly=False), DoomWorld.resolutions) == "320x240"
    assert drawn_for(View((64, 64)), DoomWorld.resolutions) is None
    assert drawn_for(PROMPTED, ()) is None


@pytest.mark.parametrize("apart", [None, 100.0, 500.0, 1999.0])
def test_glimpses_are_as_far_apart_as_they_should_be_and_few(apart: float | None) -> None:
    glimpses = Glimpses(View((8, 8), frames=4, apart=apart, earlier=(4, 4)), 35.0)
    asked: list[int] = []
    for tick in range(400):
        frame: Frame = np.full((16, 16, 3), tick % 256, np.uint8)
        glimpses.saw(frame, tick)
        if tick % 11 == 0:
            asked.append(tick)
            seen = glimpses.look(frame, tick)
            assert [int(picture[0, 0, 0]) for _, picture in seen] == [at % 256 for at, _ in seen]
            assert [picture.shape[0] for _, picture in seen] == [4] * (len(seen) - 1) + [8]
            if apart is None:
                assert [at for at, _ in seen] == asked[-4:]
            elif tick > 3.5 * apart * 0.035:
                wanted = [tick - back * apart * 0.035 for back in (3, 2, 1, 0)]
                assert len(seen) == 4
                off = [abs(at - want) for (at, _), want in zip(seen, wanted, strict=True)]
                assert max(off) <= 0.5 + 0.1 * apart * 0.035
    assert len(glimpses._kept) <= 24

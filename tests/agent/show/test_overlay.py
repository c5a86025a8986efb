"""The picture for people: what is held can be seen, the game stays visible, files play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from agent.show.overlay import draw, write_video
from envs.action import KEYS, Action

FRAME = np.full((120, 160, 3), (90, 20, 160), np.uint8)


def where(a: Any, b: Any) -> tuple[slice, slice]:
    """The rectangle in which two pictures differ."""
    rows, columns = np.nonzero((a != b).any(-1))
    assert len(rows), "the pictures are the same"
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def test_the_game_is_seen_between_the_panels() -> None:
    picture = draw(FRAME, "pick up the red key", Action(), tick=70)
    assert picture.shape == (480, 640, 3)
    assert picture.dtype == np.uint8
    assert (picture[60:350] == FRAME[0, 0]).all()
    assert (picture[:40].max(-1) > 220).sum() > 200  # white letters


@pytest.mark.parametrize("key", ["KeyW", "KeyD", "Space", "ShiftLeft", "KeyE"])
def test_a_held_key_lights_up_at_the_left_below(key: str) -> None:
    rows, columns = where(draw(FRAME, "go"), draw(FRAME, "go", Action(frozenset({key}))))
    assert rows.start > 350
    assert columns.stop < 130


def test_the_mouse_shows_buttons_and_turns_at_the_right_below() -> None:
    rest = draw(FRAME, "go")
    lit = [draw(FRAME, "go", Action(buttons=frozenset({name}))) for name in ("left", "right", "middle")]
    turns = [draw(FRAME, "go", Action(look=look)) for look in ((9.0, 0.0), (-9.0, 0.0), (0.0, 9.0), (0.0, -9.0))]
    for picture in (*lit, *turns):
        rows, columns = where(rest, picture)
        assert rows.start > 350
        assert columns.start > 460
    left, right = where(rest, lit[0])[1], where(rest, lit[1])[1]
    assert left.stop <= right.start + 2
    centre = where(turns[0], turns[1])
    assert abs(sum((centre[1].start, centre[1].stop)) / 2 - 520) < 8
    assert where(rest, turns[2])[0].start < where(rest, turns[3])[0].start  # up is up


def test_words_are_shown_and_long_ones_stay_in_their_place() -> None:
    rest = draw(FRAME, "go")
    long = "pneumonoultramicroscopicsilicovolcanoconiosis " * 20
    for picture in (
        draw(FRAME, "go", thought=long),
        draw(FRAME, "go", success=True, why=long),
        draw(FRAME, "go", success=False, why="no"),
        draw(FRAME, "go", success=None, why="interrupted"),
    ):
        rows, columns = where(rest, picture)
        assert rows.start > 300
        assert 120 < columns.start < columns.stop < 470
    assert where(rest, draw(FRAME, long))[0].stop < 90
    good, bad = draw(FRAME, "go", success=True, why="a"), draw(FRAME, "go", success=False, why="a")
    assert where(good, bad)


@pytest.mark.parametrize("size", [(120, 160), (480, 480), (1080, 1920), (333, 200)])
def test_every_size_and_key_is_drawn(size: tuple[int, int]) -> None:
    everything = Action(frozenset(KEYS), frozenset({"left", "right", "middle"}), (170.0, -90.0), None, -2.0)
    picture = draw(FRAME[:77, :131], "go", everything, thought="well", tick=9, size=size)
    assert picture.shape == (*size, 3)


@pytest.mark.parametrize("name", ["a.mp4", "a.webp", "a.gif"])
def test_moving_pictures_hold_every_frame(tmp_path: Path, name: str) -> None:
    frames = [draw(FRAME, "go", Action(look=(i - 6.0, 0.0)), tick=i, size=(241, 321)) for i in range(12)]
    path = write_video(tmp_path / "new" / name, iter(frames), 20)
    if path.suffix == ".mp4":
        with av.open(str(path)) as container:
            assert container.streams.video[0].average_rate == 20
            seen = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    else:
        with Image.open(path) as image:
            assert image.n_frames == 12
            seen = []
            for i in range(12):
                image.seek(i)
                seen.append(np.asarray(image.convert("RGB")))
            assert image.info["duration"] == 50
    assert len(seen) == 12
    for frame, picture in zip(frames, seen, strict=True):
        assert np.abs(picture.astype(int) - frame[: picture.shape[0], : picture.shape[1]]).mean() < 6


def test_other_endings_and_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name that ends in \.mp4, \.webp, \.gif"):
        write_video(tmp_path / "a.avi", [FRAME], 20)
    with pytest.raises(ValueError, match="there are no frames"):
        write_video(tmp_path / "a.mp4", [], 20)

"""Pictures in instructions: they are drawn, read from files, and reach the policy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from agent.cli import run
from agent.loop.players import InStep
from agent.policy import Context, Decision
from agent.random_policy import RandomPolicy
from envs.doom.world import DoomWorld
from tasks import pictures
from tasks.doom import portraits, suites
from tasks.play import play_task


def test_a_portrait_is_the_same_every_time_and_shows_its_thing() -> None:
    red, again, blue = (portraits.drawn(portraits.portrait(("key", c), 5)) for c in ("red", "red", "blue"))
    assert red is not None
    assert blue is not None
    assert red.shape == (120, 160, 3)
    assert red.dtype == np.uint8
    assert (red == again).all()
    # the same room and place: only the thing's colour differs
    changed = (red.astype(int) - blue).any(-1)
    assert 0.02 < changed.mean() < 0.7
    assert red[changed].mean(0)[0] > red[changed].mean(0)[2]
    assert blue[changed].mean(0)[2] > blue[changed].mean(0)[0]


def test_portraits_may_be_asked_for_at_once() -> None:
    names = [portraits.portrait((kind, "red"), seed) for kind in ("key", "torch") for seed in range(8)]
    alone = [pictures.load(name, "doom") for name in names]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(portraits.drawn, names))
    for one, other in zip(alone, together, strict=True):
        assert one is not None
        assert np.array_equal(one, other)


def test_an_image_file_is_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "this.png"
    Image.new("RGBA", (30, 20), (255, 0, 0, 255)).save(file)
    picture = pictures.load(str(file))
    assert picture is not None
    assert picture.shape == (20, 30, 3)
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert pictures.load("") is None


def test_what_is_no_picture_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "nowhere.png"):
        with pytest.raises(ValueError, match=name):
            pictures.load(str(tmp_path / name))
    args = ["play", "go to this", "--policy", "random", "--image", str(tmp_path / "nowhere.png")]
    assert run([*args, "--out", str(tmp_path / "run")]) == 2
    assert "--image" in capsys.readouterr().err


def test_the_policy_sees_the_picture() -> None:
    task = replace(suites.evaluation("doom-pictures").task(3, 0), time_limit=8)
    seen: list[Context] = []

    class Looks(RandomPolicy):
        def act(self, contexts: list[Context]) -> list[Decision]:  # type: ignore[override]
            seen.extend(contexts)
            return super().act(contexts)

    world = DoomWorld()
    play_task(world, InStep(Looks()), task)
    world.close()
    wanted = pictures.load(task.picture, task.world)
    assert seen
    assert all(c.picture is not None and (c.picture == wanted).all() for c in seen)

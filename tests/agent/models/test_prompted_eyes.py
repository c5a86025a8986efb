"""What a server receives: pictures at the size, shape and spacing that were asked for, in four kinds of worlds."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from PIL import Image

from agent.cli.compose import size_of, world_factory
from agent.episode import Step, Subscriber
from agent.prompted import PROMPTED
from agent.view import Size, View, read_view, shown
from envs.doom.world import DoomWorld
from envs.gymnasium.world import GymnasiumWorld
from envs.world import World
from tests.support.components import needs
from tests.support.desktop_game import tiny
from tests.support.model_server import FakeServer
from tests.support.oracle import play_by_truth
from training.data.episodes import Recorder, read_episode

Picture = npt.NDArray[np.uint8]
PAGES = Path(__file__).parents[2] / "support" / "pages"


class Frames(Subscriber):
    """The world's pictures by tick."""

    def __init__(self) -> None:
        self.seen: dict[int, Picture] = {}

    def on_step(self, step: Step) -> None:
        if step.frame is not None:
            self.seen[step.tick] = step.frame


def pictures(request: dict[str, Any]) -> list[Picture]:
    """The pictures of a request, as the server gets them."""
    parts = request["messages"][0]["content"][:-1]
    data = [base64.b64decode(part["image_url"]["url"].partition("base64,")[2]) for part in parts]
    return [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in data]


def turned(world: World, view: str, say: str, **how: Any) -> tuple[FakeServer, Frames]:
    """Plays `world` with a model that says the same again and again, until it has moved for two seconds."""
    frames = Frames()
    try:
        _, server = play_by_truth(
            world, lambda s: say, lambda s: False, view=f"encoding=png,{view}", time_limit=round(2 * world.tick_hz),
            subscribers=(frames, *how.pop("subscribers", ())), **how,
        )  # fmt: skip
    finally:
        world.close()
    assert len({frame.tobytes() for frame in frames.seen.values()}) > 5, "nothing moves, so nothing is shown by it"
    return server, frames


def check(server: FakeServer, frames: Frames, world: World, text: str) -> None:
    """Every picture of every request is the world's at a time that the view names, in its size and shape."""
    view = read_view(text, PROMPTED)
    sizes, whole = view.sizes(size_of(world)), 0
    requests = [pictures(request) for request in server.asked]
    requests = [shown for shown in requests if any(picture.any() for picture in shown)]  # the first is to warm up
    when = {size: _ticks(frames, view, size) for size in {*sizes}}
    for got in requests:
        assert [picture.shape[:2] for picture in got] == list(sizes[-len(got) :])
        now = when[sizes[-1]].get(got[-1].tobytes())
        assert now, "the newest picture is none of the world's"
        for back, picture in enumerate(reversed(got)):
            apart = back * (view.apart or 0.0) * world.tick_hz / 1000
            ticks = when[picture.shape[0], picture.shape[1]].get(picture.tobytes(), [])
            assert any(abs(t - n + apart) <= 1 + 0.1 * apart for t in ticks for n in now), (ticks, now, apart)
        whole += len(got) == view.frames
    assert whole > 1, "there were never as many pictures as the view has"


def _ticks(frames: Frames, view: View, size: Size) -> dict[bytes, list[int]]:
    """What the view shows of the world's pictures in a size, and at which ticks."""
    found: dict[bytes, list[int]] = {}
    for tick, frame in frames.seen.items():
        found.setdefault(view.picture(frame, size).tobytes(), []).append(tick)
    return found


def test_doom_is_drawn_large_for_a_large_model_and_the_episode_tells_what_it_saw(tmp_path: Path) -> None:
    """Without a word the world draws 640x480; for `small` it stays at 160x120."""
    world = world_factory("doom", view=PROMPTED)()
    recorder = Recorder(tmp_path / "episode")
    server, frames = turned(world, "", "look 20 0 hold KeyW", subscribers=(recorder,))
    check(server, frames, world, "")
    assert pictures(server.asked[-1])[-1].shape == (480, 640, 3)
    assert "0.5 s apart" in server.asked[-1]["messages"][0]["content"][-1]["text"]
    assert size_of(DoomWorld()) == (120, 160)

    episode = read_episode(tmp_path / "episode")
    video = episode.frames()
    assert {look.who for look in episode.looks} == {"player"}
    # A request that a busy machine answers too late, and those that are not sent for a while then, have no tokens.
    answered = [look for look in episode.looks if look.tokens is not None]
    assert len(answered) > 3
    requests = [pictures(request) for request in server.asked]
    for look in answered:
        assert look.tokens == 7  # which the server says
        assert look.bytes is not None
        assert look.bytes > 1000
        seen = [shown(video[index], size, "letterbox") for index, size in zip(look.frames, look.sizes, strict=True)]
        assert any(len(got) == len(seen) and all(map(np.array_equal, got, seen)) for got in requests), (
            "no request has what the episode says"
        )


@needs("chromium")
def test_a_page_of_800x500_is_cropped_to_a_square(tmp_path: Path) -> None:
    from envs.browser.world import BrowserWorld

    keys = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]
    file = {"page": str(PAGES / "arrows.html"), "pointer_lock": False, "keys": keys, "size": "800x500"}
    (tmp_path / "world.yaml").write_text(yaml.safe_dump({**file, "ready": "window.state !== undefined"}))
    world = BrowserWorld(str(tmp_path / "world.yaml"))
    view = "exactly=300x300,aspect=crop,frames=3,apart=400,earlier=100x100"
    server, frames = turned(world, view, "hold ArrowRight")
    check(server, frames, world, view)
    newest = pictures(server.asked[-1])[-1]
    assert newest.shape == (300, 300, 3)
    assert (
        np.abs(newest.astype(int)[:, -1] - shown(frames.seen[max(frames.seen)], (300, 480), "stretch")[:, 389]).mean()
        < 9
    )


@needs("xvfb")
def test_a_window_of_1024x768_is_shown_with_bars() -> None:
    from envs.desktop.world import DesktopWorld

    world = DesktopWorld(tiny("--size", "1024x768", size=(1024, 768)))
    view = "exactly=512x512,aspect=letterbox,frames=2,apart=600,earlier=any"
    server, frames = turned(world, view, "look 24 0", clock="realtime")
    check(server, frames, world, view)
    newest = pictures(server.asked[-1])[-1]
    assert not newest[:64].any()
    assert not newest[-64:].any()
    assert newest[64:-64].any(axis=2).all()


def test_a_gymnasium_environment_is_shown_at_its_own_size(tmp_path: Path) -> None:
    file = tmp_path / "car.yaml"
    file.write_text(
        "env: MountainCar-v0\ntick_hz: 30\nkeys:\n  none: 1\n  press:\n"
        "  - {name: left, hold: ArrowLeft, do: 0}\n  - {name: right, hold: ArrowRight, do: 2}\n"
    )
    world = GymnasiumWorld(str(file))
    view = "size=world,frames=4,apart=250,earlier=150x100"
    server, frames = turned(world, view, "hold ArrowRight")
    check(server, frames, world, view)
    assert [picture.shape for picture in pictures(server.asked[-1])] == [(100, 150, 3)] * 3 + [(400, 600, 3)]


@pytest.mark.parametrize(
    ("view", "most", "kind", "count"),
    [("tokens=2700", None, "jpeg", 3), ("bytes=9000,encoding=jpeg:80", 9_000, "jpeg", 1)],
)
def test_a_budget_leaves_out_the_oldest_first(view: str, most: int | None, kind: str, count: int) -> None:
    """A car on a hill, 600x400: 1,503 tokens for the newest and 586 for each of the others, as they are estimated."""
    world = GymnasiumWorld("MountainCar-v0")
    try:
        _, server = play_by_truth(
            world, lambda s: "tap Digit2", lambda s: False, view=f"earlier=300x200,apart=100,{view}", time_limit=30
        )
    finally:
        world.close()
    parts = server.asked[-1]["messages"][0]["content"][:-1]
    urls = [part["image_url"]["url"] for part in parts]
    assert all(url.startswith(f"data:image/{kind};base64,") for url in urls)
    assert len(urls) == count
    if most is not None:
        assert sum(len(url.partition("base64,")[2]) for url in urls) <= most

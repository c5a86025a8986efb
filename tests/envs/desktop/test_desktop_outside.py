"""A display that is not ours: what is asked of it, and what is left there when the agent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from Xlib import XK, X
from Xlib.display import Display
from Xlib.xobject.drawable import Window

from envs.action import Action
from envs.desktop.game import Game
from envs.desktop.processes import marked
from envs.desktop.server import Xvfb, authorized
from envs.desktop.world import DesktopWorld, GameError
from envs.errors import UserError
from tests.support.components import needs
from tests.support.desktop_game import PROGRAM, SIZE, W, heard, hold, tiny
from tests.support.waiting import eventually

pytestmark = needs("xvfb")


class Outside:
    """A display that is not ours, as a person's is to the agent, with a game on it."""

    def __init__(self, folder: Path) -> None:
        self.server = Xvfb((320, 240), folder)
        self.environment = {**os.environ, "DISPLAY": self.server.name, "XAUTHORITY": str(self.server.authority)}
        self.game = subprocess.Popen(
            [sys.executable, str(PROGRAM), "--events", str(folder / "events.txt")], env=self.environment,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        with authorized(self.server.authority):
            self.display = Display(self.server.name)

    def down(self) -> bool:
        buttons = self.display.screen().root.query_pointer().mask & (X.Button1Mask | X.Button2Mask | X.Button3Mask)
        return any(self.display.query_keymap()) or bool(buttons)

    def shown(self) -> list[Window]:
        children = self.display.screen().root.query_tree().children
        return [window for window in children if window.get_attributes().map_state == X.IsViewable]

    def focus(self) -> None:
        assert eventually(lambda: self.shown() != [], 20.0)
        self.shown()[0].set_input_focus(X.RevertToParent, X.CurrentTime)
        self.display.sync()

    def press(self, key: str) -> None:
        from Xlib.ext import xtest

        code = self.display.keysym_to_keycode(XK.string_to_keysym(key))
        xtest.fake_input(self.display, X.KeyPress, code)
        xtest.fake_input(self.display, X.KeyRelease, code)
        self.display.sync()

    def close(self) -> None:
        self.display.close()
        self.game.kill()
        self.game.wait()
        self.server.close()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    made = Outside(tmp_path)
    monkeypatch.setenv("DISPLAY", made.server.name)
    monkeypatch.setenv("XAUTHORITY", str(made.server.authority))
    yield made
    made.close()


ATTACHED = {"command": (), "title": "tiny", "ready": 0.2, "reset": "keep", "size": SIZE}


def test_a_window_on_an_allowed_display_is_played_paused_and_stopped(outside: Outside) -> None:
    world = DesktopWorld(tiny(**ATTACHED), allow_real_desktop=True)
    try:
        observation, _ = world.reset(seed=0)
        assert observation["pixels"].shape == (120, 160, 3)
        *_, info = world.step(W)
        assert "focus" in info["blocked"], "on a display that is not ours nobody's focus is taken"
        outside.focus()
        world.step(W)
        *_, info = world.step(Action(keys=frozenset({"KeyW"}), look=(2.0, 0.0)))
        assert "blocked" not in info
        assert outside.down()
        outside.press("F9")
        *_, info = world.step(W)
        assert "paused" in info["blocked"]
        assert not outside.down()
        outside.press("F9")
        *_, info = world.step(W)
        assert "blocked" not in info
        assert outside.down()
        outside.press("F10")
        with pytest.raises(KeyboardInterrupt):
            world.step(W)
        assert not outside.down()
        outside.game.kill()
        with pytest.raises(GameError, match="closed"):
            hold(world, "KeyW")
    finally:
        world.close()
    assert outside.game.wait() is not None


PLAYER = """
import os, sys, time
sys.path.insert(0, os.environ["ROOT"])
from envs.action import Action
from envs.desktop.game import Game
from envs.desktop.world import DesktopWorld
game = Game.model_validate_json(sys.argv[1])
world = DesktopWorld(game, allow_real_desktop=not game.command)
world.reset(seed=0)
if len(sys.argv) > 2 and os.fork() == 0:  # as data loaders do: a child that has copies of all our descriptors
    time.sleep(20)
    os._exit(0)
world.step(Action(keys=frozenset({"KeyW", "KeyA"}), buttons=frozenset({"left"})))
print(world.held, world.screen.name, world._stage._mark, world.folder, flush=True)
while True:
    world.step(Action(keys=frozenset({"KeyW", "KeyA"}), buttons=frozenset({"left"})))
"""


def player(game: Game, *, forks: bool = True) -> tuple[subprocess.Popen[str], list[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PLAYER, game.model_dump_json(), *["forks"] * forks], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "ROOT": str(Path(__file__).parents[3])}, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, process.stdout.readline().split()


@pytest.mark.parametrize("forks", [True, False])
def test_the_watchdog_lets_go_when_the_agent_is_killed(outside: Outside, tmp_path: Path, forks: bool) -> None:
    outside.focus()
    process, words = player(tiny(**ATTACHED), forks=forks)
    try:
        assert "'KeyW'" in " ".join(words)
        assert outside.down()
        process.kill()
        assert eventually(lambda: not outside.down())  # how soon is measured by benchmarks/input_safety.py
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert outside.game.poll() is None, "a game that is not ours goes on"
    assert eventually(lambda: {"release w", "release a", "release button1"} <= set(heard(tmp_path / "events.txt")))


def test_nothing_is_left_of_a_killed_run_and_the_next_one_starts() -> None:
    process, words = player(tiny())
    display, mark, folder = words[-3:]
    assert len(marked(mark)) >= 1
    process.kill()
    assert eventually(lambda: not marked(mark))
    assert eventually(lambda: not Path(folder).exists())
    assert eventually(lambda: not Path(f"/tmp/.X11-unix/X{display[1:]}").exists())
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    world = DesktopWorld(tiny())
    world.reset(seed=0)
    world.step(W)
    world.close()


def test_a_real_desktop_needs_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--allow-real-desktop"):
        DesktopWorld(tiny(), display=":0")
    with pytest.raises(UserError, match="--allow-real-desktop"):
        DesktopWorld(tiny().model_copy(update={"command": (), "title": "x"}))
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="no X display"):
        DesktopWorld(tiny(), allow_real_desktop=True)
    with pytest.raises(UserError, match="F9 belongs to the person"):
        DesktopWorld(tiny(keys=["F9"]), display=":0", allow_real_desktop=True)

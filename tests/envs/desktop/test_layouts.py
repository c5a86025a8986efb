"""Text comes out as it was written, whatever the layout of the display: `xev` tells what X made of the keys."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from Xlib import XK, X
from Xlib.ext import xtest

from agent.codec import ActionTextError, Codec
from envs.action import KEYS
from envs.desktop.game import Game
from envs.desktop.server import Xvfb
from envs.desktop.world import DesktopWorld
from tests.support.waiting import eventually

MISSING = [name for name in ("Xvfb", "setxkbmap", "xev") if shutil.which(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason="apt-get install xvfb x11-xkb-utils x11-utils")

XEV = "xev -event keyboard -geometry 200x100"
TYPES = tuple(key for key in KEYS if not re.match(r"F\d|Numpad", key))


def xev(command: str, **changes: object) -> Game:
    """A program that writes down what is typed into its window."""
    given = {
        "command": command, "keys": {key: key for key in TYPES}, "size": (200, 100), "mouse": "free", "reset": "keep",
        "env": {"LC_ALL": "C.UTF-8"}, "tick_hz": 200.0, "hold": 0.0,
    }  # fmt: skip
    return Game.model_validate(given | changes)


class Typist:
    """Types into a world, and reads what the program in it got."""

    def __init__(self, world: DesktopWorld) -> None:
        self.world = world
        self.world.reset(seed=0)
        self.codec = Codec(world.action_space)

    def type(self, text: str) -> str:
        before = len(self.got())
        plan = self.codec.read(f"type {json.dumps(text, ensure_ascii=False)}")
        for action in self.codec.actions(plan, 10.0):  # a fast typist: a key is down for one tick, and up for one
            assert "blocked" not in self.world.step(action)[4]
        assert eventually(lambda: len(self.got()) >= before + len(text)), self.got()
        return self.got()[before:]

    def got(self) -> str:
        """All text that arrived, as the X library gives it to a program."""
        found = re.findall(r"XmbLookupString gives \d+ bytes: \((.*?)\)", self.world.output())
        return bytes.fromhex(" ".join(found)).decode().replace("\r", "\n")


@pytest.fixture
def typists() -> Iterator[list[Typist]]:
    made: list[Typist] = []
    yield made
    for typist in made:
        typist.world.close()


def play(typists: list[Typist], command: str, **changes: object) -> Typist:
    typists.append(Typist(DesktopWorld(xev(command, **changes))))
    return typists[0]


@pytest.mark.parametrize(
    ("layout", "text", "absent"),
    [("us", 'hello, y/z? ~@#[]{}|<>"', "ü"), ("de", 'hello, y/z? Grüße: ~@#[]{}\\"€', "<"), ("ru", "привет, ёж?", "h")],
)
def test_text_comes_out_as_it_was_written(layout: str, text: str, absent: str, typists: list[Typist]) -> None:
    typist = play(typists, f"sh -c 'setxkbmap {layout} && exec {XEV}'")
    assert typist.type(text) == text
    with pytest.raises(ActionTextError, match=f"no key of this keyboard types '{absent}'"):
        typist.type(f" {absent}")


def test_each_character_that_a_layout_has_comes_out(typists: list[Typist]) -> None:
    typist = play(typists, f"sh -c 'setxkbmap de && exec {XEV}'")
    text = "".join(typist.codec.space.characters)
    assert len(text) > 128
    assert typist.type(text) == text


def test_the_layout_of_now_is_typed_in_where_people_switch(typists: list[Typist]) -> None:
    """A reset looks at the layout anew. What AltGr types is told as absent there."""
    typist = play(typists, f"sh -c 'setxkbmap us,de -option grp:sclk_toggle && exec {XEV}'")
    assert typist.type("yz?") == "yz?"
    display = typist.world.screen.display
    code = display.keysym_to_keycode(XK.XK_Scroll_Lock) or 78
    for event in (X.KeyPress, X.KeyRelease):
        xtest.fake_input(display, event, code)
    display.sync()
    typist.world.reset(seed=0)
    assert typist.type("yzß?") == "yzß?"
    with pytest.raises(ActionTextError, match="no key of this keyboard types '@'"):
        typist.type("a@b")


def test_a_display_that_is_there_is_typed_on_in_its_own_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typists: list[Typist]
) -> None:
    """A person's desktop: the window of a game that runs there already."""
    server = Xvfb((200, 100), tmp_path)
    monkeypatch.setenv("XAUTHORITY", str(server.authority))
    monkeypatch.setenv("DISPLAY", server.name)
    try:
        subprocess.run(["setxkbmap", "de"], check=True)
        world = DesktopWorld(xev(XEV), allow_real_desktop=True)
        assert "ü" in world.action_space.characters  # a player's grammar may be made before the first reset
        typists.append(Typist(world))
        window = world.screen.find(None, None)
        assert window is not None
        world.screen.focus(window)  # as the person does
        assert typists[0].type("y/z@") == "y/z@"
    finally:
        for typist in typists:
            typist.world.close()
        server.close()


def test_keys_that_stand_for_others_type_what_those_write(typists: list[Typist]) -> None:
    keys = {"KeyA": "KeyQ", "KeyQ": "KeyA", "KeyW": "ArrowUp"}
    typist = play(typists, XEV, keys={key: key for key in TYPES if key != "ArrowUp"} | keys)
    assert typist.type("aqua") == "aqua"
    with pytest.raises(ActionTextError, match="no key of this keyboard types 'w'"):
        typist.type("w")

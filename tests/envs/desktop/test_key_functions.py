"""Keys are places: what arrives is the place that was meant, under every layout, and nothing that closes a window."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from Xlib import X
from Xlib.display import Display

from envs.action import KEYS, Action
from envs.desktop.actions import DesktopActions
from envs.desktop.hands import Hands
from envs.desktop.keysyms import KEYCODES, functions, refused
from envs.desktop.screen import Rect, Screen
from envs.desktop.server import Xvfb, connect
from tests.support.desktop_game import tiny

X11 = pytest.mark.skipif(
    shutil.which("Xvfb") is None or shutil.which("setxkbmap") is None, reason="apt-get install xvfb x11-xkb-utils"
)

# The place of each key as a US keyboard shows it, by Linux' own numbers (input-event-codes.h).
LINUX = {
    "KeyW": 17, "KeyA": 30, "KeyQ": 16, "KeyZ": 44, "KeyY": 21, "KeyM": 50, "Digit1": 2, "Digit0": 11, "Slash": 53,
    "Semicolon": 39, "Quote": 40, "BracketLeft": 26, "Backslash": 43, "Minus": 12, "Equal": 13, "Backquote": 41,
    "Comma": 51, "Period": 52, "Space": 57, "ArrowUp": 103, "ArrowDown": 108, "Numpad0": 82, "NumpadDecimal": 83,
    "NumpadEnter": 96, "F1": 59, "F10": 68, "F11": 87, "F12": 88, "Delete": 111, "AltRight": 100, "ControlRight": 97,
    "CapsLock": 58, "ShiftRight": 54, "Numpad7": 71, "NumpadDivide": 98, "NumpadMultiply": 55, "Backspace": 14,
}  # fmt: skip


def test_every_key_has_the_place_that_linux_gives_it() -> None:
    assert set(KEYCODES) == set(KEYS)
    assert len(set(KEYCODES.values())) == len(KEYS)
    assert {key: KEYCODES[key] - 8 for key in LINUX} == LINUX


@pytest.mark.parametrize("holder", ["AltLeft", "AltRight"])
@pytest.mark.parametrize("key", ["Enter", "NumpadEnter", "Tab", "F4", "Space", "Escape", "Backquote", "ControlRight"])
def test_what_alt_does_is_meant_by_function(holder: str, key: str) -> None:
    assert refused({holder, key})
    assert refused({holder, key, "KeyW", "ShiftLeft"})
    assert not refused({holder, "KeyW", "Numpad5"})
    game = tiny(keys=(holder, key, "KeyW"))
    assert not DesktopActions(game, outside=False).contains(Action(keys=frozenset({holder, key})))


@pytest.mark.parametrize("key", ["PageUp", "Numpad9", "PageDown", "Numpad3", "KeyW", "Tab"])
def test_what_control_does_to_a_person_s_windows_is_meant_by_function(key: str) -> None:
    assert refused({"ControlRight", key}, outside=True)
    assert not refused({"ControlRight", key})
    assert refused({"ControlLeft", "KeyQ"})
    assert not refused({"ControlLeft", "ShiftLeft"})


def test_a_layout_gives_a_key_another_function() -> None:
    assert functions("KeyA", ["q", "Q"]) == {"KeyA", "KeyQ"}
    french = {"KeyA": functions("KeyA", ["q"]), "KeyQ": functions("KeyQ", ["a"])}
    assert refused({"ControlLeft", "KeyA"}, meanings=french)
    caps_is_alt = {"CapsLock": functions("CapsLock", ["Alt_L"])}
    assert refused({"CapsLock", "F4"}, meanings=caps_is_alt)
    assert not refused({"CapsLock", "KeyW"}, meanings=caps_is_alt)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Xvfb]:
    made = Xvfb((200, 100), tmp_path)
    yield made
    made.close()


@X11
@pytest.mark.parametrize(
    "layout", [["us"], ["fr"], ["de"], ["ru"], ["us,ru"], ["us", "dvorak"], ["gb"], ["jp"], ["tr"], ["gr"], ["be"]]
)
def test_every_key_arrives_where_it_is(layout: list[str], server: Xvfb, tmp_path: Path) -> None:
    variant = ["-variant", layout[1]] if len(layout) > 1 else []
    done = subprocess.run(
        ["setxkbmap", "-display", server.name, layout[0], *variant],
        env={"XAUTHORITY": str(server.authority), "PATH": "/usr/bin:/bin"}, check=False, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    listener: Display = connect(server.name, server.authority)
    root = listener.screen().root
    window = root.create_window(0, 0, 200, 100, 0, X.CopyFromParent, event_mask=X.KeyPressMask)
    window.map()
    listener.sync()
    window.set_input_focus(X.RevertToParent, X.CurrentTime)
    listener.sync()
    screen = Screen(server.name, server.authority)
    target = screen.display.create_resource_object("window", window.id)
    hands = Hands(screen, KEYS, 0.0, outside=False)
    wrong = {}
    try:
        for key in KEYS:
            assert hands.act(target, Rect(0, 0, 200, 100), Action(keys=frozenset({key})), (0, 0)) == ""
            hands.act(target, Rect(0, 0, 200, 100), Action(), (0, 0))
            listener.sync()
            got = []
            deadline = time.monotonic() + 2.0
            while not got and time.monotonic() < deadline:
                while listener.pending_events():
                    event = listener.next_event()
                    if event.type == X.KeyPress:
                        got.append(event.detail)
            if got != [KEYCODES[key]]:
                wrong[key] = got
    finally:
        hands.release(target)
        screen.close()
        listener.close()
    assert wrong == {}


@X11
def test_what_closes_a_window_in_the_layout_of_the_display_is_not_sent(server: Xvfb) -> None:
    subprocess.run(
        ["setxkbmap", "-display", server.name, "fr"],
        env={"XAUTHORITY": str(server.authority), "PATH": "/usr/bin:/bin"}, check=True,
    )  # fmt: skip
    listener: Display = connect(server.name, server.authority)
    window = listener.screen().root.create_window(0, 0, 200, 100, 0, X.CopyFromParent)
    window.map()
    window.set_input_focus(X.RevertToParent, X.CurrentTime)
    listener.sync()
    screen = Screen(server.name, server.authority)
    target = screen.display.create_resource_object("window", window.id)
    hands = Hands(screen, ("ControlLeft", "KeyA", "KeyW"), 0.0, outside=True)
    place = Rect(0, 0, 200, 100)
    assert hands.act(target, place, Action(keys=frozenset({"KeyW"})), (0, 0)) == ""
    blocked = hands.act(target, place, Action(keys=frozenset({"ControlLeft", "KeyA"})), (0, 0))
    assert "in this keyboard's layout" in blocked  # Control+q there
    assert hands.down == set()
    screen.close()
    listener.close()

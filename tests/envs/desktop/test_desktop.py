"""A real program in a real X server: what arrives there is what was asked for, and nothing arrives anywhere else."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from Xlib import X
from Xlib.display import Display

from envs.action import Action
from envs.check import check_world
from envs.desktop.game import read_game
from envs.desktop.keysyms import refused
from envs.desktop.server import authorized
from envs.desktop.world import DesktopWorld, GameError
from envs.errors import UserError
from tests.support.components import needs
from tests.support.desktop_game import NOTHING, W, heard, hold, tiny
from tests.support.waiting import eventually

pytestmark = needs("xvfb")


@pytest.fixture
def events(tmp_path: Path) -> Path:
    return tmp_path / "events.txt"


@pytest.fixture
def world(events: Path) -> Iterator[DesktopWorld]:
    made = DesktopWorld(tiny("--events", events))
    made.reset(seed=0)
    yield made
    made.close()


def test_it_keeps_the_contract() -> None:
    assert check_world(lambda: DesktopWorld(tiny()), episodes=1, ticks=10) == []


def test_keys_buttons_wheel_and_mouse_arrive(world: DesktopWorld, events: Path) -> None:
    before = world.pixels()
    world.step(Action(keys=frozenset({"KeyW"}), buttons=frozenset({"left"}), wheel=2.0))
    for _ in range(4):
        observation, *_ = world.step(Action(keys=frozenset({"KeyW"}), buttons=frozenset({"left"})))
    assert world.held == ({"KeyW"}, {"left"})
    red, yellow = observation["pixels"][4:12, 6:14], observation["pixels"][-12:-4, 22:30]
    assert (red == (255, 0, 0)).all(), "the picture shows the key"
    assert (yellow == (255, 255, 0)).all(), "the picture shows the button"
    world.step(Action(keys=frozenset({"KeyE"}), buttons=frozenset({"middle"})))  # ignored, as the game knows neither
    for _ in range(4):
        world.step(NOTHING)
    assert world.held == (frozenset(), frozenset())
    assert [line for line in heard(events) if "button4" not in line and "view" not in line] == [
        "press w",
        "press button1",
        "release w",
        "release button1",
    ]
    assert heard(events).count("press button4") == 2
    for _ in range(20):
        observation, *_ = world.step(Action(look=(1.03, 0.5)))
    assert eventually(lambda: heard(events, "view")[-1].split()[1:3] == ["40.600", "10.000"]), heard(events, "view")[-1]
    assert not np.array_equal(before, observation["pixels"])


def test_the_game_hears_what_is_let_go_of(world: DesktopWorld, events: Path) -> None:
    world.step(Action(keys=frozenset({"KeyW"}), buttons=frozenset({"left"})))
    world.reset(seed=1)
    assert eventually(lambda: heard(events) == ["press w", "press button1", "release w", "release button1"])


def test_what_is_held_is_let_go_of_when_the_focus_goes(world: DesktopWorld) -> None:
    world.step(W)
    world.screen.display.set_input_focus(X.PointerRoot, X.RevertToParent, X.CurrentTime)
    *_, info = world.step(W)
    assert "focus" in info["blocked"], "though there was nothing new to press"
    assert not any(world.screen.display.query_keymap())


def test_a_tap_of_one_tick_is_held_for_two_frames_of_the_game(events: Path) -> None:
    world = DesktopWorld(tiny("--events", events, tick_hz=50.0, hold=0.2))
    try:
        world.reset(seed=0)
        world.step(W)
        start = time.monotonic()
        while world.held[0]:
            world.step(NOTHING)
        assert time.monotonic() - start > 0.15
    finally:
        world.close()
    assert heard(events) == ["press w", "release w"]


def test_what_would_close_or_switch_windows_is_refused(world: DesktopWorld, events: Path) -> None:
    for keys in ({"AltLeft", "F4"}, {"AltLeft", "Tab"}, {"ControlLeft", "AltLeft", "KeyA"}, {"ControlRight", "F4"}):
        assert refused(keys)
    assert not refused({"ControlLeft", "KeyW"})
    assert refused({"ControlLeft", "KeyW"}, outside=True), "it closes tabs"
    assert not refused({"AltLeft", "KeyW"})
    deadly = Action(keys=frozenset({"AltLeft", "F4"}))
    assert not world.action_space.contains(deadly)
    with pytest.raises(ValueError, match="not in"):
        world.step(deadly)
    for _ in range(300):
        assert world.action_space.contains(world.action_space.sample())
    # A key that still lingers from the tick before must not make one either.
    world.step(Action(keys=frozenset({"AltLeft"})))
    world.step(Action(keys=frozenset({"F4"})))
    assert eventually(lambda: heard(events) == ["press Alt_L", "release Alt_L", "press F4"])


def test_nothing_is_sent_while_another_window_has_the_focus(world: DesktopWorld, events: Path) -> None:
    other = world.screen.display
    decoy = other.screen().root.create_window(
        20, 20, 40, 40, 0, X.CopyFromParent, X.InputOnly, X.CopyFromParent,
        event_mask=X.KeyPressMask | X.KeyReleaseMask | X.ButtonPressMask | X.ButtonReleaseMask,
    )  # fmt: skip
    with authorized(world.folder / "Xauthority"):
        thief = Display(world.screen.name)
    mine = thief.create_resource_object("window", decoy.id)
    mine.change_attributes(event_mask=X.KeyPressMask | X.KeyReleaseMask)
    decoy.map()
    other.sync()
    rng = np.random.default_rng(0)
    blocked = 0
    for _ in range(60):
        if rng.random() < 0.3:
            mine.set_input_focus(X.RevertToParent, X.CurrentTime)
            thief.sync()
        *_, info = world.step(world.action_space.sample())
        blocked += "blocked" in info
        if "focus" in info.get("blocked", ""):
            assert world.held == (frozenset(), frozenset())
    assert blocked > 5
    got = [thief.next_event() for _ in range(thief.pending_events())]
    assert [event for event in got if event.type != X.MappingNotify] == [], "the decoy heard something"
    *_, info = world.step(W)
    thief.close()
    assert "press" in "".join(heard(events))


def test_a_moved_window_is_found_again(world: DesktopWorld) -> None:
    world.step(W)
    window = world.screen.find(None, None)
    assert window is not None
    window.configure(x=12, y=9)
    world.screen.display.sync()
    *_, info = world.step(Action(keys=frozenset({"KeyA"})))
    assert "expected (0, 0, 160, 120)" in info["blocked"]
    assert world.held == (frozenset(), frozenset())
    *_, info = world.step(Action(keys=frozenset({"KeyA"})))
    assert "blocked" not in info
    assert world.held[0] == {"KeyA"}


def test_ctrl_c_leaves_the_display_as_usable_as_it_was() -> None:
    rng = np.random.default_rng(0)

    def play(timer: threading.Timer) -> None:
        timer.start()
        while True:
            world.step(world.action_space.sample())

    with DesktopWorld(tiny(tick_hz=10_000.0)) as world:
        world.reset(seed=0)
        for _ in range(20):
            timer = threading.Timer(rng.uniform(0.0, 0.05), os.kill, (os.getpid(), signal.SIGINT))
            with pytest.raises(KeyboardInterrupt):
                play(timer)  # which starts it: the signal may come before start() is back
            timer.join()
        world.reset(seed=1)
        world.step(W)
        assert any(world.screen.display.query_keymap())


def test_a_game_that_crashes_says_why_and_comes_back() -> None:
    world = DesktopWorld(tiny("--crash-on", "d"))
    try:
        world.reset(seed=0)
        with pytest.raises(GameError, match=r"ended with status 1; it said last: .*has had enough"):
            hold(world, "KeyD")
        with pytest.raises(gymnasium.error.ResetNeeded):
            world.step(NOTHING)
        world.reset(seed=0)
        world.step(W)
    finally:
        world.close()


def test_an_x_server_that_ends_is_told_and_started_anew(world: DesktopWorld) -> None:
    number = world.screen.name
    folder = world.folder
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0")
        if words[0].endswith(b"Xvfb") and str(folder / "Xauthority").encode() in words:
            os.kill(int(path.parent.name), signal.SIGKILL)
    with pytest.raises(GameError, match="X server ended"):
        hold(world, "KeyW")
    world.reset(seed=0)
    world.step(W)
    assert number.startswith(":")


def test_a_window_that_never_comes_is_told_with_what_was_seen() -> None:
    for game, said in (
        (tiny("--windowless", timeout=4.0), "no window; there are: none; it said last: starting"),
        (
            tiny("--title", "another", timeout=4.0, title="the game"),
            "no window with title 'the game'; there are: another",
        ),
        (tiny(timeout=4.0, ready="never"), "not what `ready` waits for"),
    ):
        world = DesktopWorld(game)
        with pytest.raises(GameError, match=said):
            world.reset(seed=0)
        world.close()


def test_missing_programs_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world = DesktopWorld(tiny().model_copy(update={"command": ("no-such-game",)}))
    with pytest.raises(GameError, match="no-such-game is not installed"):
        world.reset(seed=0)
    world.close()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="apt-get install xvfb"):
        DesktopWorld(tiny()).reset(seed=0)


def test_degrees_are_measured_and_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    game = tiny("--degrees-per-count", "-0.37", degrees_per_count=None)
    world = DesktopWorld(game)
    try:
        world.reset(seed=0)
        assert world.degrees_per_count == pytest.approx((-0.37, -0.37), rel=0.02)
    finally:
        world.close()
    again = DesktopWorld(game)
    try:
        start = time.monotonic()
        again.reset(seed=0)
        assert again.degrees_per_count == pytest.approx(world.degrees_per_count, rel=1e-4)
        assert time.monotonic() - start < 30
    finally:
        again.close()


def test_a_pointer_goes_where_it_is_sent(events: Path) -> None:
    world = DesktopWorld(tiny("--free", "--events", events, mouse="free"))
    try:
        world.reset(seed=0)
        world.step(Action(pointer=(0.25, 0.75), buttons=frozenset({"left"}), look=(3.0, 0.0)))
        pointer = world.screen.root.query_pointer()
        assert (pointer.root_x, pointer.root_y) == (40, 89)
        assert eventually(lambda: heard(events, "press") == ["press button1"])
    finally:
        world.close()


@needs("crispy-doom")
def test_the_example_of_the_docs_plays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    from examples.desktop import crispy_doom

    source = Path(crispy_doom.__file__).read_text()
    assert source in (Path(__file__).parents[3] / "docs" / "adapters.md").read_text()
    assert len([line for line in source.splitlines() if line.strip()]) <= 30
    monkeypatch.setattr(
        "envs.desktop.calibration.recall", lambda game, adapter: (0.04395, 0.0)
    )  # measured by itself otherwise
    world = crispy_doom.CrispyDoom()
    try:
        first, _ = world.reset(seed=0)
        for _ in range(40):
            observation, *_, info = world.step(Action(look=(9.0, 0.0)))
            assert "blocked" not in info
        for _ in range(10):
            observation, *_ = world.step(NOTHING)
        view = slice(20, 120)  # above the weapon
        around = np.abs(observation["pixels"][view].astype(int) - first["pixels"][view]).mean()
        for _ in range(10):
            observation, *_ = world.step(Action(look=(9.0, 0.0)))
        aside = np.abs(observation["pixels"][view].astype(int) - first["pixels"][view]).mean()
        assert around < 0.75 * aside, "forty turns of nine degrees go around"
    finally:
        world.close()


def test_only_who_has_the_cookie_may_look(world: DesktopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAUTHORITY", "/dev/null")
    with pytest.raises(Exception, match=r"(?i)authori|display"):
        Display(world.screen.name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keys: [KeyW]", "expected a command, or the title or process"),
        ("command: x\nkeys: [W]", "unknown key 'W'"),
        ("command: x\nkeys: [left]", "'left' is a mouse button"),
        ("command: x", "keys: is missing"),
        ("command: x\nkeys: [KeyW]\nspeed: 3", "speed: unknown key"),
        ("title: x\nkeys: [KeyW]", "can't be restarted"),
        ("command: x\nkeys: [KeyW]\nreset: [Jump]", "unknown key 'Jump'"),
        ("command: x\nkeys: [KeyW]\nsize: [4, 4]", "at least 16 x 16"),
        ("command: x\nkeys: [KeyW]\ndegrees_per_count: 0", "not 0"),
        ("{", "not YAML"),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "game.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said):
        read_game(str(path))


def test_a_file_and_a_command_make_a_game(tmp_path: Path) -> None:
    path = tmp_path / "game.yaml"
    path.write_text("command: my-game --level 'a b'\nkeys: {KeyW: ArrowUp}\nmouse: free\nreset: [Escape, 0.5, Enter]\n")
    game = read_game(str(path))
    assert game.command == ("my-game", "--level", "a b")
    assert game.keys == {"KeyW": "ArrowUp"}
    assert game.reset == ("Escape", 0.5, "Enter")
    space = DesktopWorld(game).action_space
    assert space.pointer
    assert not DesktopWorld(game).action_space.contains(Action(keys=frozenset({"KeyZ"})))
    assert read_game("my-game --fast").command == ("my-game", "--fast")
    assert DesktopWorld("my-game", resolution="100x80").observation_space["pixels"].shape == (80, 100, 3)
    with pytest.raises(UserError, match="WIDTHxHEIGHT"):
        DesktopWorld("my-game", resolution="big")

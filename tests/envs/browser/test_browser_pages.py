"""Pages as people write them: menus before the game, errors, pictures of nothing, keys looked at once a frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context, Decision, PolicySpec
from envs.action import NEUTRAL, Action
from envs.browser import kept
from envs.browser.chromium import BrowserError
from envs.browser.files import read
from envs.browser.world import BrowserWorld
from envs.errors import UserError
from envs.wrappers import Resize
from tests.envs.browser.test_browser import opened as opened
from tests.envs.browser.test_browser import page, told
from tests.support.components import needs

pytestmark = needs("chromium")

# A title, a menu that comes late, a level that takes a while; the game counts what reaches it.
MENUS = """<!doctype html><body style="margin:0;background:#204060"><button id=start style="display:none">Start</button>
<script>
let at = "title", keys = [], clicks = []; const start = document.querySelector("#start");
addEventListener("keydown", (e) => { keys.push(e.code);
  if (at === "title") { at = "menu"; setTimeout(() => start.style.display = "block", 300); } });
addEventListener("mousedown", (e) => clicks.push([e.clientX, e.clientY, e.button]));
start.addEventListener("click", () => { at = "loading"; setTimeout(() => at = "level", 300); });
</script>"""
STATE = "({at, keys, clicks})"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is kept of pages goes to a folder of the test."""
    monkeypatch.setattr(kept.platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    return tmp_path / "cache" / "browser"


Opened = Callable[..., BrowserWorld]


def test_a_begin_script_leads_through_titles_and_menus_to_the_game(tmp_path: Path, opened: Opened) -> None:
    steps = [
        0.1, "Enter", {"click": "#start"}, {"wait": "at === 'level'"}, {"click": [0.75, 0.5]},
        {"run": "const more = await Promise.resolve('cheats'); keys.push(more)"}, "right",
    ]  # fmt: skip
    file = page(tmp_path, MENUS, begin=steps, keys=["KeyW"], pointer_lock=False, state=STATE)
    world = opened(file)
    for seed in range(2):  # the page is loaded anew, and the script is played anew
        state = told(world.reset(seed=seed)[1])
        assert (state["at"], state["keys"]) == ("level", ["Enter", "cheats"])
        assert state["clicks"][1:] == [[48, 24, 0], [48, 24, 2]]
        assert world.held == (frozenset(), frozenset())


def test_a_page_that_resets_itself_plays_its_begin_script_once(tmp_path: Path, opened: Opened) -> None:
    html = MENUS.replace("let at", "let resets = 0; window.__step = () => {}; window.__reset = () => resets++; let at")
    world = opened(page(tmp_path, html, begin=["Enter"], pointer_lock=False, state="({at, keys, resets})"))
    for resets in (1, 2):
        state = told(world.reset(seed=0)[1])
        assert (state["at"], state["keys"], state["resets"]) == ("menu", ["Enter"], resets)


@pytest.fixture(scope="module")
def menus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserWorld]:
    """One browser for the begin scripts of many world files."""
    world = BrowserWorld(page(tmp_path_factory.mktemp("menus"), MENUS, pointer_lock=False))
    yield world
    world.close()


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"click": "#nothing"}, r"begin\[1\]: nothing to click after 1 s: no element '#nothing'"),
        ({"click": "#start"}, r"begin\[1\]: nothing to click after 1 s: no element '#start' is to be seen"),  # hidden
        ({"wait": "at === 'level'"}, r"begin\[1\]: at === 'level' does not hold after 1 s"),
        ({"run": "nobody.there()"}, r"begin\[1\]: ReferenceError: nobody is not defined"),
        ({"run": "1 +"}, r"begin\[1\]: SyntaxError"),
    ],
)
def test_a_step_of_a_begin_script_that_fails_is_named(
    tmp_path: Path, menus: BrowserWorld, step: dict[str, Any], said: str
) -> None:
    # the browser's own limit for an answer stays that of the first file
    menus._file = read(page(tmp_path, MENUS, begin=[0.05, step], pointer_lock=False, timeout=1))
    with pytest.raises(BrowserError, match=said):
        menus.reset(seed=0)


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (["W"], "begin: unknown key 'W'"),
        ([{"click": [2, 0]}], "begin.*from 0 to 1, or a CSS selector"),
        ([{"click": "#a", "wait": "b"}], "begin.*one of click, run and wait"),
        ([{"klick": "#a"}], "begin"),
        ([-1], "begin: expected seconds to wait, got -1"),
    ],
)
def test_a_begin_script_that_can_not_be_meant_is_refused(tmp_path: Path, begin: list[Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        BrowserWorld(page(tmp_path, MENUS, begin=begin))


def test_a_page_that_throws_and_shows_nothing_is_refused_with_the_place_and_what_is_kept(
    tmp_path: Path, opened: Opened, cache: Path
) -> None:
    html = "<!doctype html><canvas></canvas><script>console.log('hello');\nthrow new Error('boom at load')</script>"
    world = opened(page(tmp_path, html, pointer_lock=False))
    with pytest.raises(BrowserError, match=r"uncaught Error: boom at load \(page\.html:2:\d+\)") as caught:
        world.reset(seed=0)
    (picture,), (console,) = cache.glob("*.png"), cache.glob("*.txt")
    assert str(picture) in str(caught.value)
    assert str(console) in str(caught.value)
    assert console.read_text().splitlines() == ["log: hello", console.read_text().splitlines()[1]]
    with Image.open(picture) as image:
        assert image.size == (64, 48)


def test_a_page_that_is_never_ready_leaves_its_picture_and_its_console(tmp_path: Path, cache: Path) -> None:
    html = "<!doctype html><body style='background:#c00'><script>console.log('level 1 of 9')</script>"
    with pytest.raises(BrowserError, match=r"not ready after 4 s: window\.never .*its picture: ") as caught:
        BrowserWorld(page(tmp_path, html, ready="window.never", timeout=4))
    (picture,) = cache.glob("*.png")
    assert str(picture) in str(caught.value)
    assert (np.array(Image.open(picture))[10, 10] == (204, 0, 0)).all()
    assert "level 1 of 9" in next(iter(cache.glob("*.txt"))).read_text()


ERRORS = """<!doctype html><body style="background:#357"><p>a game</p><img src="gone.png"><script>
let n = 0; addEventListener("keydown", () => { n += 1; if (n === 1) Promise.reject(new TypeError("late"));
  none.there; });
</script>"""


class _Steps:
    spec = PolicySpec(chunk=1)

    def __init__(self, *keys: str) -> None:
        self._keys, self._turn = frozenset(keys), 0

    def act(self, contexts: list[Context]) -> list[Decision]:
        self._turn += 1
        return [Decision((Action(keys=self._keys) if self._turn % 2 else NEUTRAL,)) for _ in contexts]


def test_errors_of_a_page_that_plays_on_are_told_with_the_outcome(tmp_path: Path, opened: Opened) -> None:
    world = opened(page(tmp_path, ERRORS, keys=["KeyW"], hold=0.0, pointer_lock=False))
    outcome = play(Resize(world, 24, 32), InStep(_Steps("KeyW")), "go", time_limit=12)  # wrappers hand it on
    told = " | ".join(outcome.warnings)
    assert "Failed to load resource" in told
    assert "(gone.png)" in told
    assert "uncaught TypeError: late" in told
    assert "uncaught ReferenceError: none is not defined" in told
    assert " times)" in told
    assert world._server is not None
    assert world._server.entry.strip("/") not in told  # the folder is a secret
    assert outcome.to_json()["warnings"] == list(outcome.warnings)


def test_a_picture_of_nothing_is_told_with_the_outcome(tmp_path: Path, opened: Opened) -> None:
    blank = opened(page(tmp_path, "<!doctype html><body style='background:#357'>", pointer_lock=False))
    (told,) = play(blank, InStep(_Steps()), "go", time_limit=3).warnings
    assert "a single colour all the time" in told
    seen = opened(page(tmp_path, "<!doctype html><body style='background:#357'>a game", pointer_lock=False))
    assert play(seen, InStep(_Steps()), "go", time_limit=3).warnings == ()


# The page looks at its keys once in 40 ms; how often it found the key newly down.
POLLS = """<!doctype html><body style="background:#357">a game<script>
const held = new Set(); let taps = 0, was = false;
addEventListener("keydown", (e) => held.add(e.code)); addEventListener("keyup", (e) => held.delete(e.code));
setInterval(() => { const is = held.has("KeyW"); if (is && !was) taps += 1; was = is; }, 40);
</script>"""


def test_no_tap_is_lost_on_a_page_that_looks_once_a_frame(tmp_path: Path, opened: Opened) -> None:
    file = page(tmp_path, POLLS, keys=["KeyW", "left"], hold=0.12, tick_hz=60, pointer_lock=False, state="({taps})")
    world = opened(file)
    world.reset(seed=0)
    for _ in range(8):
        begun = time.monotonic()
        _, _, _, _, info = world.step(Action(frozenset({"KeyW"})))  # a tap of one tick, 17 ms
        while "KeyW" in world.held[0]:
            world.step(NEUTRAL)
        assert time.monotonic() - begun > 0.08
        for _ in range(8):
            _, _, _, _, info = world.step(NEUTRAL)
    assert told(info)["taps"] == 8
    world.step(Action(frozenset({"KeyW"})))
    world.reset(seed=0)
    assert world.held == (frozenset(), frozenset())  # an end is an end

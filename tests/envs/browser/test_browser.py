"""Games in web pages: the real Chromium, small pages, and the arena of examples/browser."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import gymnasium
import psutil
import pytest
import yaml

from envs.action import KEYS, NEUTRAL, Action
from envs.browser.chromium import BrowserError
from envs.browser.world import BrowserWorld
from envs.check import check_world
from envs.errors import UserError
from tests.support.components import needs
from tests.support.waiting import eventually

pytestmark = needs("chromium")

ROOT = Path(__file__).parents[3]
GAME = str(ROOT / "examples" / "browser" / "game.yaml")

# A page that writes down what it is given. Its colour is the number of its tick; a moving mouse paints its edge.
NOTES = """
<!doctype html><body style="margin:0;background:#000"><canvas width=64 height=48></canvas><script>
const pen = document.querySelector("canvas").getContext("2d", {alpha: false});
let tick = 0, seed = 0, options = null, notes = [], turned = 0, draws = 0, shown = 0;
const note = (e) => notes.push([e.type, e.code ?? e.button, e.key ?? e.buttons]);
for (const type of ["keydown", "keyup", "mousedown", "mouseup"]) addEventListener(type, note);
addEventListener("mousemove", (e) => { turned += e.movementX; notes.push([e.type, e.clientX, e.clientY]); });
addEventListener("wheel", (e) => notes.push([e.type, e.deltaY, 0]));
addEventListener("mousedown", () => { if (window.wantsPointer !== false) document.body.requestPointerLock(); });
window.__reset = (s, o) => { [tick, seed, options, notes, turned, draws] = [0, s, o, [], 0, 0]; paint(); };
window.__step = (seconds, draw) => { tick += 1; if (draw) paint(); };
const paint = () => {
  draws += 1;
  pen.fillStyle = `rgb(${tick * 5 % 256}, ${Math.abs(turned) % 256}, ${seed % 256})`;
  pen.fillRect(0, 0, 64, 48);
};
window.__state = () => ({tick, seed, options, notes, turned, draws});
</script>
"""


def page(folder: Path, html: str = NOTES, **fields: Any) -> str:
    """A world file with a page of its own; returns its path."""
    (folder / "page.html").write_text(html)
    file = folder / "world.yaml"
    file.write_text(yaml.safe_dump({"page": "page.html", "size": "64x48", "timeout": 20, **fields}))
    return str(file)


@pytest.fixture
def opened() -> Iterator[Callable[..., BrowserWorld]]:
    made: list[BrowserWorld] = []

    def make(*args: Any) -> BrowserWorld:
        made.append(BrowserWorld(*args))
        return made[-1]

    yield make
    for world in made:
        world.close()


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserWorld]:
    """A world that listens to everything."""
    file = page(
        tmp_path_factory.mktemp("notes"),
        keys=[*KEYS, "left", "right", "middle"],
        wheel=True,
        degrees_per_count=0.25,
        over="__state().tick >= 40",
    )
    world = BrowserWorld(file)
    yield world
    world.close()


def hold(*names: str, look: tuple[float, float] = (0.0, 0.0), **more: Any) -> Action:
    buttons = frozenset(names) & {"left", "right", "middle"}
    return Action(keys=frozenset(names) - buttons, buttons=buttons, look=look, **more)


def told(info: dict[str, Any]) -> Any:
    return info["state"]["page"]


# The contract


def test_the_arena_keeps_the_contract_in_lockstep() -> None:
    made: list[BrowserWorld] = []

    def make() -> BrowserWorld:
        made.append(BrowserWorld(GAME, "128x96"))
        return made[-1]

    assert check_world(make, episodes=1, ticks=8) == []
    assert made[0].deterministic
    assert not made[0].realtime
    assert made[0].tick_hz == 35.0


def test_a_page_without_hooks_keeps_the_contract_in_real_time(tmp_path: Path) -> None:
    html = """<!doctype html><body style="margin:0"><p id=n></p><script>
    let n = 0; const tick = () => { n += 1; document.body.style.background = `rgb(${n % 256},90,40)`;
    document.getElementById("n").textContent = n; requestAnimationFrame(tick); }; tick();</script>"""
    file = page(
        tmp_path,
        html,
        pointer_lock=False,
        keys=["KeyW", "left"],
        pointer=True,
        state="({n, loaded: performance.timeOrigin})",
        tick_hz=60,
    )
    assert check_world(partial(BrowserWorld, file), episodes=1, ticks=8) == []
    world = BrowserWorld(file)
    try:
        assert world.realtime
        assert not world.deterministic
        first, info = world.reset(seed=0)
        for _ in range(10):
            observation, _, _, _, later = world.step(NEUTRAL)
        assert told(later)["n"] > told(info)["n"]
        assert (observation["pixels"] != first["pixels"]).any()
        _, info = world.reset(seed=0)
        assert told(info)["loaded"] > told(later)["loaded"]  # it is loaded anew
    finally:
        world.close()


def test_a_page_that_loads_itself_anew_is_played_on(tmp_path: Path, opened: Callable[..., BrowserWorld]) -> None:
    html = """<!doctype html><body style="background:#357"><script>
    sessionStorage.loads = Number(sessionStorage.loads ?? 0) + 1;
    addEventListener("keydown", () => location.reload()); </script>"""
    file = page(tmp_path, html, pointer_lock=False, keys=["KeyW"], state="Number(sessionStorage.loads)")
    world = opened(file)
    _, info = world.reset(seed=0, options={"javascript": {"twice": "sessionStorage.loads % 2 == 0"}})
    before = told(info)
    assert info["state"]["javascript"]["twice"] == (before % 2 == 0)
    world.step(hold("KeyW"))
    for _ in range(300):
        _, _, _, _, info = world.step(NEUTRAL)
        if told(info) > before:
            break
    assert told(info) == before + 1
    assert info["state"]["javascript"]["twice"] == (before % 2 == 1)


# Lockstep


def test_every_step_is_one_tick_and_shows_the_page_after_it(notes: BrowserWorld) -> None:
    observation, info = notes.reset(seed=7, options={"level": 2})
    assert told(info) == {"tick": 0, "seed": 7, "options": {"level": 2}, "notes": [], "turned": 0, "draws": 1}
    assert (observation["pixels"] == (0, 0, 7)).all()  # the mark in the corner is not seen
    turned = 0
    for tick in range(1, 25):
        action = hold("KeyW", look=(tick % 3 * 0.25, 0.0)) if tick % 2 else hold("left")
        observation, _, terminated, _, info = notes.step(action)
        turned += tick % 3 if tick % 2 else 0
        assert told(info)["tick"] == info["state"]["tick"] == tick
        assert told(info)["turned"] == turned
        assert (observation["pixels"] == (tick * 5, turned, 7)).all()
        assert not terminated


def test_a_chunk_draws_once_and_ends_with_the_episode(notes: BrowserWorld) -> None:
    notes.reset(seed=1)
    observation, _, terminated, _, info = notes.step_chunk([hold("KeyW"), hold("KeyA", look=(2.0, 0.0)), NEUTRAL])
    assert (told(info)["tick"], told(info)["draws"], info["ticks"]) == (3, 2, 3)
    assert (observation["pixels"] == (15, 8, 1)).all()
    observation, _, terminated, _, info = notes.step_chunk([hold("KeyW")] * 60)
    assert terminated
    assert info["ticks"] == 37
    assert notes.held == (frozenset(), frozenset())
    with pytest.raises(gymnasium.error.ResetNeeded):
        notes.step(NEUTRAL)


# The hands


def test_every_key_is_told_as_a_keyboard_does(notes: BrowserWorld) -> None:
    _, info = notes.reset(seed=0)
    for start in range(0, len(KEYS), 8):
        _, _, _, _, info = notes.step(hold(*KEYS[start : start + 8]))
    _, _, _, _, info = notes.step(NEUTRAL)
    down = [code for kind, code, _ in told(info)["notes"] if kind == "keydown"]
    up = [code for kind, code, _ in told(info)["notes"] if kind == "keyup"]
    assert set(down) == set(up) == set(KEYS)
    assert len(down) == len(up) == len(KEYS)  # each once: what is held is a state
    keys = {code: key for kind, code, key in told(info)["notes"] if kind == "keydown"}
    assert (keys["KeyW"], keys["Space"], keys["ArrowUp"], keys["F5"]) == ("w", " ", "ArrowUp", "F5")
    assert keys["ControlRight"] == "Control"
    notes.reset(seed=0)
    notes.step(hold("ShiftLeft"))
    _, _, _, _, info = notes.step(hold("ShiftLeft", "KeyW", "Digit1"))
    assert [key for _, _, key in told(info)["notes"]] == ["Shift", "!", "W"]


def test_what_is_held_is_pressed_once_and_released_by_a_reset(notes: BrowserWorld) -> None:
    notes.reset(seed=0)
    notes.step(hold("KeyW", "right"))
    _, _, _, _, info = notes.step(hold("KeyW", "right", "left"))
    assert told(info)["notes"] == [["keydown", "KeyW", "w"], ["mousedown", 2, 2], ["mousedown", 0, 3]]
    assert notes.held == (frozenset({"KeyW"}), frozenset({"left", "right"}))
    notes._browser.evaluate("[window.kept, window.__reset] = [__reset, () => { tick = 0 }]")  # which keeps the notes
    _, info = notes.reset(seed=0)
    assert told(info)["notes"][3:] == [["keyup", "KeyW", "w"], ["mouseup", 0, 2], ["mouseup", 2, 0]]
    assert notes.held == (frozenset(), frozenset())
    notes._browser.evaluate("window.__reset = window.kept")


def test_the_mouse_turns_by_degrees_beyond_the_edge_and_keeps_what_is_less_than_a_count(notes: BrowserWorld) -> None:
    notes.reset(seed=0)
    for _ in range(9):  # 1620 counts in a view of 64 pixels
        _, _, _, _, info = notes.step(hold(look=(45.0, 0.0)))
    assert told(info)["turned"] == 9 * 180
    for _ in range(8):
        _, _, _, _, info = notes.step(hold(look=(-0.1, 0.05)))
    assert told(info)["turned"] == 9 * 180 - 3  # 0.8 degrees are 3.2 counts
    wheel = notes.step(hold(wheel=1.0))[4]
    assert told(wheel)["notes"][-1] == ["wheel", -100, 0]  # up scrolls up


def test_a_free_pointer_goes_where_it_is_told_and_stays_in_the_view(
    tmp_path: Path, opened: Callable[..., BrowserWorld]
) -> None:
    world = opened(page(tmp_path, NOTES.replace("let tick", "window.wantsPointer = false; let tick"),
                        pointer_lock=False, pointer=True, degrees_per_count=0.25, keys=["left"]))  # fmt: skip
    world.reset(seed=0)
    world.step(hold(pointer=(0.25, 0.5)))
    world.step(hold("left", pointer=(1.0, 1.0)))
    _, _, _, _, info = world.step(hold(look=(-2.0, 45.0)))
    assert told(info)["notes"] == [
        ["mousemove", 16, 24],
        ["mousemove", 63, 47],
        ["mousedown", 0, 1],
        ["mouseup", 0, 0],
        ["mousemove", 55, 0],
    ]


# What goes wrong


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"page": "none.html"}, r"world\.yaml: page: there is no file .*none\.html; expected an HTML file"),
        ({"page": "http://"}, r"world\.yaml: page: 'http://' is no whole URL"),
        ({"keys": ["W"]}, r"world\.yaml: keys: unknown key 'W'; expected a KeyboardEvent\.code name"),
        ({"size": "60"}, r"world\.yaml: size: expected WIDTHxHEIGHT of 16 to 4096 pixels"),
        ({"tick_hz": 0}, r"world\.yaml: tick_hz: input should be greater than 0"),
        ({"speed": 1}, r"world\.yaml: speed: unknown key"),
    ],
)
def test_a_wrong_world_file_is_refused_with_the_place(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        BrowserWorld(page(tmp_path, **fields))
    assert "\n" not in str(caught.value)


def test_a_chromium_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrowserError, match="apt-get install chromium"):
        BrowserWorld(GAME)
    monkeypatch.setenv("CHROMIUM", "/no/chromium")
    with pytest.raises(BrowserError, match=r"\$CHROMIUM is '/no/chromium'"):
        BrowserWorld(GAME)


def test_a_page_that_is_wrong_is_told_with_its_console(tmp_path: Path, opened: Callable[..., BrowserWorld]) -> None:
    html = NOTES.replace("let tick", "console.warn('low on mana'); let tick")
    html = html.replace("tick += 1;", "tick += 1; if (tick === 3) nothing.happens(); if (tick === 5) for (;;);")
    world = opened(page(tmp_path, html, timeout=10))
    world.reset(seed=0)
    world.step_chunk([NEUTRAL] * 2)
    said = r"nothing is not defined; the console's last lines: .*low on mana"
    with pytest.raises(BrowserError, match=said) as caught:
        world.step(hold("KeyW"))
    assert "\n" not in str(caught.value)
    with pytest.raises(gymnasium.error.ResetNeeded):
        world.step(NEUTRAL)
    with pytest.raises(BrowserError, match=r"javascript\.win: .*SyntaxError.*'1 \+'"):
        world.reset(options={"javascript": {"win": "1 +"}})
    with pytest.raises(BrowserError, match=r"javascript\.win: ReferenceError: nobody is not defined"):
        world.reset(options={"javascript": {"win": "nobody.won"}})
    with pytest.raises(ValueError, match=r"options\.javascript: expected names"):
        world.reset(options={"javascript": "1"})
    world.reset(seed=0)
    world._browser.evaluate("tick = 4")
    with pytest.raises(BrowserError, match="does not answer: no answer in 10 s"):
        world.step(NEUTRAL)
    assert told(world.reset(seed=4)[1])["seed"] == 4  # in a new browser


def test_a_page_that_never_loads_is_given_up(tmp_path: Path) -> None:
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(4)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(BrowserError, match=r"does not load: no end in 1 s"):
            BrowserWorld(page(tmp_path, page=f"http://127.0.0.1:{server.server_port}/", timeout=1))
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(BrowserError, match=r"not ready after 4 s: window\.later"):
        BrowserWorld(page(tmp_path, ready="window.later", timeout=4))


def test_a_killed_browser_and_a_crashed_page_are_told_and_replaced(
    tmp_path: Path, opened: Callable[..., BrowserWorld]
) -> None:
    world = opened(page(tmp_path))
    for end, said in (("browser", "Chromium ended"), ("renderer", "the page crashed")):
        world.reset(seed=1)
        assert world._browser._pid is not None
        top = psutil.Process(world._browser._pid)
        if end == "browser":
            top.kill()
        else:
            for process in top.children(recursive=True):
                if "--type=renderer" in process.cmdline():
                    process.kill()
        with pytest.raises(BrowserError, match=said):
            world.step_chunk([hold("KeyW")] * 200)
        assert world.held == (frozenset(), frozenset())
    world.reset(seed=1)
    world._browser.kill()
    observation, _ = world.reset(seed=9)  # which needs no error first
    assert (observation["pixels"] == (0, 0, 9)).all()


def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import sys
        from envs.browser.world import BrowserWorld
        world = BrowserWorld({page(tmp_path)!r})
        world.reset(seed=0)
        print(world._browser._pid, flush=True)
        sys.stdin.read()
    """)
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    browser = psutil.Process(int(child.stdout.readline()))
    family = [browser, *browser.children(recursive=True), *psutil.Process(child.pid).children(recursive=True)]
    assert len(family) > 4
    child.send_signal(signal.SIGKILL)
    child.communicate()
    _, alive = psutil.wait_procs(set(family), timeout=20)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_dialogs_windows_and_downloads_are_refused(tmp_path: Path, opened: Callable[..., BrowserWorld]) -> None:
    world = opened(page(tmp_path))
    world.reset(seed=0)
    evaluate, context = world._browser.evaluate, world._browser._page.context
    windows: list[Any] = []
    context.on("page", lambda window: windows.append(window))
    assert evaluate("[alert('a'), confirm('b'), prompt('c')]") == [None, False, None]
    assert evaluate("window.open('page.html')") is None
    evaluate("""(() => { const link = document.createElement("a"); link.href = "page.html"; document.body.append(link);
        link.target = "_blank"; link.click(); link.target = ""; link.download = "page.html"; link.click(); })()""")
    assert evaluate("navigator.permissions.query({name: 'geolocation'}).then((it) => it.state)") != "granted"
    assert eventually(lambda: windows, 30.0)  # the link opens one, which the browser's thread closes
    assert eventually(lambda: all(window.is_closed() for window in windows), 30.0)
    assert len(context.pages) == 1
    observation, _, _, _, _ = world.step(NEUTRAL)
    assert (observation["pixels"] == (5, 0, 0)).all()


def test_a_page_reaches_its_own_origin_and_nothing_else(tmp_path: Path, opened: Callable[..., BrowserWorld]) -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        world = opened(page(tmp_path))
        world.reset(seed=0)
        there = f"http://127.0.0.1:{server.server_port}"
        reached = "fetch({url}).then((it) => it.status, () => 'refused')"
        assert world._browser.evaluate(reached.format(url="'page.html'")) == 200
        assert world._browser.evaluate(reached.format(url=f"'{there}/fetch'")) == "refused"
        assert world._browser.evaluate(reached.format(url="'http://localhost:1/'")) == "refused"
        socket = f"new WebSocket('ws://127.0.0.1:{server.server_port}/ws')"
        closed = f"new Promise((done) => {{ {socket}.onclose = () => done('refused') }})"
        assert world._browser.evaluate(closed) == "refused"
        world._browser.evaluate(f"void (location.href = '{there}/leave')")
        with pytest.raises(BrowserError, match=r"only http://127\.0\.0\.1:\d+ is allowed"):
            world.step_chunk([NEUTRAL] * 40)
    finally:
        server.shutdown()
        server.server_close()
    assert asked == []
    assert told(world.reset(seed=3)[1])["seed"] == 3

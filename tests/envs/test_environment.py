"""Games get no secrets: not from the environment of whoever starts the agent."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from envs import environment
from envs.bridge.client import Remote
from tests.support.desktop_game import tiny

SECRETS = (
    "OPENAI_API_KEY", "LUDENS_MODEL_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "HF_TOKEN", "PGPASSWORD",
    "NVIDIA_API_KEY", "SSH_AUTH_SOCK", "HTTPS_PROXY", "DATABASE_URL", "SDL_SECRET", "MESA_TOKEN", "LC_API_KEY",
    "PYTHONPATH_OF_MINE", "MY_OWN_THING", "BASH_ENV", "LD_PRELOAD", "PYTHONSTARTUP",
)  # fmt: skip
CANARY = "canary-7f3a"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        if name not in ("LD_PRELOAD", "BASH_ENV", "PYTHONSTARTUP", "HTTPS_PROXY"):  # they would change this process
            monkeypatch.setenv(name, f"{CANARY}-{name}")
    monkeypatch.setenv("LANG", "C.UTF-8")


def environ(pid: int) -> dict[str, str]:
    data = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(entry.decode().partition("=")[::2] for entry in data if entry)


def assert_clean(found: dict[str, str]) -> None:
    assert found["PATH"]
    assert found["LANG"] == "C.UTF-8"
    assert not any(CANARY in value for value in found.values())
    assert not set(found) & set(SECRETS)


def test_what_a_game_gets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setitem(os.environ, name, "x")
    assert not set(environment.for_games()) & set(SECRETS)
    assert set(SECRETS) <= set(environment.withheld())
    assert {"PATH", "LANG"} <= set(environment.for_games())


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="apt-get install xvfb")
def test_a_desktop_game_gets_what_its_file_names_and_no_secret() -> None:
    from envs.desktop import processes
    from envs.desktop.world import DesktopWorld

    world = DesktopWorld(tiny(env={"MY_LEVEL": "7", "GAME_TOKEN": "of the file"}))
    try:
        world.reset(seed=0)
        pids = processes.marked(world._stage._mark)
        assert pids
        for pid in pids:
            found = environ(pid)
            assert_clean(found)
            assert found["MY_LEVEL"] == "7"
            assert found["GAME_TOKEN"] == "of the file"
            assert found["DISPLAY"]
    finally:
        world.close()


def test_a_guest_of_the_bridge_gets_no_secret() -> None:
    guests = Path(__file__).parents[1] / "support" / "guests"
    with Remote("guest_worlds:Painter", python=sys.executable, path=[guests], env={"FOR_THE_GUEST": "1"}) as remote:
        remote.start()
        found = environ(int(remote.facts["pid"]))
    assert_clean(found)
    assert found["FOR_THE_GUEST"] == "1"


def test_doom_gets_no_secret() -> None:
    psutil = pytest.importorskip("psutil")
    from envs.doom.world import DoomWorld

    world = DoomWorld()
    try:
        before = {child.pid for child in psutil.Process().children(recursive=True)}
        world.reset(seed=0)
        games = [c for c in psutil.Process().children(recursive=True) if c.pid not in before]
        assert games
        for game in games:
            assert_clean(environ(game.pid))
    finally:
        world.close()


def test_chromium_gets_no_secret(tmp_path: Path) -> None:
    pytest.importorskip("playwright")
    psutil = pytest.importorskip("psutil")
    from envs.browser.chromium import BrowserError, find_chromium
    from envs.browser.world import BrowserWorld

    try:
        find_chromium()
    except BrowserError as error:
        pytest.skip(str(error))
    page = tmp_path / "index.html"
    page.write_text("<!doctype html><body style='background:#123'>hello")
    (tmp_path / "w.yaml").write_text("page: index.html\npointer_lock: false\n")
    world = BrowserWorld(str(tmp_path / "w.yaml"))
    try:
        world.reset(seed=0)
        assert world._chromium is not None
        browser = psutil.Process(world._chromium._pid)
        for process in (browser, *browser.children(recursive=True)):
            found = environ(process.pid)
            if found:  # Chromium overwrites what its zygotes inherited
                assert not any(CANARY in value for value in found.values())
                assert not set(found) & set(SECRETS)
    finally:
        world.close()

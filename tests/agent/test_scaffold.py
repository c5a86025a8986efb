"""Packages that `agent env new` writes: they are installed, found, checked and played, as they are."""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from agent.scaffold import KINDS, write_package
from envs.desktop import calibration
from envs.desktop.game import Game
from envs.errors import UserError
from tests.support.components import needs
from tests.support.thread_workers import THREADS

UV = Path(sys.executable).with_name("uv")
# Commands of `agent`, one after the other: each process of its own would import torch again.
IN_ONE_PROCESS = """
import contextlib, io, json, sys
from agent.cli import run
printed = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert run(words) == 0, words
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


@pytest.mark.slow
def test_a_new_package_is_installed_and_played(tmp_path: Path) -> None:
    uv = str(UV) if UV.exists() else shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv, to install the package")
    write_package("lamp_game", "python", tmp_path)
    venv.create(tmp_path / "venv")  # one that sees what is installed here, so that nothing is left behind here
    packages = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    here = [*site.getsitepackages(), str(Path(__file__).parents[2])]
    (packages / "here.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in here))
    python = tmp_path / "venv/bin/python"
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}

    def run(*command: object) -> str:
        words = list(map(str, command))
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(uv, "pip", "install", "--python", python, "--no-deps", "--no-build-isolation", "--offline", "-e", "lamp_game")
    tasks = tmp_path / "lamp_game/lamp_game/tasks.yaml"
    by_expert = "--policy", "expert", "--episodes", "6", "--workers", THREADS, "--json", "-"
    commands = {
        "check": ("env", "check", "lamp_game", "--episodes", "1", "--json"),
        # by `small`, which was made for Doom
        "play": ("play", "--env", "lamp_game", "--time-limit", "1", "--json", "go to the lamp"),
        "own tasks": (
            "eval", "--tasks", tasks, "--env", "lamp_game",
            "--policy", "random", "--policy-only", "--workers", THREADS, "--json", "-",
        ),
        "suites": ("list", "suites", "--json"),
        "suite": ("eval", "--suite", "lamp_game-basic", "--env", "lamp_game", *by_expert),
        "record": (
            "record", "--env", "lamp_game", "--suite", "lamp_game-basic", "--episodes", "2", "--workers", "1",
            "--out", "recorded", "--json",
        ),
        "play the expert": ("play", "--env", "lamp_game", "--policy", "expert", "--json", "go to the lamp"),
    }  # fmt: skip
    texts = json.dumps([list(map(str, command)) for command in commands.values()])
    printed = json.loads(run(python, "-c", IN_ONE_PROCESS, texts))
    said = {name: json.loads(text) for name, text in zip(commands, printed, strict=True)}
    checked = said["check"]
    assert checked["ok"]
    assert checked["latency"]["ticks"] == 1
    assert (tmp_path / checked["sheet"]).exists()
    (episode,) = said["play"]["episodes"]
    assert 0 < episode["outcome"]["ticks"] <= 35
    assert episode["task"]["world"] == "lamp_game"
    assert said["own tasks"]["episodes"] == 5
    assert {"lamp_game-basic", "lamp_game-phrasings"} <= {row["name"] for row in said["suites"]}
    assert said["suite"]["success"] == 1.0
    assert said["suite"]["confirmed"]["episodes"] == 6  # the instructions are read
    assert said["record"]["success"] == 1.0
    (episode,) = said["play the expert"]["episodes"]
    assert episode["outcome"]["success"]  # a typed sentence has the world's own verifier


NEEDED = {
    "desktop": (needs("xvfb"),),
    "browser": (needs("chromium"),),
    "bridge": (pytest.mark.slow,),
    "gymnasium": (pytest.mark.slow,),
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=NEEDED.get(kind, ())) for kind in sorted(set(KINDS) - {"python"})]
)
def test_every_kind_passes_its_own_test(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x11_game = Path(__file__).parents[2] / "tests" / "support" / "x11_game.py"
    game = f"{sys.executable} {x11_game} --size 320x240" if kind == "desktop" else ""
    files = write_package(f"a_{kind}", kind, tmp_path, game)
    assert all("{{" not in path.read_text() for path in files)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if game:  # measuring takes half a minute, and tests/envs/desktop does it
        known = Game.model_validate({"command": game, "keys": ["KeyW"], "size": (320, 240)})
        calibration.remember(known, "a_desktop.world.ADesktop", (0.2, 0.2))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([".", *sys.path])}
    done = subprocess.run(command, cwd=tmp_path / f"a_{kind}", env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "2 passed" in done.stdout
    assert len(list(tmp_path.glob("ludens/desktop/*.json"))) == bool(game), "another game than the remembered one"


@pytest.mark.parametrize(
    ("name", "kind", "game", "said"),
    [
        ("My-Game", "python", "", "'My-Game' is no name for a package; expected small letters"),
        ("class", "python", "", "'class' is no name"),
        ("doom", "python", "", "there is a world 'doom' already"),
        ("json", "python", "", "there is a Python module 'json' already"),
        ("game", "pyton", "", "unknown kind 'pyton'; did you mean 'python'?"),
        ("game", "python", "CartPole-v1", "--game says nothing for --kind python"),
        ("game", "desktop", "", "--kind desktop needs --game: its command"),
        ("game", "gymnasium", "CartPol-v1", "CartPol-v1"),
    ],
)
def test_what_can_not_be_made_is_said_and_leaves_nothing(
    name: str, kind: str, game: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        write_package(name, kind, tmp_path, game)
    assert said in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    write_package("game", "python", tmp_path)
    with pytest.raises(UserError, match="is there already"):
        write_package("game", "bridge", tmp_path)

"""Ctrl+C in a terminal goes to every process of the group: the run ends in order all the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHROMIUM = pytest.mark.skipif(shutil.which("chromium") is None, reason="apt-get install chromium libatomic1")
XVFB = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="apt-get install xvfb")


def interrupted(tmp_path: Path, *args: str) -> None:
    code = "import sys; from agent.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "play", *args, "--policy", "tests.agent.cli.test_ctrl_c:Noisy", "--no-page",
         "--json", "--out", "run", "go"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    while "deciding" not in (line := process.stderr.readline()):
        assert line, "it ended"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    (episode,) = json.loads(out)["episodes"]
    assert episode["outcome"]["interrupted"] is True
    assert (tmp_path / "run" / "report.html").exists()
    assert (tmp_path / episode["episode"] / "episode.json").exists()


class Noisy:
    """Says on standard error that it decides, the third time and later."""

    def __init__(self) -> None:
        from agent.policy import PolicySpec

        self.spec = PolicySpec(tick_hz=30.0)
        self._times = 0

    def act(self, contexts):  # type: ignore[no-untyped-def]
        from agent.policy import Decision
        from envs.action import Action

        self._times += 1
        if self._times > 3:
            print("deciding", file=sys.stderr, flush=True)
        return [Decision((Action(),) * 4) for _ in contexts]


@pytest.mark.slow
@CHROMIUM
def test_a_game_in_a_browser(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><body style='background:#123'>hello")
    (tmp_path / "w.yaml").write_text("page: index.html\npointer_lock: false\n")
    interrupted(tmp_path, "--env", "browser:w.yaml")


def test_doom(tmp_path: Path) -> None:
    interrupted(tmp_path, "--env", "doom")


@XVFB
def test_a_desktop_game(tmp_path: Path) -> None:
    game = {
        "command": [sys.executable, str(ROOT / "tests" / "support" / "x11_game.py")],
        "keys": ["KeyW"],
        "size": [160, 120],
        "ready": "ready to play",
        "degrees_per_count": 0.2,
    }
    (tmp_path / "game.yaml").write_text(json.dumps(game))
    interrupted(tmp_path, "--env", "desktop:game.yaml")

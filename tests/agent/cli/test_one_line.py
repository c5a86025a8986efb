"""A line where a line belongs: what is no policy, no world, no number, no text; and the command to do it again."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agent import cli
from agent.cli import console, play
from agent.cli.options import ClockName


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["play", "go", "--policy", "os:path"],
            "policy 'os:path' is the module posixpath (from os:path)",
        ),
        (["play", "go", "--policy", "math:pi"], "policy 'math:pi' is a float (from math:pi); expected a class"),
        (["play", "go", "--policy", "os:getpid"], "which is no policy; expected an agent.policy.Policy"),
        (["play", "go", "--policy", "random", "--env", "os:path"], "world 'os:path' is the module posixpath"),
        (["play", "go", "--policy", "random", "--env", "os:getcwd"], "which is no world; expected an envs.world.World"),
        (["model", "ask", "os:path", "hello"], "model 'os:path' is the module posixpath"),
        (["play", "go", "--time-limit", "inf"], "--time-limit inf: expected a finite number"),
        (["play", "go", "--planner-every", "inf"], "--planner-every inf: expected a finite number"),
        (["play", "go", "--long"], "--long is for a planner; name one with --planner, such as --planner small"),
        (["model", "ask", "small", "hello", "--deadline", "nan"], "--deadline nan: expected a finite number"),
        (["play", "go \udcff\udcfe"], "instruction: expected text in UTF-8, got 'go ??'"),
        (["chat", "--trust", "a\udcff"], "trust: expected text in UTF-8, got 'a?'"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(args) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not list(Path().iterdir())


def test_an_instruction_that_is_not_utf_8_is_told_by_the_command_too() -> None:
    code = "import sys; from agent.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "play", b"go \xff"], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"expected text in UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_no_git_is_no_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from agent.cli.compose import provenance

    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance()["commit"] == ""


DEFAULTS = {
    "instruction": None, "env": "doom", "policy": "small", "seed": None, "think": "auto", "image": None, "time": None,
    "planner": None, "planner_every": 10.0, "view": None, "planner_view": None, "long": False, "voice": None,
    "token_file": None, "resolution": None, "allow_real_desktop": False, "time_limit": None, "attempts": 1,
    "critic": None, "out": None, "page": True, "port": 0, "wait": False, "json": False,
}  # fmt: skip


def test_again_repeats_every_option_that_mattered_quoted_for_the_shell(tmp_path: Path) -> None:
    assert console.command_line("play", play.play, DEFAULTS, without=()) == "agent play"
    given = {
        **DEFAULTS, "instruction": "--go to the 'red' torch; $HOME", "env": "browser:my games/a.yaml", "seed": 7,
        "think": "off", "image": Path("a b.png"), "time": ClockName.realtime, "planner": "smol", "planner_every": 2.5,
        "view": "size=world", "planner_view": "frames=2", "long": True,
        "resolution": "320x240", "allow_real_desktop": True, "time_limit": 3.5, "attempts": 2,
        "out": tmp_path, "page": False,
    }  # fmt: skip
    again = console.command_line("play", play.play, given, without=play._OF_THIS_RUN)
    assert shlex.split(again) == [
        "agent", "play", "--env", "browser:my games/a.yaml", "--seed", "7", "--think", "off", "--image", "a b.png",
        "--time", "realtime", "--planner", "smol", "--planner-every", "2.5", "--view", "size=world",
        "--planner-view", "frames=2", "--long", "--resolution", "320x240",
        "--allow-real-desktop", "--time-limit", "3.5", "--attempts", "2", "--", "--go to the 'red' torch; $HOME",
    ]  # fmt: skip


def test_again_does_the_same_again(capsys: pytest.CaptureFixture[str]) -> None:
    how = ["--policy", "random", "--time-limit", "0.5", "--resolution", "320x240", "--no-page"]
    assert cli.run(["play", *how, "--out", "one", "--", "-- it's here"]) == 0
    (again,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Again:")]
    args = shlex.split(again.removeprefix("Again:"))[1:]
    assert args[-2:] == ["--", "-- it's here"]
    assert cli.run([args[0], "--no-page", "--out", "two", *args[1:]]) == 0
    names = [sorted(os.listdir(run)) for run in ("one", "two")]
    assert names[0] == names[1]

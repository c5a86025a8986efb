"""`agent play --view`: what is seen is told before, and what a request weighed afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import cli
from tests.support.model_server import says, serving
from training.data.episodes import read_episode


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_tells_what_its_models_see_and_what_that_weighs(capsys: pytest.CaptureFixture[str]) -> None:
    how = ["--env", "gymnasium:MountainCar-v0", "--time-limit", "1", "--no-page", "--out", "run", "--seed", "1"]
    with serving(says("act: tap Digit2", prompt=4321)) as server:
        view = ["--policy", f"openai:toy@{server.url}", "--view", "size=300x300,frames=2,apart=300,encoding=png"]
        assert cli.run(["play", "drive up", *how, *view]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The player sees 300x200 of the world's 600x400 and 1 earlier of 270x180, 300 ms apart" in said
    assert ", 4,321 tokens read" in said
    run = json.loads(Path("run/config.json").read_text())
    assert run["views"]["player"].startswith("300x200 of the world's 600x400")
    outcome = run["episodes"][0]["outcome"]
    assert 1.0 < outcome["pictures"] <= 2.0
    weights = [int(headers["content-length"]) for headers in server.headers]
    # A request that is on its way when the time is up is not counted; headers and JSON come on top of what is sent.
    assert 0.9 * min(weights) <= outcome["sent_bytes"] <= max(weights)
    looks = read_episode(run["episodes"][0]["episode"]).looks
    assert {look.tokens for look in looks} == {4321}


def test_help_names_the_parts_of_a_view(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.run(["play", "--help"]) == 0
    said = capsys.readouterr().out
    for word in ("--view", "--planner-view", "exactly", "letterbox", "apart", "tokens", "bytes", "jpeg:QUALITY"):
        assert word in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--policy", "random", "--view", "frames=2"], "policy 'random' sees what it was made for; leave --view out"),
        (["--view", "frames=2"], "policy 'small' sees what it was made for; leave --view out"),
        (
            ["--policy", "random", "--planner-view", "frames=2"],
            "--planner-view is for a planner; name one with --planner",
        ),
        (
            ["--policy", "openai:toy@http://127.0.0.1:1/v1", "--view", "frames"],
            "--view: frames: expected a number, got",
        ),
    ],
)
def test_a_wrong_view_is_told_in_a_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["play", "go", *args]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not list(Path().iterdir())

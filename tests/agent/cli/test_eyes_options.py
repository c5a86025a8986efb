"""`--view` of `agent play`, `chat`, `record` and `eval`: what models see is told, and what a request weighs."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from agent import cli
from tests.support.model_server import FakeServer, says, serving
from tests.support.thread_workers import THREADS
from tests.support.worlds import SquareWorld
from training.data.episodes import Episode, read_episode

WORLD = ["--env", "gymnasium:MountainCar-v0"]
VIEW = "size=300x300,frames=2,apart=300,encoding=png"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_run_tells_what_its_models_see_and_what_that_weighs(capsys: pytest.CaptureFixture[str]) -> None:
    how = [*WORLD, "--time-limit", "1", "--no-page", "--out", "run", "--seed", "1"]
    with serving(says("act: tap Digit2", prompt=4321)) as server:
        view = ["--policy", f"openai:toy@{server.url}", "--view", VIEW]
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


class Meadow(SquareWorld):
    """Large pictures, and no end."""

    def __init__(self) -> None:
        super().__init__(length=10**9, height=400, width=600)


def sizes_sent(server: FakeServer) -> set[tuple[int, int]]:
    """The sizes of all pictures that came, (width, height)."""
    parts = [part for asked in server.asked for message in asked["messages"] for part in message["content"]]
    urls = [part["image_url"]["url"] for part in parts if isinstance(part, dict) and part["type"] == "image_url"]
    return {Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls}


def sizes_seen(episode: Episode, who: str) -> set[tuple[int, int]]:
    """The sizes of all pictures that `who` was shown, (height, width), as the episode tells."""
    return {size for look in episode.looks if look.who == who for size in look.sizes}


def test_the_models_of_a_chat_see_what_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    plans = [
        {"steps": ["go"], "say": "", "notes": "", "done": False},
        {"steps": [], "say": "", "notes": "", "done": True},
    ]
    thinks = [says(json.dumps(plan)) for plan in plans]
    with serving(says("act: hold KeyW"), says("act: done")) as player, serving(*thinks) as planner:
        models = ["--policy", f"openai:toy@{player.url}", "--planner", f"openai:toy@{planner.url}"]
        views = ["--view", VIEW, "--planner-view", "exactly=96x64,frames=1"]
        how = ["--env", f"{Path(__file__).stem}:Meadow", "--no-page", "--out", "run", "--seed", "1"]
        assert cli.run(["chat", "go right", *how, *models, *views]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "The player sees 300x200 of the world's 600x400 and 1 earlier of 270x180, 300 ms apart" in said
    run = json.loads(Path("run/config.json").read_text())
    assert run["views"]["planner"] == "96x64 of the world's 600x400"
    assert (run["options"]["view"], run["options"]["planner_view"]) == (VIEW, "exactly=96x64,frames=1")
    assert (300, 200) in sizes_sent(player) <= {(300, 200), (270, 180)}
    assert sizes_sent(planner) == {(96, 64)}
    episode = read_episode(run["episodes"][0]["episode"])
    assert (200, 300) in sizes_seen(episode, "player") <= {(200, 300), (180, 270)}
    assert sizes_seen(episode, "planner") == {(64, 96)}


def test_what_is_recorded_was_seen_as_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(says("act: tap Digit2")) as server:
        policy = ["--policy", f"openai:toy@{server.url}", "--workers", THREADS, "--episodes", "1", "--time-limit", "1"]
        how = ["record", "drive up", *WORLD, *policy, "--out", "data", "--json"]
        assert cli.run([*how, "--view", VIEW]) == 0
        assert json.loads(capsys.readouterr().out)["episodes"] == 1
        assert json.loads(Path("data/record.json").read_text())["view"] == VIEW
        episode = read_episode(Path("data/drive-up-0-000000"))
        assert sizes_seen(episode, "player") == {(200, 300), (180, 270)}
        assert sizes_sent(server) == {(300, 200), (270, 180)}
        assert cli.run(how) == 2
    assert f"its episodes have view '{VIEW}', not None; name another folder" in capsys.readouterr().err


def test_what_is_measured_saw_what_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    task = {"instruction": "drive up", "world": WORLD[1], "seeds": [1], "time_limit": 20}
    judged = task | {"verifier": {"name": "reward", "args": {"at_least": 1000}}}
    Path("own.yaml").write_text(json.dumps({"tasks": [judged]}))  # JSON is YAML
    how = ["eval", "--tasks", "own.yaml", *WORLD, "--policy-only", "--workers", THREADS, "--json", "-"]
    with serving(says("act: tap Digit2")) as server:
        assert cli.run([*how, "--policy", f"openai:toy@{server.url}", "--view", VIEW]) == 0
    report: Any = json.loads(capsys.readouterr().out)
    assert (report["view"], report["episodes"]) == (VIEW, 1)
    assert sizes_sent(server) == {(300, 200), (270, 180)}


def test_help_names_the_parts_of_a_view(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for verb in ("play", "chat", "record", "eval"):
        assert cli.run([verb, "--help"]) == 0
        said = capsys.readouterr().out
        for word in ("--view", "exactly", "letterbox", "apart", "tokens", "bytes", "jpeg:QUALITY"):
            assert word in said
        assert ("--planner-view" in said) == (verb in ("play", "chat"))


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
    record, measure = ["record", "go", "--out", "data"], ["eval", "--episodes", "1"]
    for verb in (["play", "go"], ["chat", "go"], record, measure):
        if "--planner-view" in args and verb in (record, measure):
            continue  # they have no planner
        small = ["--policy", "small"] if verb is record and "--policy" not in args else []  # its default is the expert
        assert cli.run([*verb, *args, *small]) == 2
        err = capsys.readouterr().err
        assert said in err
        assert len(err.strip().splitlines()) == 1
        assert not list(Path().iterdir())


@pytest.mark.parametrize("suite", ["doom-answers", "doom-conversation", "doom-judge"])
def test_suites_of_what_a_model_says_refuse_a_view_of_a_model_that_has_its_own(
    suite: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["eval", "--suite", suite, "--view", "frames=2"]) == 2
    assert "policy 'small' sees what it was made for; leave --view out" in capsys.readouterr().err


def test_a_person_who_records_needs_no_view(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["record", "go", "--human", "--view", "frames=2", "--out", "data"]) == 2
    assert "--view is for a model, and a person sees the live page; leave it out" in capsys.readouterr().err
    assert not Path("data").exists()

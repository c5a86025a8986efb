"""`agent rewards` and `agent tasks`, as a person uses them."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from agent.cli import app, run
from envs.doom.world import DoomWorld
from tasks import world_tasks
from tasks.curriculum import Curriculum
from tasks.setter import Tried
from tests.support.model_server import chooses, serving
from tests.support.thread_workers import THREADS
from training.data.episodes import find_episodes, read_episode


class Red:
    """Judges by how red the last frame is."""

    def judge(self, instructions: list[str], frames: Any) -> list[tuple[float, str]]:
        return [(float(clip[-1, ..., 0].mean()) / 2.56, "red") for clip in frames]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four episodes of the expert, which succeeds, and four of chance, which fails."""
    folder = tmp_path_factory.mktemp("recorded")
    for policy in ("expert", "random"):
        where = ["--out", str(folder / policy), "--suite", "doom-basic", "--evaluation"]
        assert run(["record", "--policy", policy, "--episodes", "4", "--workers", THREADS, *where]) == 0
    assert [e.success for e in map(read_episode, find_episodes(folder))] == [True] * 4 + [False] * 4
    return folder


def score(*args: str) -> Any:
    done = CliRunner().invoke(app, ["rewards", "score", *args, "--json", "-"])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_the_truth_agrees_with_itself(recorded: Path) -> None:
    report = score("--reward", "truth", "--episodes", str(recorded))
    assert (report["reward"], report["episodes"], report["scored"], report["mean"]) == ("truth", 8, 8, 50.0)
    known = report["agreement"]
    assert (known["auroc"], known["false_positive"]["rate"], known["false_negative"]["rate"]) == (1.0, 0.0, 0.0)
    low, high = known["false_positive"]["ci"]
    assert low == 0.0
    assert 0.4 < high < 0.6  # of four failures little is known
    assert sum(group["episodes"] for group in report["by_verb"].values()) == 8


def test_the_judge_that_ships_scores_what_was_recorded(recorded: Path) -> None:
    report = score("--reward", "judge", "--episodes", str(recorded / "expert"), str(recorded / "random"))
    assert (report["scored"], report["damaged"]) == (8, {})
    assert report["agreement"]["auroc"] > 0.6
    passed = [line for line in report["scores"] if line["success"]]
    assert report["success"]["count"] == len(passed)
    wrong = [line for line in passed if not line["truth"]]
    assert report["agreement"]["false_positive"]["count"] == len(wrong)


def test_damaged_episodes_are_named_and_skipped_and_scores_lie_beside_the_others(
    recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "episodes"
    shutil.copytree(recorded / "expert", folder)
    first, second, third, fourth = find_episodes(folder)
    (first / "video.mp4").write_bytes(b"no video")
    (second / "episode.json").write_text("{}")
    judge = f"judge:{__name__}:Red"
    assert run(["rewards", "score", "--reward", judge, "--episodes", str(folder), str(third), "--write"]) == 0
    told = capsys.readouterr().out
    assert told.count("damaged, skipped") == 2
    assert "video.mp4" in told
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert [line["episode"] for line in lines] == [third.name, fourth.name]
    assert {(line["reward"], line["why"]) for line in lines} == {(judge, "red")}
    assert run(["rewards", "score", "--reward", "truth", "--episodes", str(third), "--write"]) == 0
    assert len((folder / "scores.jsonl").read_text().splitlines()) == 3
    for episode in (third, fourth):
        read_episode(episode).verify()
        assert {p.name for p in episode.iterdir()} == {p.name for p in (recorded / "expert" / episode.name).iterdir()}


def test_an_episode_that_can_not_be_scored_is_told_and_is_no_zero(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["rewards", "score", "--reward", f"judge:{__name__}:Broken", "--episodes", str(recorded / "expert")]
    assert run(command) == 0
    told = capsys.readouterr().out
    assert "0 of 4" in told
    assert told.count("not scored") == 4
    assert "out of memory" in told


def test_a_chat_model_judges_what_was_recorded(recorded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "episodes"
    shutil.copytree(recorded, folder)
    bodies: list[dict[str, Any]] = []

    def brightness(handler: Any) -> None:
        """Answers with the brightness of the last picture as a digit; asked without one, with the sum."""
        bodies.append(handler.body)
        content = handler.body["messages"][-1]["content"]
        if isinstance(content, str):
            return chooses({"7": 1.0})(handler)
        *_, last = (part["image_url"]["url"] for part in content if part["type"] == "image_url")
        light = np.asarray(Image.open(io.BytesIO(base64.b64decode(last.partition(",")[2])))).mean()
        return chooses({f"{min(9, int(light / 10))}": 0.8, "0": 0.2})(handler)

    with serving(brightness) as server:
        name = f"judge:openai:toy@{server.url}"
        report = score("--reward", name, "--episodes", str(folder), "--write")
    assert (report["reward"], report["episodes"], report["scored"], len(bodies)) == (name, 8, 8, 9)
    assert {body["max_tokens"] for body in bodies} == {1}
    expected = {}
    for path in find_episodes(folder):
        light = read_episode(path).frames()[-1].mean()
        digit = min(9, int(light / 10))
        expected[str(path)] = pytest.approx(100 * 0.8 * digit / (0.8 + 0.2) / 9)
    assert {line["episode"]: line["value"] for line in report["scores"]} == expected
    assert len(set(map(str, expected.values()))) > 1
    assert all("verifier" not in str(body) and "success" not in str(body["messages"]) for body in bodies)
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert {(line["reward"], line["why"].partition(" of 9")[2]) for line in lines} == {(name, " by the rubric")}


class Broken:
    """A judge that fails."""

    def judge(self, instructions: list[str], frames: Any) -> list[tuple[float, str]]:
        raise RuntimeError("out of memory")


def test_wrong_use_is_told_with_what_mends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rewards", "score", "--reward", "truth", "--episodes", str(tmp_path / "none")]) == 2
    assert run(["rewards", "score", "--reward", "truth", "--episodes", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "no such folder" in told
    assert "agent record" in told
    assert run(["tasks", "propose", "--setter", "suite"]) == 2
    assert run(["tasks", "propose", "--suite", "playroom-basic"]) == 2
    assert run(["tasks", "show", str(tmp_path / "none.jsonl")]) == 2
    told = capsys.readouterr().err
    assert "suite:doom-vault" in told
    assert "'playroom'" in told
    assert "can't be read" in told


def test_rewards_and_setters_are_listed() -> None:
    for what, names in (("rewards", {"judge", "truth"}), ("task-setters", {"small", "suite"})):
        done = CliRunner().invoke(app, ["list", what, "--json"])
        rows = json.loads(done.stdout)
        assert {row["name"] for row in rows if not row["broken"]} >= names


def test_small_proposes_for_a_level_whose_frame_is_saved(tmp_path: Path) -> None:
    where = ["--env", "doom", "--suite", "doom-room", "-n", "4", "--json"]
    picture = tmp_path / "frame.png"
    done = CliRunner().invoke(app, ["tasks", "propose", *where, "--picture", str(picture)])
    assert done.exit_code == 0, done.exception
    report = json.loads(done.stdout)
    texts = [line["instruction"] for line in report["proposals"]]
    assert 1 <= len(texts) <= 4
    assert len(set(texts)) == len(texts)
    assert all(line["verb"] and line["time_limit"] == 525 for line in report["proposals"])
    task = world_tasks.suite("doom-room").practice(0, 0)
    world = DoomWorld()
    try:
        seen, _ = world.reset(seed=task.seed, options=task.options)
    finally:
        world.close()
    assert (np.asarray(Image.open(picture)) == seen["pixels"]).all()

    archive = tmp_path / "tasks.jsonl"
    tried = Curriculum("doom")
    tried.add(Tried(str(i), texts[0], False) for i in range(20))
    tried.save(archive)
    done = CliRunner().invoke(app, ["tasks", "propose", *where, "--archive", str(archive)])
    chosen = {line["instruction"]: line["choice"] for line in json.loads(done.stdout)["proposals"]}
    assert chosen[texts[0]] is None  # it is retired
    assert all(choice["state"] == "new" for text, choice in chosen.items() if text != texts[0])


def test_an_archive_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = Curriculum("doom")
    archive.add(Tried(str(i), "grab the red key", i % 2 == 0, 50.0) for i in range(4))
    archive.add(Tried(f"b{i}", "press the switch", False, 1.0) for i in range(8))
    archive.save(tmp_path / "tasks.jsonl")
    assert run(["tasks", "show", str(tmp_path / "tasks.jsonl")]) == 0
    told = capsys.readouterr().out
    assert "pick up red key" in told
    assert "12 tries of 2 goals in doom" in told
    done = CliRunner().invoke(app, ["tasks", "show", str(tmp_path / "tasks.jsonl"), "--json"])
    report = json.loads(done.stdout)
    assert [(goal["goal"], goal["state"]) for goal in report["goals"]] == [
        ("pick up red key", "learning"), ("press switch", "retired"),
    ]  # fmt: skip
    assert report["skills"]["pick_up"] == 0.5

    for number, goals in ((1, 0), (2, 2)):  # of a run's folder it shows the newest archive
        folder = tmp_path / "run" / f"generation-{number:03d}"
        folder.mkdir(parents=True)
        (archive if goals else Curriculum("doom")).save(folder / "archive.jsonl")
    picture = tmp_path / "goals.png"
    assert run(["tasks", "show", str(tmp_path / "run"), "--picture", str(picture)]) == 0
    assert "12 tries of 2 goals" in capsys.readouterr().out
    with Image.open(picture) as drawn:
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 20) or []}
    assert {(0x2F, 0x6F, 0xDE), (0xB3, 0x35, 0x2C)} <= colours  # learning and retired
    assert run(["tasks", "show", str(tmp_path)]) == 2
    assert run(["tasks", "show", str(tmp_path / "run"), "--picture", str(tmp_path / "none" / "x.png")]) == 2
    told = capsys.readouterr().err
    assert "agent self-improve" in told
    assert "--picture" in told

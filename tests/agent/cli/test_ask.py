"""`agent ask`: a turn around a Doom room, recorded as an episode and as a plain video, asked with `small`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent import cli
from agent.cli import compose
from agent.recall import eyes
from agent.small import load_small
from envs.action import Action
from envs.doom.world import DoomWorld
from training.data.episodes import EpisodeWriter
from training.data.video import VideoWriter

HZ = 35.0
THING = "red torch"


@pytest.fixture(scope="module")
def turn() -> list[np.ndarray]:
    """Two turns to the left in a room with a red torch: frames, one a tick."""
    task, world = compose.instructed(f"go to the {THING}", "doom", 4), DoomWorld()
    seen, _ = world.reset(seed=4, options=task.options)
    frames = [seen["pixels"].copy()]
    for _ in range(144):
        seen, *_ = world.step(Action(look=(-5.0, 0.0)))
        frames.append(seen["pixels"].copy())
    world.close()
    return frames


@pytest.fixture
def run(turn: list[np.ndarray], tmp_path: Path) -> Path:
    """A run's folder with one episode."""
    from agent.episode import Step

    writer = EpisodeWriter(
        tmp_path / "run" / "episode-1", frame_size=(120, 160), tick_hz=HZ, meta={"instruction": "look around"}
    )
    for tick, frame in enumerate(turn):
        writer.add(
            Step(tick, frame, Action(look=(-5.0, 0.0)), 0.0, "look around", "small", False, None, -1, -1, {}, time=1e9)
        )
    outcome = {"success": None, "why": "", "ticks": len(turn), "seconds": 4.0, "clock": "lockstep", "decisions": 0}
    zeros = dict.fromkeys(("decisions_per_second", "starved", "stale", "chunk_age_mean", "chunk_age_p99"), 0)
    writer.finish({**outcome, **zeros, "latency_p50_ms": 0.0, "latency_p99_ms": 0.0})
    return tmp_path / "run"


def asked(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    assert cli.run(["ask", *arguments, "--json"]) == status
    said = capsys.readouterr()
    return json.loads(said.out) if status == 0 else said.err


def test_a_run_is_asked_and_the_second_question_looks_at_nothing_again(
    turn: list[np.ndarray], run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    described: list[int] = []
    describe = eyes.PolicyEyes.describe
    count = 40  # pictures after which Ctrl+C comes

    def counted(self: eyes.PolicyEyes, frames: Any) -> list[str]:
        described.append(len(frames))
        if sum(described) > count and count:
            raise KeyboardInterrupt
        return describe(self, frames)

    monkeypatch.setattr(eyes.PolicyEyes, "describe", counted)
    monkeypatch.setattr("agent.recall.indexing.COMMIT", 16)
    monkeypatch.setattr("agent.recall.indexing.LOOKS_A_SECOND", 12.0)
    told = asked(capsys, str(run), f"when did you last see the {THING}, and where?", status=130)
    assert "goes on from there" in told
    count, before = 0, sum(described)
    found = asked(capsys, str(run), f"when did you last see the {THING}, and where?")
    looks = -(-len(turn) // 3)
    assert sum(described) - before <= looks - 16, "what was committed before Ctrl+C is kept"
    moment = found["moments"][0]
    assert found["found"]
    assert moment["sure"]
    assert THING in moment["text"]
    assert moment["link"].startswith("file:///")
    assert moment["link"].endswith(f"episode-1/video.mp4#t={moment['seconds']:.2f}")
    picture = np.asarray(Image.open(moment["picture"]))
    assert np.array_equal(picture, turn[moment["tick"]])
    assert load_small().answer([picture], [f"is there a {THING}?"]) == ["yes"]
    before = sum(described)
    deeds = asked(capsys, str(run), "what were you told to do?")
    assert "look around" in deeds["answer"]
    assert sum(described) == before
    assert not asked(capsys, str(run), "did you ever see the yellow skull?")["found"]
    Image.fromarray(turn[60]).save(run / "like.png")
    alike = asked(capsys, str(run), "--picture", str(run / "like.png"))
    assert min(abs(m["tick"] % 72 - 60) for m in alike["moments"][:2]) <= 3, "a turn takes 72 ticks"


def test_a_video_that_nobody_recorded_here_is_asked(
    turn: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = VideoWriter(tmp_path / "film.mp4", (120, 160), HZ, "compact")
    for tick, frame in enumerate(turn[:80]):
        writer.add(frame, tick)
    writer.close()
    found = asked(
        capsys, str(tmp_path / "film.mp4"), f"when did the {THING} first appear?", "--index", str(tmp_path / "i")
    )
    assert found["found"]
    assert found["moments"][0]["link"].endswith(f"film.mp4#t={found['moments'][0]['seconds']:.2f}")
    assert Path(found["moments"][0]["picture"]).is_relative_to(tmp_path / "i")
    assert {path.suffix for path in tmp_path.iterdir()} == {".mp4", ""}, "nothing lies beside the video"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone", "where?"], "gone: there is no such folder or file"),
        (["empty", "where?"], "no episode is in there"),
        (["notes.txt", "where?"], "no video that can be read"),
        (["empty"], "what do you want to know"),
        (["empty", "where?", "--policy", "random"], "no episode is in there"),
        (["empty", "where?", "--picture", "notes.txt"], "one of the two"),
        (["empty", "--picture", "notes.txt"], "--picture notes.txt"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no video")
    assert said in asked(capsys, *arguments, status=2)


def test_a_conversation_knows_what_an_earlier_run_saw(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"when did you last see the {THING}?\nwhat do you see?\n"))
    out = tmp_path / "talk"
    status = cli.run(["chat", "--memory", str(run), "--seed", "7", "--no-page", "--json", "--out", str(out)])
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert status == 0
    answers = [line["text"] for line in said if line.get("who") == "agent"]
    assert any(text.startswith(f"Last seen: the {THING}") and "of episode-1" in text for text in answers)
    assert any("episode-1" not in text for text in answers), "what is in view now is answered from the picture"
    assert json.loads((out / "config.json").read_text())["options"]["memory"] == str(run)

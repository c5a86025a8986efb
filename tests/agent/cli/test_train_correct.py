"""`agent train correct`: the command line, with tiny models that really learn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import cli
from tests.support.tiny_small import tiny_small
from training.rl import sorting
from training.rl.correct import SUMMARY
from training.rl.train import MODEL


@pytest.fixture(scope="module")
def sorter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sorting.tiny_sorter(tmp_path_factory.mktemp("sorter") / "tiny", digits=2, steps=40, width=32, layers=1)


def test_a_text_model_learns_and_a_run_that_is_there_goes_on(
    sorter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "more.yaml"
    config.write_text("digits: 2\n")
    told = ["train", "correct", "--suite", "sorting", "--policy", f"hf:{sorter}", "--config", str(config)]
    told += ["--rounds", "2", "--problems", "8", "--group", "6", "--lr", "0.003", "--json"]
    told += ["--out", str(tmp_path / "run")]
    assert cli.run(told) == 0
    told_of = json.loads(capsys.readouterr().out)
    assert Path(told_of["checkpoint"]) == tmp_path / "run" / MODEL
    summary = (tmp_path / "run" / SUMMARY).read_text()
    assert len(json.loads(summary)["rounds"]) == 2
    weights = (tmp_path / "run" / MODEL / "model.safetensors").read_bytes()
    assert weights != (sorter / "model.safetensors").read_bytes(), "it learned"
    assert cli.run(told) == 0
    assert (tmp_path / "run" / SUMMARY).read_text() == summary, "nothing is done twice"
    other = [*told[: told.index("--rounds")], "--rounds", "3", "--out", str(tmp_path / "run")]
    assert cli.run(other) != 0, "another run's folder"


def test_a_player_attempts_a_game_twice_and_plays_afterwards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tiny_small(tmp_path / "tiny")
    told = ["train", "correct", "--suite", "doom-basic", "--policy", str(small), "--rounds", "1", "--stage-one", "0"]
    told += ["--problems", "1", "--group", "2", "--time-limit", "8", "--out", str(tmp_path / "run")]
    assert cli.run(told) == 0
    said = capsys.readouterr()
    assert "this is an upper bound" in said.out + said.err
    assert "--attempts 2" in said.out + said.err
    (figures,) = json.loads((tmp_path / "run" / SUMMARY).read_text())["rounds"]
    assert figures


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--suite", "sorting", "--policy", "small"], "rows are text"),
        (["--suite", "sorting", "--policy", "tiny", "--rounds", "2", "--stage-one", "3"], "stage_one is 3 of 2 rounds"),
        (["--suite", "doom-basic", "--reward", "judge"], "--trust-reward"),
        (["--suite", "doom-vault"], "held out"),
    ],
)
def test_what_can_not_be_learned_is_said(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["train", "correct", *options, "--out", str(tmp_path / "run")]) != 0
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run" / MODEL).exists()

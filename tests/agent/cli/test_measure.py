"""`agent eval` and `agent train` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.cli import run
from tests.support.thread_workers import THREADS


def test_eval_writes_what_others_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "expert.json"
    args = ["eval", "--suite", "doom-basic", "--policy", "expert", "--episodes", "10", "--seed", "4"]
    assert run([*args, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert {"suite", "policy", "seed", "episodes", "success", "ci", "by_verb"} <= set(report)
    assert report["episodes"] == 10
    assert report["ci"][0] <= report["success"] <= report["ci"][1]
    assert set(report["baselines"]) == {"random"}
    assert "go_to" in capsys.readouterr().out


def test_eval_of_own_tasks(tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    args = ["eval", "--tasks", "examples/tasks.yaml", "--policy", "expert", "--policy-only", "--workers", THREADS]
    assert run([*args, "--json", str(out)]) == 0
    assert json.loads(out.read_text())["success"] >= 0.7


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["eval", "--suite", "doom-basics"], "did you mean 'doom-basic'"),
        (["eval", "--policy", "./nowhere"], "no checkpoint there"),
        (["eval", "--tasks", "nowhere.yaml"], "nowhere.yaml"),
        (["train", "small", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_input_is_one_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(args) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


def test_a_tasks_file_that_is_wrong_is_refused_by_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tasks.yaml"
    file.write_text("tasks:\n  - instruction: go\n    verifier: {name: fly, args: {}}\n")
    assert run(["eval", "--tasks", str(file)]) == 2
    assert "tasks[0].verifier" in capsys.readouterr().err

"""`agent rewards calibrate` and `attack`, on what the expert recorded in the real game."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.cli import app, run
from rewards.reward import VerifiedFootage
from rewards.score import Failure, Score
from tasks.task import Task
from tests.support.thread_workers import THREADS


class Long:
    """Judges by how many frames there are."""

    name = "long"
    sees_truth = False

    def score(self, task: Task, episodes: Sequence[VerifiedFootage]) -> list[Score | Failure]:
        counts = [len(one.decision_frames()) for one in episodes]
        return [Score(min(100.0, 2.0 * count), count > 8, f"{count} frames", self.name) for count in counts]


LONG = f"{__name__}:Long"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("expert")
    where = ["--out", str(folder), "--suite", "doom-basic", "--evaluation", "--workers", THREADS]
    assert run(["record", "--policy", "expert", "--episodes", "6", *where]) == 0
    return folder


def asked(*args: str) -> Any:
    done = CliRunner().invoke(app, ["rewards", *args, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_reward_is_calibrated_and_held_beside_another_one(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "long"
    report = asked("calibrate", "--reward", LONG, "--beside", "judge", "--episodes", str(recorded), "--out", str(out))
    assert report["cases"] == report["false_positive"]["n"] + report["false_negative"]["n"]
    assert set(report["by_kind"]) > {"success", "cut short", "rewound"}
    assert report["beside"]["reward"] == "judge"
    assert report["beside"]["same"]["n"] == report["cases"]
    assert json.loads((out / "figures.json").read_text())["threshold"] == report["threshold"]
    page = (out / "report.html").read_text()
    assert "data:image/" in page
    assert 'src="http' not in page
    assert json.loads((out / "reward.json").read_text())["reward"] == LONG


def test_attacks_are_saved_and_read_again(recorded: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    made = asked("attack", "--reward", LONG, "--episodes", str(recorded), "--save", str(zoo))["attacks"]
    again = asked("attack", "--reward", LONG, "--zoo", str(zoo))["attacks"]
    assert list(made) == list(again)
    assert {"plain", "text", "pasted", "blank", "frozen", "from afar", "pose", "oscillating"} <= set(made)
    assert made["oscillating"]["points"] > 0.0, "a reward that counts frames is fooled by going in and out"
    lines = [json.loads(line) for line in (zoo / "cases.jsonl").read_text().splitlines()]
    assert len(lines) == sum(row["false_positive"]["n"] for row in made.values())
    assert not any(line["success"] for line in lines)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["attack", "--reward", LONG], "name what the attacks are made of"),
        (["attack", "--reward", "truth", "--zoo", "{zoo}"], "no zoo of attacks"),
        (["calibrate", "--reward", "truth", "--episodes", "{recorded}"], "it is the truth"),
        (["calibrate", "--reward", LONG, "--beside", "truth", "--episodes", "{recorded}"], "it is the truth"),
    ],
)
def test_wrong_use_is_told(
    args: list[str], told: str, recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled = [arg.format(recorded=recorded, zoo=tmp_path) for arg in args]
    assert run(["rewards", *filled]) == 2
    assert told in capsys.readouterr().err

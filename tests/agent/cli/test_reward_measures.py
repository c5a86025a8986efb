"""`agent rewards calibrate` and `attack`, on what the expert recorded in the real game."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from agent.cli import app, run
from agent.small.judge_view import view
from envs.errors import UserError
from rewards.reward import VerifiedFootage
from rewards.score import Failure, Score
from tasks.task import Task
from tests.support.thread_workers import THREADS
from training.data.episodes import read_episode
from training.evaluation.reward_attacks import ATTACKS
from training.evaluation.reward_cases import Case, cases_of
from training.evaluation.zoo import SHIPPED, add_to_zoo, load_zoo


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
    found = report["beside"]
    assert found["this"]["agreement"]["same"]["n"] == found["other"]["true_success"]["n"] == report["cases"]
    assert found["this"]["false_positive"] == report["false_positive"], "both score every case"
    assert found["this"]["auroc"] == found["as it is"]["auroc"] == pytest.approx(report["auroc"])
    assert json.loads((out / "figures.json").read_text())["threshold"] == report["threshold"]
    page = (out / "report.html").read_text()
    assert "data:image/" in page
    assert 'src="http' not in page
    assert json.loads((out / "reward.json").read_text())["reward"] == LONG


def test_attacks_are_saved_and_read_again(recorded: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    made = asked("attack", "--reward", LONG, "--episodes", str(recorded), "--save", str(zoo))["attacks"]
    again = asked("attack", "--reward", LONG, "--zoo", str(zoo))["attacks"]
    assert made == again, "a case is as long as it was"
    first = load_zoo(zoo)[0]
    (same,) = [one for one in cases_of(read_episode(recorded / first.episode), []) if one.kind == "success"]
    assert (view(first.frames) == view(same.frames)).all(), "what the judge sees is what it was"
    assert {"plain", "text", "pasted", "blank", "frozen", "from afar", "pose", "oscillating"} <= set(made)
    assert made["oscillating"]["points"] > 0.0, "a reward that counts frames is fooled by going in and out"
    assert made["success"]["points"] is None
    lines = [json.loads(line) for line in (zoo / "cases.jsonl").read_text().splitlines()]
    assert len(lines) == sum(row["unscored"] + shares_of(row)[0]["n"] for row in made.values())
    assert [line["success"] for line in lines] == [line["kind"] == "success" for line in lines]
    assert {name for line in lines for name in line["frames"]} == {path.name for path in zoo.glob("*.webp")}
    asked("attack", "--reward", LONG, "--episodes", str(recorded), "--each", "1", "--save", str(zoo))
    assert len((zoo / "cases.jsonl").read_text().splitlines()) == len(lines), "they are there"


def shares_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    return [row[name] for name in ("false_positive", "false_negative") if name in row]


def test_what_a_player_found_is_kept_where_it_fooled_the_reward(tmp_path: Path) -> None:
    where = ["--suite", "doom-basic", "--evaluation", "--workers", THREADS, "--out", str(tmp_path / "found")]
    assert run(["record", "--policy", "random", "--episodes", "5", *where]) == 0
    zoo = tmp_path / "zoo"
    options = ["--found", str(tmp_path / "found"), "--keep", "2", "--save", str(zoo)]
    (kind,) = (attacks := asked("attack", "--reward", LONG, *options)["attacks"])
    assert kind == f"found: {LONG}"
    assert attacks[kind]["false_positive"]["count"] > 2, "all of them are counted"
    cases = load_zoo(zoo)
    assert [case.kind for case in cases] == [kind] * 2
    longest = sorted((len(case.frames) for case in cases), reverse=True)
    assert min(longest) > 8, "the others did not fool it"


def test_the_zoo_that_ships_is_whole() -> None:
    cases = load_zoo(SHIPPED)
    kinds = Counter(case.kind for case in cases)
    assert {*ATTACKS, "success", "plain"} <= set(kinds)
    assert any(kind.startswith("found: ") for kind in kinds)
    assert all(case.success == (case.kind == "success") for case in cases)
    assert all(count >= 20 for kind, count in kinds.items() if not kind.startswith("found: "))
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 5_000_000
    assert {"found: " in name for name in asked("attack", "--reward", LONG)["attacks"]} == {True, False}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"at": [0, 3]}, "at: expected"),
        ({"decisions": 10**9}, "decisions: expected"),
        ({"frames": ["../1.webp"]}, "the name of a file in the folder"),
        ({"frames": ["2.webp"]}, "2.webp"),
        ({"instruction": None}, "instruction"),
    ],
)
def test_a_damaged_zoo_is_told(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    case = Case(Task("1", "go", "doom"), np.zeros((1, 8, 8, 3), np.uint8), False, "plain", "1")
    add_to_zoo(tmp_path, [case])
    assert len(load_zoo(tmp_path)) == 1
    line = json.loads((tmp_path / "cases.jsonl").read_text())
    kept = {name: value for name, value in (line | change).items() if value is not None}
    (tmp_path / "cases.jsonl").write_text(json.dumps(kept))
    with pytest.raises(UserError, match=told):
        load_zoo(tmp_path)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["attack", "--reward", LONG, "--each", "0"], "expected at least 1"),
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

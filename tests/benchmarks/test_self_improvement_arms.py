"""The benchmark of self-improvement: arms at a tiny size, gone on with and reported; and its false positives."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import self_improvement, setters
from benchmarks.self_improvement import CONFIG, Config, Mistaken
from envs.yaml_files import load_yaml
from rewards.reward import VerifiedFootage
from rewards.score import Failure, Score
from tasks.task import Task
from tests.support.thread_workers import no_processes
from training.improve import levels
from training.improve.generation import Generation

TINY = """\
base: {generations: 1, levels: 2, tries: 2, time_limit: 24, episodes: 1, passes: 1, rehearsal_episodes: 0, least: 1,
  held_out: [doom-vault-steps], old: [doom-basic], hindsight: 1, controls: 1, rounds: 1, practised: 1, group: 2}
arms:
  full: {reward: "benchmarks.self_improvement:Mistaken30"}
  fixed set, ground truth: {setter: "suite:doom-vault-steps", reward: truth, doubt: false, hindsight: 0, least: 9999}
"""


class Strict:
    """Calls everything a failure."""

    name, sees_truth = "strict", False

    def score(self, task: Task, episodes: list[VerifiedFootage]) -> list[Score | Failure]:
        return [Score(0.0, False, "", self.name) for _ in episodes]


class Footage:
    success, why = None, ""

    def __init__(self, value: int) -> None:
        self._frames = np.full((2, 4, 4, 3), value, np.uint8)

    def decision_frames(self) -> np.ndarray:
        return self._frames


def test_false_positives_are_as_frequent_as_they_should_be_and_the_same_for_the_same_frames() -> None:
    reward = Mistaken(0.3, Strict())
    task = Task("t", "open the door", "doom")
    said = reward.score(task, [Footage(value) for value in range(250)])
    share = np.mean([isinstance(one, Score) and one.success for one in said])
    assert 0.2 < share < 0.4
    assert reward.score(task, [Footage(value) for value in range(250)]) == said
    assert reward.score(replace(task, instruction="look up"), [Footage(value) for value in range(250)]) != said


def test_the_arms_are_recipes() -> None:
    config = Config.model_validate(load_yaml(CONFIG))
    recipes = {arm: config.recipe(arm, 1) for arm in config.arms}
    assert len({json.dumps(one.model_dump(mode="json")) for one in recipes.values()}) == len(recipes) >= 12
    folders = {self_improvement.folder(Path(), arm, seed) for arm in recipes for seed in (0, 1)}
    assert len(folders) == 2 * len(recipes)


@pytest.mark.benchmark
def test_arms_run_go_on_and_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out, tasks_of = tmp_path / "arms.yaml", tmp_path / "out", levels.evaluation_tasks
    config.write_text(TINY)
    no_processes(monkeypatch, "training.small.imitation")
    monkeypatch.setattr(
        levels, "evaluation_tasks", lambda *wanted: [replace(one, time_limit=24) for one in tasks_of(*wanted)]
    )

    def call(*options: str) -> str:
        monkeypatch.setattr(
            sys, "argv", ["self_improvement", "--out", str(out), "--config", str(config), "--seeds", "1", *options]
        )
        self_improvement.main()
        return capsys.readouterr().out

    assert json.loads(call("--report", "--json")) == []
    rows = json.loads(call("--workers", "1", "--json"))
    assert [row["arm"] for row in rows] == ["full", "fixed set, ground truth"]
    for row in rows:
        assert (row["seeds"], row["generations"]) == (1, 1)
        assert [rate["n"] for rate in (*row["held_out"], *row["old"])] == [1, 1, 1, 1]
    assert rows[1]["gap"] == 0.0  # ground truth agrees with itself
    promoted = Generation(out / "full-0", 1).file("promote.json")
    written = promoted.stat().st_mtime_ns
    table = call("--workers", "1")
    assert promoted.stat().st_mtime_ns == written  # what is done is not done again
    assert table == call("--report")
    assert table.count("\n") == 4
    assert "| full | 1 | 1 |" in table
    monkeypatch.setattr(sys, "argv", ["setters", *map(str, sorted(out.iterdir()))])
    setters.main()
    assert "| full | 1 | 4 |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call("--arms", "fool")
    assert "there is no arm 'fool'" in capsys.readouterr().err


def test_the_gain_of_several_runs_is_counted_by_task() -> None:
    found = self_improvement.gain([{"a": 1, "b": 0, "c": -1, "d": 1}, {"a": 1, "b": 0, "c": 1, "d": 0}])
    assert found["runs"] == [25.0, 50.0]
    assert found["points"] == 37.5
    assert found["ci"][0] < 0.0 < found["ci"][1]

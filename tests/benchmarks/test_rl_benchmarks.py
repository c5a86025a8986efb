"""The benchmarks of rewards and reinforcement learning, run for real at tiny sizes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import self_correction
from tests.support.sources import ROOT
from tests.support.tiny_small import tiny_small

pytestmark = pytest.mark.benchmark
TINY = ["--seeds", "1", "--rounds", "1", "--tasks", "1", "--group", "2"]


def run(name: str, *options: str) -> str:
    """Run a benchmark as its description says; what it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *options],
        capture_output=True, text=True, timeout=280, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_small(tmp_path_factory.mktemp("start") / "tiny"))


def test_judge_noise(start: str, tmp_path: Path) -> None:
    measured = {"reward": "judge", "false_positive": {"rate": 0.1}, "false_negative": {"rate": 0.2}}
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "reward.json").write_text(json.dumps(measured))
    options = ["--start", start, "--rates", "0.4", *TINY, "--episodes", "1", "--corrected"]
    options += ["--judges", str(tmp_path / "judge"), "--out", str(tmp_path / "out")]
    said = [run("judge_noise", *options).splitlines() for _ in range(2)]  # the second time from what is there
    tables = [[line for line in lines if line.startswith("|")] for lines in said]
    assert tables[0] == tables[1]
    assert len(tables[0]) == 6
    assert not [line for line in said[1] if "round" in line], "nothing is trained again"
    assert (tmp_path / "out" / "map.png").stat().st_size > 1000


def test_clip_scaling(start: str, tmp_path: Path) -> None:
    recipe = {"episodes": {"doom-room": 3}, "steps": 2, "batch": 4, "workers": 1}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    options = ["--start", start, "--sizes", "clip-small-1", "--recipe", str(tmp_path / "recipe.yaml"), "--agents", "1"]
    options += ["--episodes", "8", "--variants", "8 negatives", "--rounds", "1", "--tasks", "1", "--group", "2"]
    said = run("clip_scaling", *options, "--played", "1", "--out", str(tmp_path / "out"))
    assert "| clip-small-1 | 0.39 M |" in said
    assert "| 8 negatives | 0.39 M |" in said
    assert "| ground truth |" in said
    assert (tmp_path / "out" / "scaling.png").stat().st_size > 1000


def test_rl_methods(start: str, tmp_path: Path) -> None:
    options = ["--start", start, "--methods", "awr", "conditioned", *TINY, "--time-limit", "8", "--episodes", "1"]
    said = [run("rl_methods", *options, "--out", str(tmp_path)).splitlines() for _ in range(2)]
    tables = [[line for line in lines if line.startswith("|")] for lines in said]
    assert tables[0] == tables[1]
    assert [line.split(" | ")[0] for line in tables[0][2:]] == [
        "| awr", "| conditioned", "| conditioned, not asked", "| conditioned, asked for worse",
    ]  # fmt: skip
    assert not [line for line in said[1] if "round" in line], "nothing is trained again"


@pytest.mark.parametrize(
    "options", [["--suite", "sorting"], ["--suite", "doom-plans"], ["--suite", "doom-basic", "--verbs", "face"]]
)
def test_self_correction(
    options: list[str], start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "doom-plans" in options:
        options = [*options, "--policy", start, "--arms", "prompt alone", "SCoRe"]
    if "doom-basic" in options:
        options = [*options, "--policy", start, "--time-limit", "8", "--arms", "prompt alone", "SCoRe"]
    monkeypatch.setattr(sys, "argv", ["self_correction.py", *options, "--quick", "--out", str(tmp_path)])
    self_correction.main()
    said = capsys.readouterr().out.splitlines()
    self_correction.main()  # the second time from what is there
    again = capsys.readouterr().out.splitlines()
    tables = [[line for line in lines if line.startswith("| ")] for lines in (said, again)]
    assert tables[0] == tables[1]
    assert [line.split(" | ")[0] for line in tables[0][1:]][-1] == "| SCoRe"
    arms = 2 if "--arms" in options else len(self_correction.UNTRAINED) + len(self_correction.TRAINED)
    assert len(tables[0]) == 1 + arms
    assert [line for line in said if "round 2 of 2" in line]
    assert not [line for line in again if "round" in line and not line.startswith(options[1])], (
        "nothing is trained again"
    )
    (report,) = tmp_path.glob("*/report.json")
    assert json.loads(report.read_text())["arms"]["SCoRe"]["own"]["delta"]["pairs"] == 8


def test_judges(tmp_path: Path) -> None:
    said = run("judges", "--suites", "doom-basic", "--tries", "10", "--rewards", "judge", "--json", str(tmp_path / "f"))
    assert "doom-basic" in said
    found = json.loads((tmp_path / "f").read_text())["doom-basic/all"]["judge"]
    assert found["tries"] == 10
    assert 0 < found["successes"] <= 10

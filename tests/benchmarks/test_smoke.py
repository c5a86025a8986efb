"""Every benchmark runs to its end at a tiny size, as its first lines say to call it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from tests.support.components import needs
from tests.support.sources import ROOT

slow = pytest.mark.benchmark


def run(name: str, *arguments: str) -> str:
    """What a benchmark prints, called in a process of its own."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", *arguments], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("action_language", "--texts 400 --ticks 200", "| a Gymnasium key map, 10 Hz | text | 0.0 % |"),
        pytest.param(
            "browser", "--blocks 1 --size 160x120", "BrowserWorld.step_chunk of 4", marks=[needs("chromium"), slow]
        ),
        pytest.param("clip_speed", "--frames 4 --rounds 1", "reward clip of bare encoder:", marks=slow),
        ("cli_start", "1", "agent --help, 1 runs: median"),
        pytest.param("compression", "--episodes 1", "through H.264  success", marks=slow),
        pytest.param(
            "asked_again", "--episodes 1 --seconds 1 --arms alone memory --out /dev/null",
            "| memory | 1 | 0.0 (0–79) |", marks=slow,
        ),
        pytest.param("desktop", "--blocks 1 --turns 1", "from a turn to another frame", marks=needs("xvfb")),
        pytest.param("env_throughput", "--seconds 0.1 --rounds 1 --sizes 2 --kills 1", "orphans: 0 of", marks=slow),
        pytest.param(
            "errands", "--episodes 1 --minutes 0.05 --arms alone planner critic --out /dev/null",
            "| with planner, memory, ways, critic and judge | 1 |", marks=slow,
        ),
        pytest.param("eyes", "--ticks 12 --episodes 1", "| doom | a planner | 240x180, 240x180, 640x480 |", marks=slow),
        ("episode_io", "--frames 3 --episodes 2", "| compact, durable |"),
        pytest.param(
            "needle", "--steps 1000 --seeds 1 --needles 1 --levels 3 --pictures 99", "| 1000 | 0.0079 |", marks=slow
        ),
        pytest.param("gymnasium_worlds", "--blocks 1 --envs CartPole-v1", "of bare", marks=slow),
        pytest.param("input_safety", "--kills 0 --actions 0 --sequences 40", "at most", marks=slow),
        pytest.param(
            "input_safety", "--kills 1 --actions 20 --sequences 0", "heard by the decoy", marks=[needs("xvfb"), slow]
        ),
        pytest.param("page", "--instructions 1 --seconds 0.5 --stalled 1", "tick, 1 stalled viewers", marks=slow),
        pytest.param("page", "--episodes 1", "| a viewer, 640x480 and sound |", marks=slow),
        pytest.param("planner", "--episodes 1 --rows expert small", "plans an episode", marks=slow),
        pytest.param("planner", "--episodes 1 --rows expert --suite doom-vault", "expert  ", marks=slow),
        pytest.param(
            "poison", "--episodes 1 --seconds 9 --kinds part --arms none verification --out /dev/null",
            "| part | verification | 1 | 100.0 (21–100) |", marks=slow,
        ),
        pytest.param("playroom", "--blocks 1 --things 2", "of bare", marks=needs("mujoco-drawing")),
        pytest.param("realtime", "--episodes 1", "starved, %", marks=slow),
        pytest.param(
            "rl_speed", "--worlds 2 --decisions 8 --rounds 1 --time-limit 16", "collection of bare loop", marks=slow
        ),
        pytest.param("serving", "--decisions 3", "Of the last 3, 3 are the same over the websocket, 3", marks=slow),
        pytest.param("small_speed", "--decisions 3 --episodes 1", "real time: starved, %", marks=slow),
        pytest.param("step_cost", "--steps 40 --worlds 2", "| SubprocVecEnv |", marks=slow),
        pytest.param(
            "thinking", "--episodes 1 --think off auto --ms 0 1000 --out /dev/null",
            "| small | 1000 | auto | 1 | 0.0 (0–79) |", marks=slow,
        ),
        pytest.param(
            "vlm_speed", "packing --episodes 1 --width 64 --layers 1 --rounds 1 --batch 2 --batches 1",
            "| one for each decision |", marks=slow,
        ),
        pytest.param(
            "vlm_speed", "cache --episodes 1 --width 64 --layers 1 --rounds 1 --worlds 2", "| 2 of 2 |", marks=slow
        ),
        pytest.param(
            "soak", "--worlds doom gymnasium:CartPole-v1 --episodes 5 --ticks 8", "| 5 of 5 |", marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_it_runs_to_its_end(name: str, arguments: str, said: str) -> None:
    assert said in run(name, *arguments.split())


def test_every_benchmark_is_run_by_a_test() -> None:
    tests = "\n".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {"rl_arms"}  # what two of them share
    assert [name for name in names if not re.search(rf'"{name}"|benchmarks\.{name}\b|import {name}\b', tests)] == []


# The table of results


def test_a_table_shows_what_is_measured_so_far() -> None:
    measured = json.loads(results.RESULTS.read_text())
    part = results.table({"doom-basic": measured["doom-basic"]})
    assert "| doom-basic |" in part
    assert "instructions confirmed rightly" in part
    assert "judge" not in part


def test_the_shown_table_is_the_one_that_the_measured_results_make() -> None:
    table = results.table(json.loads(results.RESULTS.read_text()))
    for file in results.FILES:
        assert f"<!-- results -->\n{table}\n<!-- /results -->" in file.read_text(), file


def test_a_run_that_was_cut_short_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")
    called: list[str] = []

    def answers(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        called.append(command[command.index("--suite") + 1])
        if len(called) == 3:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, 0, stdout='{"success": 1.0}')

    monkeypatch.setattr(subprocess, "run", answers)
    with pytest.raises(KeyboardInterrupt):
        results.play("small", 8, 0)
    found = results.play("small", 8, 0)
    assert called[0] == "doom-basic"
    assert called[2] == called[3]  # the one that was interrupted is played again, and none of those before it
    assert len(found) == len(called) - 1


def test_a_file_without_the_marks_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "README.md"
    file.write_text("nothing here")
    with pytest.raises(SystemExit, match="expected one pair of results marks, found 0"):
        results.fill(file, "x")
    assert file.read_text() == "nothing here"

"""benchmarks/improvement_kills.py, with a kill, and that it sees what is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import improvement_kills
from training.improve.generation import Generation
from training.improve.recipe import ImproveRecipe

ONE = {**improvement_kills.TINY, "generations": 1, "levels": 2, "rounds": 1}


@pytest.mark.benchmark
def test_a_killed_run_ends_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = tmp_path / "one.yaml", tmp_path / "out"
    config.write_text(json.dumps(ONE))
    options = ["--config", str(config), "--least", "6", "--most", "12", "--out", str(out)]
    with pytest.raises(SystemExit) as end:
        improvement_kills.main(["--kills", "1", *options])
    assert end.value.code == 0
    assert "killed 1 times" in capsys.readouterr().out
    recipe = ImproveRecipe.model_validate({**ONE, "seed": 0})
    assert list(improvement_kills.problems(recipe, out / "0")) == []

    score = Generation(out / "0", 1).file("score.json")
    said = json.loads(score.read_text())
    said["scores"].pop(next(iter(said["scores"])))
    score.write_text(json.dumps(said))
    shutil.rmtree(next(path for path in (out / "0" / "generation-001" / "episodes").iterdir() if path.is_dir()))
    (out / "0" / "left.part").touch()
    found = "\n".join(improvement_kills.problems(recipe, out / "0"))
    assert "scores are not those" in found
    assert "left.part was left" in found
    assert found.count("\n") >= 2

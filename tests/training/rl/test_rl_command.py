"""`agent train rl`: what it refuses, what it takes from a file, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import cli
from agent.small import load_small
from training.rl.train import MODEL

UP, ALWAYS = (f"tests.support.lamp_rewards:{name}" for name in ("Up", "Always"))


def test_the_verb(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "more.yaml").write_text("batch: 8\nthink: 'off'\nepochs: 1\n")
    sizes = ["--iterations", "1", "--tasks", "2", "--group", "2", "--time-limit", "4", "--suite", "lamp-basic"]
    files = ["--config", str(tmp_path / "more.yaml"), "--policy", str(tiny), "--out", str(tmp_path / "run")]

    def rl(*arguments: str) -> tuple[int, str]:
        code = cli.run(["train", "rl", *sizes, *files, *arguments])
        printed = capsys.readouterr()
        return code, " ".join((printed.out + printed.err).split())

    code, said = rl("--reward", UP)
    assert code != 0
    assert "nobody measured how wrong it is" in said
    code, said = rl("--reward", UP, "--trust-reward", "--suite", "doom-vault")
    assert code != 0
    assert "held out" in said
    code, said = rl("--reward", "agree:truth+truth", "--trust-reward")
    assert code != 0
    assert "sees ground truth" in said
    (tmp_path / "list.yaml").write_text("- 1\n")
    code, said = rl("--reward", UP, "--trust-reward", "--config", str(tmp_path / "list.yaml"))
    assert code != 0
    assert "expected fields of a recipe" in said
    assert not (tmp_path / "run").exists()
    code, said = rl("--reward", "truth")
    assert code == 0, said
    assert "this is an upper bound" in said
    assert load_small(tmp_path / "run" / MODEL)
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["batch"] == 8
    alarmed = ("--reward", ALWAYS, "--trust-reward", "--out", str(tmp_path / "alarmed"))
    (tmp_path / "more.yaml").write_text("batch: 8\nthink: 'off'\nepochs: 1\nlimits: {patience: 1, kl: 99.0}\n")
    code, said = rl(*alarmed)
    assert code != 0
    assert "it calls everything one" in said
    assert "--ignore-alarms goes on all the same" in said
    code, said = rl(*alarmed, "--ignore-alarms")
    assert code == 0, said


def test_a_file_may_hold_the_whole_recipe(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "whole.yaml", tmp_path / "run"
    file.write_text("suite: lamp-basic\niterations: 1\ntasks: 2\ngroup: 2\ntime_limit: 4\nthink: 'off'\nseed: 5\n")
    command = ["train", "rl", "--config", str(file), "--policy", str(tiny), "--out", str(out)]
    assert cli.run(command) != 0
    assert "say --reward NAME" in " ".join(capsys.readouterr().err.split())
    assert cli.run([*command, "--reward", "truth", "--seed", "6"]) == 0
    recipe = json.loads((out / "recipe.json").read_text())
    assert (recipe["suite"], recipe["reward"], recipe["seed"], recipe["upper_bound"]) == (
        "lamp-basic",
        "truth",
        6,
        True,
    )

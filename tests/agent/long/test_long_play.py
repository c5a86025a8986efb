"""`agent play --long`: a chat model plans with a desk beside it, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent import cli
from tests.support.model_server import says, serving


def test_a_long_planner_plays_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = {"parts": ["go on"], "steps": ["go on"], "asks": [], "done": False, "say": "", "memory": ""}
    with serving(says("act: hold KeyW")) as player, serving(says(json.dumps(plan))) as planner:
        models = ["--policy", f"openai:toy@{player.url}", "--planner", f"openai:toy@{planner.url}", "--long"]
        how = ["--no-page", "--out", "run", "--seed", "1", "--time-limit", "2", "--planner-every", "0.5"]
        assert cli.run(["play", "go to the torch", *how, *models]) == 0
        asked = [json.dumps(body) for body in planner.asked]
    assert json.loads(Path("run/config.json").read_text())["options"]["long"] is True
    assert "plan: go on" in capsys.readouterr().out
    assert len(asked) > 1
    assert "primary: go to the torch; secondary: go on; tertiary: go on" in asked[-1]
    assert "Map: cell" in asked[-1]

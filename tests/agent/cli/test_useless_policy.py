"""A policy that can use nothing of a world is told so before it plays, whatever it was to play for."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import cli

WORLD = "tests.support.worlds:ArrowsWorld"
TASKS = """
tasks:
- instruction: go right
  world: "tests.support.worlds:ArrowsWorld"
  verifier: {name: "tasks.verifier:ReturnAtLeast", args: {at_least: 5}}
  time_limit: 20
"""


@pytest.mark.parametrize(
    "command",
    [
        ["play", "go right", "--no-page"],
        ["record", "go right", "--episodes", "1", "--out", "recorded"],
        ["eval", "--tasks", "tasks.yaml", "--episodes", "1", "--policy-only", "--workers", "1"],
    ],
)
def test_it_is_told_so_in_a_line_that_names_both(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tasks.yaml").write_text(TASKS)
    assert cli.run([*command, "--env", WORLD, "--policy", "small"]) == 2
    err = capsys.readouterr().err
    assert "policy SmallPolicy speaks doom4.1 (KeyW KeyA KeyS KeyD KeyE, the left button, look)" in err
    assert f"and world {WORLD!r} listens to ArrowLeft, ArrowRight: it could do nothing there" in err
    assert not list(Path().rglob("episode.json"))

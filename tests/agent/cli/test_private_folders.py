"""What a run writes belongs to its owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agent import cli
from agent.cli.compose import private_folder, run_folder

SELF = "tests.agent.cli.test_cli"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("umask", [0o022, 0o000, 0o077])
def test_the_folder_of_a_run_is_private(umask: int) -> None:
    before = os.umask(umask)
    try:
        args = ["play", "go", "--env", f"{SELF}:Meadow", "--policy", f"{SELF}:Walker", "--no-page"]
        assert cli.run([*args, "--time-limit", "0.3"]) == 0
        (folder,) = Path("runs").iterdir()
        assert (mode(Path("runs")), mode(folder)) == (0o700, 0o700)
    finally:
        os.umask(before)


def test_an_empty_folder_that_is_named_becomes_private_and_those_above_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared" / "mine").mkdir(mode=0o755)
    run_folder(tmp_path / "shared" / "mine", "x")
    assert (mode(tmp_path / "shared"), mode(tmp_path / "shared" / "mine")) == (0o755, 0o700)
    private_folder(tmp_path / "a" / "b" / "c")
    assert {mode(path) for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c")} == {0o700}

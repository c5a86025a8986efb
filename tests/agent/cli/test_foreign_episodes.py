"""An episode may come from anybody: it chooses no code and starts no program."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agent import cli
from envs import plugins
from tasks.task import Task
from tests.agent.cli.test_cli import Meadow, Walker
from training.data.durable_files import seal, unseal

SELF = "tests.agent.cli.test_foreign_episodes"
MARK = "touched-by-the-episode"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "trap.py").write_text(f"import pathlib; pathlib.Path({MARK!r}).touch()\nclass World: pass\n")
    sys.modules.pop("trap", None)


class Field(Meadow):
    """A deterministic world that nobody has registered."""

    deterministic = True


def played(world: str = f"{SELF}:Field") -> Path:
    """An episode that was really played, and afterwards says that it was played in `world`."""
    args = ["play", "go", "--env", f"{SELF}:Field", "--policy", f"{SELF}:Walker", "--no-page", "--time-limit", "0.4"]
    assert cli.run([*args, "--out", "run", "--json"]) == 0
    folder = next(Path("run").glob("episode-*"))
    meta = unseal((folder / "episode.json").read_bytes())
    meta["task"]["world"] = world
    (folder / "episode.json").write_bytes(seal(meta))
    return folder


__all__ = ["Field", "Walker"]


@pytest.mark.parametrize(
    "world",
    [
        "trap:World",
        "os:abort",
        "gymnasium:trap:Any-v0",
        "gymnasium:world.yaml",
        f"desktop:touch {MARK}",
        "browser:.",
        "browser:http://127.0.0.1:9/",
        "minedojo:open-ended",
    ],
)
@pytest.mark.parametrize("how", [["--verify"], ["--video", "x.mp4", "--resolution", "64x48"]])
def test_an_episode_chooses_no_code(world: str, how: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = played(world)
    capsys.readouterr()
    status = cli.run(["replay", str(folder), *how])
    said = capsys.readouterr()
    if "--verify" in how:
        assert status == 2
        assert f"--env {world}" in " ".join(said.err.split())
    else:
        assert status == 0
        assert "It shows the recorded frames" in said.out
    assert not Path(MARK).exists()
    assert "trap" not in sys.modules


def test_the_world_that_a_person_names_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    folder = played()
    capsys.readouterr()
    assert cli.run(["replay", str(folder), "--verify", "--env", f"{SELF}:Field", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["verify"]["same"]


def test_what_was_just_played_is_drawn_anew() -> None:
    played()
    config = json.loads(Path("run/config.json").read_text())
    assert "video" not in config
    assert Path("run/video.mp4").exists()


@pytest.mark.parametrize("kind", list(plugins.GROUPS))
@pytest.mark.parametrize("name", ["trap:World", "os:abort", "desktop:rm", "openai:m@http://127.0.0.1:9/v1", "hf:x"])
def test_no_file_names_a_part_of_any_kind_by_reference(kind: plugins.Kind, name: str) -> None:
    with pytest.raises(plugins.ForeignNameError, match="a file may name only a registered"):
        plugins.load(kind, name, references=False)
    assert "trap" not in sys.modules


def test_a_task_of_a_file_may_be_asked_to_name_no_verifier_by_reference() -> None:
    from tasks import world_tasks
    from tasks.task import VerifierSpec

    step = {"name": "trap:World", "args": {}}
    for spec in (VerifierSpec("trap:World"), VerifierSpec("sequence", {"steps": [step]})):
        with pytest.raises(ValueError, match="unknown verifier"):
            world_tasks.verifier_of(Task("a", "go", "doom", verifier=spec), references=False)
    assert "trap" not in sys.modules

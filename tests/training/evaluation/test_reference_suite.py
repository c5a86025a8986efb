"""Reference suites: what is frozen is what is here, and what differs is refused or labelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.cli import run
from envs.doom.world import DoomWorld
from envs.errors import UserError
from tests.support.thread_workers import THREADS
from training.evaluation.reference_suite import ReferenceSuite, differences, frozen, load_reference, names, write_frozen

MINE = {
    "name": "mine", "about": "two tasks", "world": "doom", "versions": {"vizdoom": ""},
    "files": {"vizdoom/freedoom2.wad": ""},
    "parts": [{"suite": "doom-basic", "seed": 3, "count": 2}, {"suite": "doom-room", "seed": 3, "count": 1}],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_the_frozen_suite_is_what_this_version_plays(name: str) -> None:
    suite = load_reference(name)
    assert len({part.tasks for part in suite.parts}) == len(suite.parts)
    world = DoomWorld()
    try:
        assert [str(one) for one in differences(suite, world)] == []
    finally:
        world.close()


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite of three tasks, frozen here."""
    path = tmp_path_factory.mktemp("suites") / "mine.yaml"
    path.write_text("# my suite\n" + yaml.safe_dump(MINE))
    world = DoomWorld()
    try:
        write_frozen(path, frozen(load_reference(str(path)), world))
    finally:
        world.close()
    return path


def evaluated(path: Path, *args: str) -> dict[str, Any]:
    out = path.parent / "result.json"
    assert (
        run(["eval", "--bench", str(path), "--policy", "random", "--workers", THREADS, "--json", str(out), *args]) == 0
    )
    report: dict[str, Any] = json.loads(out.read_text())
    return report


def test_a_result_has_all_that_repeats_it(mine: Path) -> None:
    report = evaluated(mine)
    assert mine.read_text().startswith("# my suite\n")
    assert (report["official"], report["differences"]) == (True, [])
    assert report["sha256"] == load_reference(str(mine)).sha256
    assert {name: part["episodes"] for name, part in report["parts"].items()} == {"doom-basic": 2, "doom-room": 1}
    assert report["total"]["episodes"] == 3
    assert report["versions"]["vizdoom"]
    assert report["command"] == f"agent eval --bench {mine} --policy random --workers {THREADS}"
    assert evaluated(mine)["played"] == report["played"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"versions": {"vizdoom": "0.0.1"}}, "version of vizdoom: expected 0.0.1, found"),
        ({"files": {"vizdoom/nothing.wad": "abc"}}, "file vizdoom/nothing.wad: expected abc, found none"),
        ({"parts": [{**MINE["parts"][0], "tasks": "abc", "probe": "def"}]}, "tasks of doom-basic: expected abc, found"),  # type: ignore[index]
    ],
)
def test_what_differs_is_refused_or_labelled(
    change: dict[str, Any], what: str, mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump({**yaml.safe_load(mine.read_text()), **change}))
    assert run(["eval", "--bench", str(changed), "--policy", "random", "--workers", THREADS]) == 2
    said = capsys.readouterr().err
    assert what in said
    assert "--allow-differences" in said
    report = evaluated(changed, "--allow-differences")
    assert report["official"] is False
    assert any(what in one for one in report["differences"])
    assert "no official result" in capsys.readouterr().out


def test_the_hash_is_of_what_is_frozen_alone(mine: Path) -> None:
    suite = load_reference(str(mine))
    again = ReferenceSuite.model_validate(json.loads(json.dumps(suite.model_dump(mode="json"))))
    assert again.sha256 == suite.sha256
    assert suite.model_copy(update={"versions": {"vizdoom": "9"}}).sha256 != suite.sha256


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--bench", "ludens-bench-0"], "expected one of ludens-bench-1"),
        (["--bench", "ludens-bench-1", "--suite", "doom-room"], "has frozen its tasks"),
        (["--allow-differences"], "belongs to --bench"),
    ],
)
def test_mistakes_are_told_in_a_line(args: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", *args]) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_is_no_suite_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({**MINE, "parts": []}))
    with pytest.raises(UserError, match=r"x\.yaml: parts"):
        load_reference(str(path))

"""The leaderboard page says what the result files say, and takes no result of another suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import leaderboard


def test_the_page_is_true() -> None:
    assert leaderboard.PAGE.read_text() == leaderboard.page(), "run: make docs"


def test_the_results_are_in_order_and_of_the_shipped_policies() -> None:
    found = leaderboard.results("ludens-bench-1")
    assert [one["policy"] for one in found if one["policy"] in ("expert", "small", "random")] == [
        "expert",
        "small",
        "random",
    ]
    for one in found:
        assert one["total"]["episodes"] == sum(part["episodes"] for part in one["parts"].values())


def test_a_result_of_another_freeze_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = json.loads((leaderboard.RESULTS / "ludens-bench-1" / "small.json").read_text())
    (tmp_path / "ludens-bench-1").mkdir()
    (tmp_path / "ludens-bench-1" / "small.json").write_text(json.dumps({**one, "sha256": "0" * 64}))
    monkeypatch.setattr(leaderboard, "RESULTS", tmp_path)
    with pytest.raises(ValueError, match="which is not this suite"):
        leaderboard.results("ludens-bench-1")


def test_an_unofficial_result_stands_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = json.loads((leaderboard.RESULTS / "ludens-bench-1" / "small.json").read_text())
    (tmp_path / "ludens-bench-1").mkdir()
    other = {**one, "policy": "other", "official": False, "differences": ["version of vizdoom: expected a, found b"]}
    (tmp_path / "ludens-bench-1" / "other.json").write_text(json.dumps(other))
    monkeypatch.setattr(leaderboard, "RESULTS", tmp_path)
    monkeypatch.setattr(leaderboard, "ROOT", tmp_path)
    page = leaderboard.page()
    assert page.index("Unofficial") < page.index("| [other]")
    assert "- other: version of vizdoom: expected a, found b" in page


def test_a_frozen_suite_is_not_frozen_again() -> None:
    with pytest.raises(SystemExit, match="is frozen"):
        leaderboard.freeze("ludens-bench-1")

"""The benchmark of errands: it goes on where it was stopped, and finds claims that are not true."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import errands
from envs.doom.level import Level
from tasks.doom.errands import ErrandVerifier
from tasks.doom.planning import start_state, without
from tasks.doom.suites import SUITES
from training.data.episodes import read_episode

LINE = "| the expert, which sees ground truth | 1 | 0 (0–79) |"


def test_it_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "errands.jsonl"
    few = ["--episodes", "1", "--minutes", "0.05", "--arms", "expert", "--out", str(out), "--record", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["errands", *few])
    errands.main()
    assert LINE in capsys.readouterr().out
    assert read_episode(tmp_path / "doom-errands-0-0-expert").meta["ticks"] == 105
    written = out.read_text()
    errands.main()
    assert LINE in capsys.readouterr().out
    assert out.read_text() == written


def test_claims_are_held_against_ground_truth() -> None:
    task = SUITES["doom-errands"].task(0, 0)
    start = start_state(Level.from_json(task.options["level"]))
    (key,) = [
        s["args"]["targets"][0]
        for s in task.verifier.args["steps"][:1]
        if s["name"] == "pick_up"  # type: ignore[union-attr]
    ]
    text = f"pick up the {start.level.things[key].colour} key"
    for taken in (True, False):
        audit = errands.Audit(ErrandVerifier(task.verifier.args["steps"]))  # type: ignore[union-attr]
        audit.text = text
        audit.judge(start)
        audit.judge(replace(without(start, [key]) if taken else start, tick=40, x=start.x + 200.0))
        assert audit.false([(48, text)]) == (not taken)
        assert audit.false([(48, "shoot the imp")]) == 1, "nobody was told to"


def test_repetition_is_being_where_one_was_often_before() -> None:
    task = SUITES["doom-errands"].task(0, 0)
    start = start_state(Level.from_json(task.options["level"]))
    audit = errands.Audit(ErrandVerifier(task.verifier.args["steps"]))  # type: ignore[union-attr]
    for tick in range(20):  # to and fro
        audit.judge(replace(start, tick=tick, angle=180.0 * (tick % 2)))
    assert audit.repetition == pytest.approx(14 / 20)

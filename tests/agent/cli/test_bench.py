"""`agent bench`: every figure is measured, and stands beside those that docs/benchmarks.md has."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from agent.cli import run
from agent.cli.bench import markdown
from tests.support.sources import ROOT
from training.evaluation.machine import Figure, reference


@pytest.mark.slow
def test_all_figures_are_measured_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "--seconds", "2", "--json", str(tmp_path / "machine.json")]) == 0
    report = json.loads((tmp_path / "machine.json").read_text())
    figures = {one["name"]: one for one in report["figures"]}
    assert set(reference()["figures"]) <= set(figures)
    assert all(math.isfinite(one["value"]) and one["value"] >= 0 for one in figures.values())
    assert figures["doom, a tick a step"]["value"] > 35
    assert figures["doom, 4 ticks a step"]["value"] > 35
    assert 5 < figures["real time"]["value"] < 40
    assert 200 < figures["memory of small and its game"]["value"] < 5000
    assert figures["small, p50 of a decision"]["value"] <= figures["small, p99 of a decision"]["value"]
    assert report["machine"]["cores"] >= 1
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(figures)
    assert len({line.count("|") for line in table}) == 1


def test_the_figures_beside_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for name, value in reference()["figures"].items():
        assert f"{value:,}" in page, name
    assert Figure("x", 1.0, "ms").there is None


def test_a_table_names_the_machine() -> None:
    about = {"cpu": "Abacus", "cores": 2, "memory_gib": 4.0, "system": "Linux", "load": 0.1}
    text = markdown(
        about, {"ludens": "1.0"}, [Figure("speed", 1234.4, "steps/s", 8.123), Figure("b", 12.34, "ms")], "it"
    )
    assert text.splitlines()[0].startswith("Abacus, 2 cores, 4.0 GiB")
    assert text.splitlines()[1] == "ludens 1.0"
    assert [cell.strip() for cell in text.splitlines()[-2].split("|")] == ["", "speed", "1,234", "8.12", "steps/s", ""]
    assert [cell.strip() for cell in text.splitlines()[-1].split("|")] == ["", "b", "12.3", "", "ms", ""]

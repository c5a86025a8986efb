"""The notebook runs from top to bottom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.sources import ROOT


def shown(cell: Any) -> str:
    """What a cell printed."""
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / "first_run.ipynb", as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "it is kept without outputs"
    NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}}).execute()
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    pictures = [output for cell in codes for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    printed = [shown(cell) for cell in codes]
    assert printed[2].count("done after") == 4
    assert printed[3].count(" of 100, ") == 4
    won = int(printed[4].split(" of 6")[0])
    assert won >= 3
    assert "expert" in printed[5]
    assert len(list((tmp_path / "runs" / "first").iterdir())) == 4

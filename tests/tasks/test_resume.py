"""Jobs that leave a row in a file each: what is there is not done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.json_lines import read, resume


def test_a_run_that_was_stopped_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    done: list[int] = []
    told: list[dict[str, Any]] = []

    def job(number: int) -> dict[str, Any]:
        done.append(number)
        if number == 2 and done.count(2) == 1:
            raise KeyboardInterrupt
        return {"arm": "one", "task": number, "won": [number]}

    def jobs() -> list[Any]:
        return [({"arm": "one", "task": number}, lambda number=number: job(number)) for number in range(4)]

    with pytest.raises(KeyboardInterrupt):
        resume(tmp_path / "rows.jsonl", jobs(), told.append)
    rows = resume(tmp_path / "rows.jsonl", jobs(), told.append)
    assert done == [0, 1, 2, 2, 3]
    assert [row["task"] for row in told] == [0, 1, 2, 3]
    assert rows == told == read(tmp_path / "rows.jsonl")

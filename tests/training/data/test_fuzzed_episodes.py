"""Episodes with anything in them, sealed again: whoever reads one gets it, or a typed error, and nothing is stopped.

`LUDENS_FUZZ=300 pytest tests/training/data/test_fuzzed_episodes.py` makes as many; the test makes a few of each kind.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent import cli
from agent.cli.film import film
from envs.errors import UserError
from tests.training.data.test_damaged_episodes import read_all, reseal, write
from training.data.dataset import EpisodeDataset
from training.data.durable_files import seal
from training.data.episode_schema import EXTRAS, META, STEPS, VIDEO
from training.data.episodes import EpisodeError, read_episode
from training.data.examples import Examples
from training.data.footage import RecordedFootage
from training.data.repair import repair

COUNT = int(os.environ.get("LUDENS_FUZZ", "40"))
NESTED: Any = []
for _ in range(200):
    NESTED = [NESTED]
VALUES = [
    None, True, -1, 0, 3, 10**15, 10**400, 2**63, 1.5, 1e300, -1e-300, math.nan, -math.inf, "", "text", "../x",
    "\ud83d", "KeyW", "\x00", [], [1], [24, 32], [[["KeyW"]]], {}, {"a": None}, {"name": "face", "args": {}}, NESTED,
]  # fmt: skip


def consumers(path: Path, scratch: Path) -> list[Callable[[], object]]:
    """Everybody who reads an episode."""

    def footage() -> object:
        return RecordedFootage(read_episode(path)).decision_frames()

    def examples() -> object:
        made = Examples([path], history=2)
        return [made[index] for index in made.order(0)]

    def dataset() -> object:
        made = EpisodeDataset(path)
        return [made[index] for index in range(len(made))]

    def filmed() -> object:
        return film(scratch / "film.mp4", [read_episode(path)], resolution=None)

    def replayed() -> object:
        status = cli.run(["replay", str(path), "--json"])
        assert status in (0, 2)
        return cli.run(["replay", str(path)]) == status

    return [lambda: read_all(path), footage, replayed, filmed, examples, dataset]


def outcome(path: Path, scratch: Path) -> str:
    """How an episode is read by everybody: "read", or "refused" by some. Any other error is raised."""
    refused = False
    for consume in consumers(path, scratch):
        if not path.exists():  # set aside
            return "refused"
        try:
            consume()
        except (EpisodeError, UserError):
            refused = True
    return "refused" if refused else "read"


def mutate_meta(rng: np.random.Generator, path: Path) -> None:
    meta = json.loads((path / META).read_bytes())
    places: list[tuple[Any, Any]] = [(meta, key) for key in meta if key != "sha256"]
    places += [(part, key) for part in meta.values() if isinstance(part, dict) for key in part]
    for _ in range(int(rng.integers(1, 3))):
        holder, key = places[int(rng.integers(len(places)))]
        if rng.random() < 0.2:
            holder.pop(key, None)
        else:
            holder[key] = VALUES[int(rng.integers(len(VALUES)))]
    meta.pop("sha256")
    (path / META).write_bytes(seal(meta))


def mutate_steps(rng: np.random.Generator, path: Path) -> None:
    table = pq.read_table(path / STEPS)
    at = int(rng.integers(len(table.column_names)))
    field, row = table.schema.field(at), int(rng.integers(len(table)))
    rows = table[at].to_pylist()
    rows[row] = VALUES[int(rng.integers(len(VALUES)))]
    try:
        table = table.set_column(at, field.name, pa.array(rows, field.type))
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        table = table.set_column(at, field.name, pa.array(["?"] * len(table)))
    pq.write_table(table, path / STEPS)
    reseal(path)


def mutate_bytes(rng: np.random.Generator, path: Path) -> None:
    """Bytes of a file: changed, taken out, doubled, cut."""
    file = path / (STEPS, VIDEO, EXTRAS)[int(rng.integers(3))]
    data = bytearray(file.read_bytes())
    for _ in range(int(rng.integers(1, 5))):
        at, size = int(rng.integers(len(data))), int(rng.integers(1, 16))
        match int(rng.integers(4)):
            case 0:
                data[at] = int(rng.integers(256))
            case 1:
                data[at : at + size] = rng.bytes(size)
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
        data = data or bytearray(b"\x00")
    if rng.random() < 0.2:
        data = data[: int(rng.integers(len(data)))]
    file.write_bytes(data)
    reseal(path)


@pytest.mark.slow
@pytest.mark.timeout(60 + 4 * COUNT)
@pytest.mark.parametrize("mutate", [mutate_meta, mutate_steps, mutate_bytes])
def test_a_mutated_episode_is_read_or_refused(
    tmp_path: Path, mutate: Callable[[np.random.Generator, Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(7)
    whole = write(tmp_path / "whole")
    files = {file.name: file.read_bytes() for file in whole.iterdir()}
    counts: Counter[str] = Counter()
    for number in range(COUNT):
        path = tmp_path / f"{number}" / "episode"
        path.mkdir(parents=True)
        for name, data in files.items():
            (path / name).write_bytes(data)
        mutate(rng, path)
        counts[outcome(path, tmp_path)] += 1
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
    with capsys.disabled():
        if "LUDENS_FUZZ" in os.environ:
            print(f"\n{mutate.__name__}: {COUNT} episodes, {dict(counts)}, nothing else")
    assert counts["refused"] > COUNT // 5


@pytest.mark.timeout(120)
def test_a_mutated_journal_is_mended_or_set_aside(tmp_path: Path) -> None:
    """What a killed writer left, which may come from anybody too."""
    rng, counts = np.random.default_rng(8), Counter[str]()
    whole = write(tmp_path / "whole")
    meta = json.loads((whole / META).read_bytes())
    begun = {
        key: meta[key] for key in meta if key not in ("sha256", "ticks", "frames", "decisions", "checksums", "outcome")
    }
    table = pq.read_table(whole / STEPS)
    for number in range(max(10, COUNT // 2)):
        root = tmp_path / str(number)
        folder = root / ".tmp-episode-12345678"
        folder.mkdir(parents=True)
        (folder / VIDEO).write_bytes((whole / VIDEO).read_bytes())
        changed = dict(begun)
        if number % 2:
            key = list(changed)[int(rng.integers(len(changed)))]
            changed[key] = VALUES[int(rng.integers(len(VALUES)))]
        (folder / "start.json").write_bytes(seal(changed))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        data = bytearray(sink.getvalue())
        for at in rng.integers(len(data), size=0 if number % 2 else 3).tolist():
            data[at] = int(rng.integers(256))
        (folder / "steps.arrow").write_bytes(data)
        saved, lost = repair(root)
        assert len(saved) + len(lost) == 1
        counts["saved" if saved else "lost"] += 1
        for path in saved:
            with_errors = hashlib.sha256((path / STEPS).read_bytes()).hexdigest()
            assert read_episode(path).meta["checksums"][STEPS] == with_errors
    assert counts["saved"]
    assert counts["lost"]

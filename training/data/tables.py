"""What an episode is made of, as the bytes of its files."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.data.episode_schema import SCHEMA


def steps_table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Rows of steps as a table with the columns of SCHEMA."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in SCHEMA)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def parquet(table: pa.Table) -> memoryview:
    """`table` as the bytes of a parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    return memoryview(sink.getvalue())


def npz(notes: Sequence[tuple[int, Mapping[str, Any]]]) -> bytes:
    """The annotations as arrays (N, ...), and `tick` (N,): when each was made."""
    names = set(notes[0][1])
    if any(set(note) != names for _, note in notes) or "tick" in names:
        raise ValueError(f"every annotation needs the same names, none of them 'tick': {sorted(names)}")
    arrays = {name: np.stack([np.asarray(note[name]) for _, note in notes]) for name in names}
    sink = io.BytesIO()
    np.savez_compressed(sink, allow_pickle=False, tick=np.array([tick for tick, _ in notes], np.int32), **arrays)
    return sink.getvalue()

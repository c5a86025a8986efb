"""Who was shown what: the file `looks.parquet` of an episode.

A row for each decision that was played, and for each time that a planner, a voice or captions were asked. It names the
frames of the video by index and the sizes at which they were shown, so that what a model saw can be looked at again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from agent.episode import Look
from agent.view import Size

LOOKS = "looks.parquet"
MOST_BYTES = 1 << 28  # unpacked

SCHEMA = pa.schema(
    [
        ("who", pa.string()),  # player, planner, voice, captions
        ("tick", pa.int32()),  # at which it was asked
        ("decision", pa.int32()),  # the player's, as steps.parquet counts them; else -1
        ("frames", pa.list_(pa.int32())),  # of the video, by index, oldest first
        ("heights", pa.list_(pa.int32())),  # pixels, as they were shown
        ("widths", pa.list_(pa.int32())),
        ("bytes", pa.int64()),  # of the request; null where none was sent
        ("tokens", pa.int64()),  # that the model read; null where nobody counted
    ]
)


@dataclass(frozen=True)
class Shown:
    """What a model was shown: a row of the file. `sizes`: (height, width) of each frame, in pixels."""

    who: str
    tick: int
    decision: int
    frames: tuple[int, ...]
    sizes: tuple[Size, ...]
    bytes: int | None = None
    tokens: int | None = None


def looks_table(looks: Sequence[Look], drawn: Sequence[int]) -> pa.Table:
    """The looks as a table. `drawn`: for each tick, and for the one after the last, the index of the frame that was
    drawn then; -1 where none was."""
    frame_of = np.maximum(np.maximum.accumulate(np.array(drawn, np.int32)), 0)
    last = len(frame_of) - 1
    rows = [
        {
            "who": look.who,
            "tick": min(look.tick, last),
            "decision": look.decision,
            "frames": [int(frame_of[min(tick, last)]) for tick in look.frames],
            "heights": [height for height, _ in look.sizes],
            "widths": [width for _, width in look.sizes],
            "bytes": look.sent.bytes or None if look.sent else None,
            "tokens": look.sent.tokens if look.sent else None,
        }
        for look in looks
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def read_looks(data: bytes, ticks: int, frames: int) -> tuple[Shown, ...]:
    """What the file says of an episode with so many `ticks` and `frames`. Raises ValueError where it is wrong."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if not 0 <= size <= MOST_BYTES:
            raise ValueError(f"{size} bytes, at most {MOST_BYTES}")
        table = file.read().select(SCHEMA.names).cast(SCHEMA)
        table.validate(full=True)
        rows = table.to_pylist()
    except Exception as error:  # a decoder of bytes from elsewhere raises anything, MemoryError for one
        raise ValueError(f"can't be read as parquet: {error}") from error
    return tuple(_shown(row, ticks, frames) for row in rows)


def _shown(row: dict[str, object], ticks: int, frames: int) -> Shown:
    who, tick, decision, indices, heights, widths, sent, tokens = (row[name] for name in SCHEMA.names)
    lists = [values for values in (indices, heights, widths) if isinstance(values, list) and None not in values]
    if not isinstance(who, str) or not isinstance(tick, int) or not isinstance(decision, int) or len(lists) < 3:
        raise ValueError("a row lacks who was shown what, and when")
    indices, heights, widths = lists
    if not (0 <= tick <= ticks and -1 <= decision < max(1, ticks)):
        raise ValueError(f"tick {tick} and decision {decision} of an episode of {ticks} ticks")
    if not (all(0 <= index < frames for index in indices) and all(side > 0 for side in (*heights, *widths))):
        raise ValueError(f"frames {indices} of {frames}, at {heights} x {widths} pixels")
    if not len(indices) == len(heights) == len(widths):
        raise ValueError(f"{len(indices)} frames, {len(heights)} heights and {len(widths)} widths")
    sizes = tuple(zip(heights, widths, strict=True))
    return Shown(who, tick, decision, tuple(indices), sizes, _count(sent), _count(tokens))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None

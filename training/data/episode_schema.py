"""What the files of an episode must say: the one check of what was read, before anything is made of it.

Checksums tell whether an episode is as it was written. They don't tell whether Ludens wrote it: another writer
may have sealed anything. So every value that is used later is checked here, numbers for being finite too. All of it
raises ValueError with what was found and what was expected.
"""

from __future__ import annotations

import io
import math
import re
import reprlib
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from envs.action import Action, KeyboardMouse
from training.data.video import Quality

FORMAT = 1
STEPS, VIDEO, EXTRAS, META = "steps.parquet", "video.mp4", "extras.npz", "episode.json"

SCHEMA = pa.schema(
    [
        ("tick", pa.int32()),
        ("frame", pa.int32()),
        ("keys", pa.list_(pa.string())),
        ("buttons", pa.list_(pa.string())),
        ("yaw", pa.float64()),
        ("pitch", pa.float64()),
        ("pointer_x", pa.float64()),
        ("pointer_y", pa.float64()),
        ("wheel", pa.float64()),
        ("instruction", pa.string()),
        ("actor", pa.string()),
        ("decision", pa.int32()),
        ("asked", pa.int32()),
        ("thought", pa.string()),
        ("speech", pa.string()),
        ("reward", pa.float64()),
        ("starved", pa.bool_()),
        # Since 0.2; null in older episodes.
        ("memory", pa.string()),  # at the first tick of a decision whose memory differs from the one before; else null
        ("time", pa.float64()),  # seconds since 1970 at which the action was applied
        ("tokens", pa.list_(pa.int32())),  # that the decision was sampled as, at its first tick; else null
    ]
)
LATER = ("memory", "time", "tokens")  # columns that older episodes lack
_NULLABLE = ("pointer_x", "pointer_y", *LATER)
MOST_TICKS = 10_000_000  # 80 hours at 35 a second
MOST_LIMIT = 10**12  # ticks that a task may take; a run without an end has a limit of that kind
MOST_SIDE = 16_384  # pixels
MOST_NOTES = 1 << 30  # bytes of annotations, unpacked
MOST_STEPS = 1 << 30  # bytes of steps, unpacked
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


_FIRST_PERSON = ("KeyW", "KeyA", "KeyS", "KeyD", "KeyE")


def _expect(right: bool, what: str, value: Any, expected: str) -> None:
    if not right:
        shown = reprlib.repr(value)  # bounded, also where it is nested deeply
        raise ValueError(f"{what}: expected {expected}, got {shown[:80]}")


def _is_count(value: Any, most: int = MOST_TICKS) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 2**53


def check_meta(meta: Mapping[str, Any]) -> None:
    """Check what episode.json says."""
    for name in ("ticks", "frames", "decisions"):
        _expect(_is_count(meta.get(name)), name, meta.get(name), "a count")
    _expect(meta["decisions"] <= meta["ticks"], "decisions", meta["decisions"], f"at most {meta['ticks']}")
    check_begun(meta)
    outcome = meta.get("outcome")
    _expect(isinstance(outcome, dict), "outcome", outcome, "an object")
    for name, right, expected in _OUTCOME:
        value = meta["outcome"].get(name)
        _expect(right(value), f"outcome.{name}", value, expected)
    _check_sums(meta.get("checksums"))


def check_begun(meta: Mapping[str, Any]) -> None:
    """Check what is known of an episode when it begins."""
    hertz = meta.get("tick_hz")
    _expect(_is_number(hertz) and 0.0 < hertz <= 1e6, "tick_hz", hertz, "ticks in a second")  # type: ignore[operator]
    size = meta.get("frame_size")
    sides = isinstance(size, list) and len(size) == 2 and all(_is_count(n, MOST_SIDE) and n for n in size)
    _expect(sides, "frame_size", size, "height and width in pixels")
    _expect(meta.get("quality") in get_args(Quality), "quality", meta.get("quality"), " or ".join(get_args(Quality)))
    for name, right, expected in _OPTIONAL:
        _expect(right(meta.get(name)), name, meta.get(name), expected)
    _check_task(meta.get("task"))


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_space(value: Any) -> bool:
    try:
        return value is None or bool(KeyboardMouse.from_json(value))
    except (ValueError, TypeError):
        return False


def _are_controls(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and all(isinstance(said, str) for said in value.values()))


_OPTIONAL: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("instruction", _is_text, "text"),
    ("actor", _is_text, "text"),
    ("policy", _is_text, "text"),
    ("seed", lambda value: value is None or _is_seed(value), "a seed"),
    ("options", lambda value: value is None or isinstance(value, dict), "an object"),
    ("space", _is_space, "an action space"),
    ("controls", _are_controls, "names and what they do"),
)


_OUTCOME: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("success", lambda value: value is None or isinstance(value, bool), "true, false or null"),
    ("done", lambda value: value is None or isinstance(value, bool), "true, false or null"),
    ("decided", lambda value: value is None or _is_count(value), "a tick or null"),
    ("why", _is_text, "text"),
)


def guessed_space(actions: Sequence[Action]) -> KeyboardMouse:
    """What a world listened to that does not say so: a first-person game's keys, and what was done besides."""
    keys, buttons = set(_FIRST_PERSON), {"left"}
    for action in actions:
        keys |= action.keys
        buttons |= action.buttons
    pointer, wheel = any(a.pointer is not None for a in actions), any(a.wheel for a in actions)
    return KeyboardMouse(keys, buttons, pointer=pointer, wheel=wheel)


def _check_task(task: Any) -> None:
    if task is None:
        return
    _expect(isinstance(task, dict), "task", task, "an object")
    for name in ("id", "instruction", "world"):
        _expect(isinstance(task.get(name), str), f"task.{name}", task.get(name), "text")
    for name in ("verb", "picture", "answer"):
        _expect(isinstance(task.get(name, ""), str), f"task.{name}", task.get(name), "text")
    _expect(isinstance(task.get("compass", False), bool), "task.compass", task.get("compass"), "true or false")
    _expect(_is_seed(task.get("seed", 0)), "task.seed", task.get("seed"), "a seed")
    _expect(isinstance(task.get("options", {}), dict), "task.options", task.get("options"), "an object")
    _expect(_is_count(task.get("time_limit", 0), MOST_LIMIT), "task.time_limit", task.get("time_limit"), "a count")
    spec = task.get("verifier")
    right = spec is None or (
        isinstance(spec, dict) and isinstance(spec.get("name"), str) and isinstance(spec.get("args", {}), dict)
    )
    _expect(right, "task.verifier", spec, "null, or an object with a name and args")


def _check_sums(sums: Any) -> None:
    """The files of an episode lie in its folder, under plain names."""
    _expect(
        isinstance(sums, dict) and {STEPS, VIDEO} <= sums.keys(), "checksums", sums, f"those of {STEPS} and {VIDEO}"
    )
    for name, digest in sums.items():
        _expect(_PLAIN_NAME.fullmatch(name) is not None, "checksums", name, "the plain name of a file")
        right = isinstance(digest, str) and _SHA256.fullmatch(digest) is not None
        _expect(right, f"checksums of {name}", digest, "a SHA-256")


def read_steps(data: bytes, ticks: int, frames: int) -> pa.Table:
    """The steps of an episode, a row for each of its `ticks`, as SCHEMA says. `frames`: how many its video has."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        _expect(file.metadata.num_rows == ticks, "rows", file.metadata.num_rows, str(ticks))
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        _expect(0 <= size <= MOST_STEPS, "steps", f"{size} bytes", f"at most {MOST_STEPS} bytes")
        table = conformed(file.read())
        table.validate(full=True)  # a list's offsets, and text being UTF-8
    except Exception as error:  # a decoder of bytes from elsewhere raises anything, MemoryError for one
        raise ValueError(f"can't be read as parquet: {error}") from error
    check_steps(table, frames)
    return table


def conformed(table: pa.Table) -> pa.Table:
    """A table of steps with the columns of SCHEMA in their order; those that older episodes lack are null. Raises
    ValueError for one that is missing or of another type."""
    for name in LATER:
        if name not in table.column_names:
            field = SCHEMA.field(name)
            table = table.append_column(field, pa.nulls(len(table), field.type))
    for field in SCHEMA:
        _expect(table.column_names.count(field.name) == 1, "columns", table.column_names, f"one {field.name!r}")
        found = table.schema.field(field.name).type
        _expect(_alike(found, field.type), f"column {field.name!r}", str(found), str(field.type))
    return table.select(SCHEMA.names)


def _alike(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether two types are the same, whatever the items of a list are called."""
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return bool(found.value_type.equals(wanted.value_type))
    return bool(found.equals(wanted))


def check_steps(table: pa.Table, frames: int) -> None:
    """Check the values of a table that is `conformed`."""
    for field in SCHEMA:
        column = table[field.name].combine_chunks()
        if field.name not in _NULLABLE:
            _expect(column.null_count == 0, f"column {field.name!r}", None, "a value in every row")
        if pa.types.is_list(field.type):
            _expect(column.flatten().null_count == 0, f"column {field.name!r}", None, "no null in a list")
        if pa.types.is_floating(field.type):
            numbers = column.drop_null().to_numpy(zero_copy_only=False)
            wrong = numbers[~np.isfinite(numbers)].tolist()
            _expect(not wrong, f"column {field.name!r}", wrong[:1], "finite numbers")
    there = [table[name].is_valid() for name in ("pointer_x", "pointer_y")]
    _expect(there[0].equals(there[1]), "pointer_x and pointer_y", None, "both or none in a row")
    tick, frame, decision, asked = (table[name].to_numpy() for name in ("tick", "frame", "decision", "asked"))
    _expect(bool((tick == np.arange(len(table))).all()), "column 'tick'", tick[:8].tolist(), "0, 1, 2, ...")
    _within("frame", frame, -1, frames - 1)
    _within("decision", decision, -1, len(table) - 1)
    _within("asked", asked, -1, len(table) - 1)
    _expect(bool((asked <= tick).all()), "column 'asked'", "a later tick", "a tick up to its own")
    drawn = np.maximum.accumulate(frame) if len(frame) else frame
    _expect(bool((drawn[asked[asked >= 0]] >= 0).all()), "column 'frame'", -1, "a frame before every decision")


def _within(name: str, values: npt.NDArray[Any], least: int, most: int) -> None:
    wrong = values[(values < least) | (values > most)]
    if len(wrong):
        raise ValueError(f"column {name!r}: expected {least} to {most}, got {int(wrong[0])}")


def read_extras(data: bytes, ticks: int) -> dict[str, npt.NDArray[Any]]:
    """The annotations of an episode: `tick`, and arrays with a row for each of them."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            _check_sizes(file)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = dict(arrays)
    except Exception as error:  # as above
        raise ValueError(f"can't be read as npz: {error}") from error
    tick = found.get("tick")
    _expect(tick is not None and tick.ndim == 1 and tick.dtype.kind in "iu", "tick", sorted(found), "an array of ticks")
    assert tick is not None
    rising = len(tick) == 0 or (tick[0] >= 0 and tick[-1] < ticks and bool((np.diff(tick.astype(np.int64)) > 0).all()))
    _expect(rising, "tick", tick[:8].tolist(), f"rising ticks below {ticks}")
    for name, values in found.items():
        _expect(values.ndim > 0 and len(values) == len(tick), name, values.shape, f"{len(tick)} rows")
        _expect(values.dtype.kind in "biufU", name, str(values.dtype), "numbers or text")
        _expect(values.dtype.kind != "f" or bool(np.isfinite(values).all()), name, "NaN or inf", "finite numbers")
    return found


def _check_sizes(file: zipfile.ZipFile) -> None:
    """Every array is as large as its header says, and all of them are of a size that annotations have. Nothing is
    unpacked but headers."""
    total = 0
    for member in file.infolist():
        total += member.file_size
        _expect(total <= MOST_NOTES, "annotations", f"{total} bytes and more", f"at most {MOST_NOTES} bytes")
        with file.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
            size = stream.tell() + math.prod(shape) * dtype.itemsize
        _expect(size == member.file_size, member.filename, f"{size} bytes by its header", f"{member.file_size}")

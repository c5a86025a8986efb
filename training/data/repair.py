"""What to do about episodes that were damaged or never finished: set aside the former, repair the latter."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
from av.error import FFmpegError

from envs.files import read_regular
from training.data.durable_files import unseal
from training.data.episode_schema import EXTRAS, FORMAT, META, STEPS, VIDEO, check_begun, check_steps, conformed
from training.data.episodes import (
    JOURNAL,
    JOURNAL_META,
    QUARANTINE,
    TEMPORARY,
    DamagedEpisodeError,
    complete,
    find_episodes,
    read_episode,
)
from training.data.looks import LOOKS
from training.data.tables import parquet
from training.data.video import cut_to_whole_fragments, iterate_video

logger = logging.getLogger(__name__)


def quarantine(path: Path, why: str) -> Path | None:
    """Move the episode folder `path` to `quarantine/` beside it, with `why` in why.txt; where it lies now.

    None if it is gone already or can't be moved, for example on a read-only disk. Says so in the log either way.
    """
    place = path.parent / QUARANTINE / path.name
    n = 1
    while place.exists():
        place, n = place.with_name(f"{path.name}-{n}"), n + 1
    try:
        place.parent.mkdir(exist_ok=True)
        path.rename(place)
        (place / "why.txt").write_text(why + "\n")
    except OSError as error:
        logger.warning("damaged episode left where it is (%s): %s", error.strerror, why)
        return None
    logger.warning("damaged episode set aside in %s: %s", place, why)
    return place


def verify(*roots: Path | str) -> tuple[list[Path], list[str]]:
    """Check every file of every episode under `roots`; the good ones, and what was wrong with those set aside."""
    good, bad = [], []
    for path in find_episodes(*roots):
        try:
            read_episode(path).verify()
            good.append(path)
        except DamagedEpisodeError as error:
            bad.append(str(error))
            quarantine(path, str(error))
    return good, bad


def repair(root: Path | str) -> tuple[list[Path], list[Path]]:
    """Finish what killed writers left under `root`; the episodes that were saved, and the folders that were not.

    An episode keeps the ticks of its journal whose frames can be decoded; a writer saves its journal once a second,
    so that this is all but the last second. Folders with nothing readable go to quarantine. Writers that are still
    alive are left alone. A second repair changes nothing.
    """
    saved, lost = [], []
    for folder in _leftovers(root):
        with _abandoned(folder) as abandoned:
            if not abandoned:
                continue
            try:
                path = _finish(folder)
            except (OSError, ValueError, FFmpegError, pa.ArrowException) as error:
                why = f"{folder}: its writer was killed and nothing of it can be saved: {error}"
                lost.append(quarantine(folder, why) or folder)
            else:
                logger.warning("%s: its writer was killed; saved what was written before as %s", folder, path)
                saved.append(path)
    return saved, lost


def _leftovers(root: Path | str) -> list[Path]:
    """The temporary folders under `root`, of writers dead or alive."""
    found = []
    for folder, folders, _ in os.walk(root):  # tolerates folders that come and go meanwhile
        found += [Path(folder, name) for name in folders if name.startswith(TEMPORARY)]
        folders[:] = [name for name in folders if name != QUARANTINE and not name.startswith(".")]
    return sorted(found)


@contextmanager
def _abandoned(folder: Path) -> Iterator[bool]:
    """Whether the writer of `folder` is dead: then its lock, which died with it, is ours for a while."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # finished or taken away meanwhile
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def _finish(folder: Path) -> Path:
    path = folder.with_name(folder.name.removeprefix(TEMPORARY).rpartition("-")[0])
    if path.exists():
        path = path.with_name(f"{path.name}-recovered")
    if (folder / META).exists():  # killed between the last write and the new name
        with suppress(DamagedEpisodeError):
            read_episode(folder).verify()
            os.rename(folder, path)
            return path
    if not (folder / JOURNAL_META).exists():
        raise ValueError("it had not saved its journal yet")
    meta = unseal(read_regular(folder / JOURNAL_META))
    if meta.get("format") != FORMAT:
        raise ValueError(f"it has format {meta.get('format')!r}; this version mends format {FORMAT}")
    check_begun(meta)
    rows = _read_journal(folder / JOURNAL)
    frames, size = 0, (meta["frame_size"][0], meta["frame_size"][1])
    if cut_to_whole_fragments(folder / VIDEO):
        frames = sum(1 for _ in iterate_video(read_regular(folder / VIDEO), meta["tick_hz"], size))
    kept = next((i for i, frame in enumerate(rows["frame"].to_pylist()) if frame >= frames), len(rows))
    if not kept:
        raise ValueError("no tick was saved with its frame")
    rows = rows.slice(0, kept)
    check_steps(rows, frames)
    (folder / STEPS).unlink(missing_ok=True)
    for lost in (EXTRAS, LOOKS):  # they are not in the journal
        (folder / lost).unlink(missing_ok=True)
    (folder / STEPS).write_bytes(parquet(rows))
    why = "the writer was killed"
    meta |= {
        "ticks": len(rows),
        "frames": frames,
        "decisions": len(set(rows["decision"].to_pylist()) - {-1}),
        "outcome": {"success": None, "why": why, "ticks": len(rows), "interrupted": True, "recovered": True},
        "checksums": {name: hashlib.sha256(read_regular(folder / name)).hexdigest() for name in (STEPS, VIDEO)},
    }
    (folder / META).unlink(missing_ok=True)
    complete(folder, path, meta, durable=True)
    return path


def _read_journal(path: Path) -> pa.Table:
    """The rows of a journal, up to where it was cut off."""
    batches = []
    with pa.ipc.open_stream(read_regular(path)) as stream, suppress(pa.ArrowException, OSError):
        for batch in stream:
            batches.append(batch)
    return conformed(pa.Table.from_batches(batches, stream.schema))

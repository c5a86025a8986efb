"""`Store`: what was seen, done, said and told, as events in an SQLite file that survives a crash.

Three tables. `sources`: recordings, oldest first. `events`: what happened in them, in words, with the full-text index
`words`. `looks`: a block for every commit, with the embedding of each picture that was looked at. A commit holds a
block and the events up to its last look, so that whoever was killed goes on behind the last commit.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.errors import UserError
from envs.files import DiskFullError

SAW, DID, SAID, THOUGHT, TOLD = KINDS = ("saw", "did", "said", "thought", "told")
FORMAT = 1
_APPLICATION = 0x4C756465  # "Lude"
_BUSY = 10.0  # seconds that one process waits for another's commit
_NEWEST = "e.source DESC, e.first DESC, e.id DESC"
_SCHEMA = """
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE sources(id INTEGER PRIMARY KEY, name TEXT NOT NULL, path TEXT NOT NULL UNIQUE, print TEXT NOT NULL,
  tick_hz REAL NOT NULL, began REAL NOT NULL, ticks INTEGER NOT NULL,
  looked INTEGER NOT NULL, whole INTEGER NOT NULL);
CREATE TABLE events(id INTEGER PRIMARY KEY, source INTEGER NOT NULL, kind TEXT NOT NULL, first INTEGER NOT NULL,
  last INTEGER NOT NULL, looks INTEGER NOT NULL, frame INTEGER NOT NULL, decision INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX events_by_time ON events(source, first);
CREATE VIRTUAL TABLE words USING fts5(text, content='events', content_rowid='id', tokenize='porter unicode61');
CREATE TABLE looks(source INTEGER NOT NULL, last INTEGER NOT NULL, ticks BLOB NOT NULL, frames BLOB NOT NULL,
  vectors BLOB NOT NULL, PRIMARY KEY (source, last)) WITHOUT ROWID;
"""

Vectors = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Source:
    """A recording. `print`: changes where the recording does. `began`: seconds since 1970, 0 where nobody knows.
    `ticks`: its length. `looked`: the tick up to which it was looked at, -1 at the beginning. `whole`: all of it is in
    the store."""

    id: int
    name: str
    path: str
    print: str
    tick_hz: float
    began: float
    ticks: int
    looked: int
    whole: bool


@dataclass(frozen=True)
class Event:
    """What happened from tick `first` to tick `last` of a source, in words.

    `looks`: how many pictures in a row showed it. `frame`: the index in the video of one of them, -1 for none.
    `decision`: the player's that it came of, -1 for none. `id`: 0 before it is stored.
    """

    source: int
    kind: str
    first: int
    last: int
    text: str
    looks: int = 0
    frame: int = -1
    decision: int = -1
    id: int = 0


@dataclass(frozen=True)
class Look:
    """A picture that was looked at: its tick, its index in the video, and its embedding, a unit vector (D,)."""

    tick: int
    frame: int
    vector: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """N looks in a row of one source: `ticks` and `frames` int64 (N,), `vectors` float16 (N, D)."""

    source: int
    ticks: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]
    vectors: Vectors


class Store:
    """The events in an SQLite file. Use it in the thread that opened it, and close it.

    `eyes`: the name of what describes and embeds the pictures; a file that other eyes filled is emptied, since their
    embeddings can't be compared. Raises UserError for a file that is no store or is damaged.
    """

    def __init__(self, path: Path | str, eyes: str) -> None:
        self.path = Path(path)
        try:
            self._db = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None)
        except sqlite3.Error as error:
            raise UserError(f"index {self.path}: can't be opened: {error}; name another place with --index") from error
        try:
            with self._told():
                self._prepare(eyes)
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def _prepare(self, eyes: str) -> None:
        ask = self._db.execute
        ask("PRAGMA trusted_schema = OFF")  # the file may be a stranger's
        application, version = ask("PRAGMA application_id").fetchone()[0], ask("PRAGMA user_version").fetchone()[0]
        empty = ask("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        if not empty and (application, version) != (_APPLICATION, FORMAT):
            raise UserError(
                f"index {self.path}: no index that this version reads; delete it, and it is made again, or name "
                "another place with --index"
            )
        ask("PRAGMA journal_mode = WAL")
        ask("PRAGMA synchronous = NORMAL")
        if empty:
            marks = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {FORMAT};"
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {marks} COMMIT;")
        found = ask("SELECT value FROM about WHERE name = 'eyes'").fetchone()
        if found is None or found[0] != eyes:
            with self._commit():
                for table in ("sources", "events", "looks"):
                    ask(f"DELETE FROM {table}")
                ask("INSERT INTO words(words) VALUES ('rebuild')")
                ask("INSERT OR REPLACE INTO about VALUES ('eyes', ?)", (eyes,))

    # Writing

    def begin(
        self,
        name: str,
        path: str,
        fingerprint: str,
        *,
        tick_hz: float,
        ticks: int,
        began: float = 0.0,
        events: Sequence[Event] = (),
    ) -> Source:
        """The source at `path`, as far as it was stored, or a new one with these `events`. What is stored of an earlier
        recording at that path goes. Sources are begun oldest first: that is their order in time."""
        with self._told():
            row = self._db.execute("SELECT * FROM sources WHERE path = ?", (path,)).fetchone()
            if row is not None and row[3] == fingerprint:
                return _source(row)
            with self._commit():
                if row is not None:
                    self._forget(row[0])
                values = (name, path, fingerprint, tick_hz, began, ticks)
                made = self._db.execute(
                    "INSERT INTO sources(name, path, print, tick_hz, began, ticks, looked, whole) "
                    "VALUES (?, ?, ?, ?, ?, ?, -1, 0)",
                    values,
                ).lastrowid
                assert made is not None
                self._insert(made, events)
        return Source(made, *values, looked=-1, whole=False)

    def forget(self, source: int) -> None:
        """Take a source and all of it out."""
        with self._told(), self._commit():
            self._forget(source)

    def _forget(self, source: int) -> None:
        ask = self._db.execute
        ask("INSERT INTO words(words, rowid, text) SELECT 'delete', id, text FROM events WHERE source = ?", (source,))
        ask("DELETE FROM events WHERE source = ?", (source,))
        ask("DELETE FROM looks WHERE source = ?", (source,))
        ask("DELETE FROM sources WHERE id = ?", (source,))

    def add(
        self,
        source: int,
        events: Sequence[Event],
        looks: Sequence[Look] = (),
        *,
        looked: int | None = None,
        whole: bool = False,
    ) -> None:
        """Store events and looks in one commit. `looked`: the source is looked at up to this tick. `whole`: that is all
        of it."""
        with self._told(), self._commit():
            self._insert(source, events)
            if looks:
                ticks, frames = (np.array([getattr(look, name) for look in looks], "<i8") for name in ("tick", "frame"))
                vectors = np.stack([look.vector for look in looks]).astype("<f2")
                row = (source, looks[-1].tick, ticks.tobytes(), frames.tobytes(), vectors.tobytes())
                self._db.execute("INSERT INTO looks VALUES (?, ?, ?, ?, ?)", row)
            self._db.execute(
                "UPDATE sources SET looked = coalesce(?, looked), whole = ? WHERE id = ?", (looked, whole, source)
            )

    def _insert(self, source: int, events: Sequence[Event]) -> None:
        for event in events:
            made = self._db.execute(
                "INSERT INTO events(source, kind, first, last, looks, frame, decision, text) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (source, event.kind, event.first, event.last, event.looks, event.frame, event.decision, event.text),
            ).lastrowid
            self._db.execute("INSERT INTO words(rowid, text) VALUES (?, ?)", (made, event.text))

    # Reading

    def sources(self) -> list[Source]:
        """All sources, in the order in which they were begun."""
        with self._told():
            return [_source(row) for row in self._db.execute("SELECT * FROM sources ORDER BY id")]

    def source(self, number: int) -> Source:
        with self._told():
            return _source(self._db.execute("SELECT * FROM sources WHERE id = ?", (number,)).fetchone())

    def matching(
        self, query: str, *, kinds: Sequence[str] = KINDS, most: int = 1000, order: str = "newest", source: int = 0
    ) -> list[Event]:
        """The events whose text an FTS5 query finds, at most so many. `order`: newest, oldest, or best: by BM25, of
        alike ones the newest. `source`: of this one alone."""
        orders = {"newest": _NEWEST, "oldest": "e.source, e.first, e.id", "best": f"w.rank, {_NEWEST}"}
        marks = ", ".join("?" * len(kinds))
        of = "AND e.source = ?" if source else ""
        sql = (
            f"SELECT e.* FROM words w JOIN events e ON e.id = w.rowid WHERE words MATCH ? AND e.kind IN ({marks}) {of} "
            f"ORDER BY {orders[order]} LIMIT ?"
        )
        with self._told():
            rows = self._db.execute(sql, (query, *kinds, *([source] if source else []), most)).fetchall()
        return [_event(row) for row in rows]

    def between(
        self, source: int, first: int, last: int, *, kinds: Sequence[str] = KINDS, most: int = 1000
    ) -> list[Event]:
        """The events of a source that overlap the ticks from `first` to `last`, in order of time."""
        marks = ", ".join("?" * len(kinds))
        sql = (
            f"SELECT * FROM events WHERE source = ? AND first <= ? AND last >= ? AND kind IN ({marks}) "
            "ORDER BY first, id LIMIT ?"
        )
        with self._told():
            rows = self._db.execute(sql, (source, last, first, *kinds, most)).fetchall()
        return [_event(row) for row in rows]

    def newest(self, most: int, *, kinds: Sequence[str] = KINDS) -> list[Event]:
        """The last events, oldest first."""
        marks = ", ".join("?" * len(kinds))
        sql = f"SELECT * FROM events WHERE kind IN ({marks}) ORDER BY source DESC, first DESC, id DESC LIMIT ?"
        with self._told():
            rows = self._db.execute(sql, (*kinds, most)).fetchall()
        return [_event(row) for row in reversed(rows)]

    def count(self) -> tuple[int, int]:
        """How many events and looks there are."""
        with self._told():
            events = self._db.execute("SELECT count(*) FROM events").fetchone()[0]
            looks = self._db.execute("SELECT coalesce(sum(length(ticks)), 0) FROM looks").fetchone()[0]
        return int(events), int(looks) // 8

    def blocks(self) -> Iterator[Block]:
        """All looks, block by block in order of time."""
        with self._told():
            for source, _, ticks, frames, vectors in self._db.execute("SELECT * FROM looks ORDER BY source, last"):
                at = np.frombuffer(ticks, "<i8")
                values = np.frombuffer(vectors, "<f2").reshape(len(at), -1)
                yield Block(source, at, np.frombuffer(frames, "<i8"), values)

    @contextmanager
    def _commit(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite raises, as what a person can mend."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
                raise DiskFullError(self.path, OSError(28, "No space left on device")) from error
            mend = "close the other process" if "locked" in str(error) else "delete it, and it is made again"
            raise UserError(f"index {self.path}: {error}; {mend}, or name another place with --index") from error


def _source(row: Any) -> Source:
    number, name, path, fingerprint, tick_hz, began, ticks, looked, whole = row
    return Source(number, name, path, fingerprint, tick_hz, began, ticks, looked, bool(whole))


def _event(row: Any) -> Event:
    number, source, kind, first, last, looks, frame, decision, text = row
    return Event(source, kind, first, last, text, looks, frame, decision, number)

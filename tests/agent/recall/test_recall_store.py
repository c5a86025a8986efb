"""The store: what was committed survives a kill, other eyes begin anew, what is no store is refused."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.recall.similar import Pictures
from agent.recall.store import SAW, TOLD, Event, Look, Source, Store
from envs.errors import UserError

_WRITER = """
import sys
import numpy as np
from agent.recall.store import SAW, Event, Look, Store
store = Store(sys.argv[1], "eyes")
source = store.begin("run", "/run", "print", tick_hz=10.0, ticks=10**6)
for number in range(10**6):
    look = Look(number, number, np.eye(4, dtype=np.float32)[number % 4])
    store.add(source.id, [Event(source.id, SAW, number, number, f"thing {number}")], [look], looked=number)
    print(number, flush=True)
"""


def begun(store: Store, name: str = "run", fingerprint: str = "print") -> Source:
    return store.begin(name, f"/{name}", fingerprint, tick_hz=10.0, ticks=1000)


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    file = tmp_path / "events.sqlite"
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(file)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(50):
            writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        told = [int(line) for line in writer.stdout if line.endswith("\n")]
    last = max(told, default=49)
    with Store(file, "eyes") as store:
        source = begun(store)
        events, looks = store.count()
        assert source.looked >= last
        assert events == looks == source.looked + 1, "events and looks are of the same commits"
        assert not source.whole
        (found,) = store.matching(f'"thing {source.looked}"')
        assert found.first == source.looked
        assert [block.ticks.tolist() for block in store.blocks()] == [[tick] for tick in range(looks)]


def test_events_are_found_by_word_by_kind_and_by_time(tmp_path: Path) -> None:
    with Store(tmp_path / "events.sqlite", "eyes") as store:
        first = begun(store, "one")
        events = [
            Event(first.id, SAW, 10 * i, 10 * i + 5, f"red key {side}") for i, side in enumerate(("left", "right"))
        ]
        store.add(first.id, [*events, Event(first.id, TOLD, 0, 99, "take the red key")], whole=True)
        second = begun(store, "two")
        store.add(second.id, [Event(second.id, SAW, 3, 4, "Blue Keys ahead")])
        assert [event.text for event in store.matching('"key"', kinds=(SAW,))] == [
            "Blue Keys ahead", "red key right", "red key left",
        ]  # fmt: skip
        assert store.matching('"key"', order="oldest", most=1)[0].source == first.id
        assert [event.text for event in store.matching('"red key"', source=second.id)] == []
        assert [event.text for event in store.between(first.id, 12, 14, kinds=(SAW,))] == ["red key right"]
        assert [event.text for event in store.newest(2, kinds=(SAW,))] == ["red key right", "Blue Keys ahead"]
        assert [source.whole for source in store.sources()] == [True, False]


def test_a_changed_recording_and_other_eyes_begin_anew(tmp_path: Path) -> None:
    file = tmp_path / "events.sqlite"
    with Store(file, "eyes") as store:
        one = begun(store)
        store.add(one.id, [Event(one.id, SAW, 1, 1, "torch")], [Look(1, 1, np.ones(2, np.float32))], looked=1)
        assert begun(store).looked == 1
        assert begun(store, fingerprint="another").looked == -1
        assert store.count() == (0, 0)
        assert store.matching('"torch"') == []
        again = begun(store, fingerprint="another")
        store.add(again.id, [Event(again.id, SAW, 1, 1, "lamp")])
    with Store(file, "other eyes") as store:
        assert store.sources() == []
        assert store.matching('"lamp"') == []


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    garbage, strange = tmp_path / "garbage", tmp_path / "strange"
    garbage.write_bytes(b"no database at all" * 100)
    with sqlite3.connect(strange) as other:
        other.execute("CREATE TABLE mine(x)")
    for path in (garbage, strange, tmp_path / "gone" / "events.sqlite"):
        with pytest.raises(UserError, match="--index"):
            Store(path, "eyes")
    assert garbage.read_bytes().startswith(b"no database"), "nothing of it is touched"


def test_the_most_alike_pictures_are_those_of_an_exhaustive_comparison(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with Store(tmp_path / "events.sqlite", "eyes") as store:
        one = begun(store)
        for start in range(0, 300, 64):
            looks = [Look(tick, tick, vectors[tick]) for tick in range(start, min(start + 64, 300))]
            store.add(one.id, [], looks)
        pictures = Pictures(store.blocks())
    for row in (0, 77, 299):
        found = [alike.tick for alike in pictures.nearest(vectors[row], 5)]
        expected = sorted(range(300), key=lambda tick: -float(vectors[tick] @ vectors[row]))[:5]
        assert found == expected
    assert Pictures([]).nearest(vectors[0], 3) == []

"""An episode that was sealed by somebody else and is malformed is damage of one kind, and nothing hangs on it."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.episode import Step
from agent.policy import Decision
from envs.action import Action
from training.data.dataset import EpisodeDataset, load_decisions
from training.data.durable_files import seal, unseal
from training.data.episode_schema import EXTRAS, META, STEPS, VIDEO
from training.data.episodes import DamagedEpisodeError, EpisodeError, EpisodeWriter, read_episode
from training.data.footage import task_of
from training.data.video import VideoWriter

TICKS = 8
TASK = {
    "id": "t", "instruction": "go", "world": "doom", "seed": 1, "options": {}, "time_limit": 8, "verifier": None,
    "verb": "", "picture": "", "answer": "",
}  # fmt: skip


def write(path: Path) -> Path:
    """An episode of eight ticks and two decisions, with annotations."""
    writer = EpisodeWriter(path, frame_size=(24, 32), tick_hz=35.0, durable=False, meta={"task": TASK, "seed": 1})
    decision = Decision((Action(keys=frozenset({"KeyW"}), look=(1.0, 0.0)),) * 4, "thought", "said")
    for tick in range(TICKS):
        first = tick % 4 == 0
        frame = np.full((24, 32, 3), tick, np.uint8) if first else None
        writer.add(
            Step(
                tick=tick, frame=frame, action=decision.actions[0], reward=0.0, instruction="go", actor="agent",
                starved=False, decision=decision, index=tick // 4, asked=tick - tick % 4, info={},
                notes={"cells": np.ones(3, np.float32)} if first else None,
            )
        )  # fmt: skip
    return writer.finish({"success": True, "why": ""}, np.zeros((24, 32, 3), np.uint8))


def read_all(path: Path) -> None:
    """All that anybody reads of an episode."""
    episode = read_episode(path)
    episode.verify()
    load_decisions(episode)
    assert len(episode.frames()) == episode.meta["frames"]
    assert episode.frame(0).shape == (24, 32, 3)
    assert len(episode.actions()) == episode.meta["ticks"]
    task_of(episode)


def reseal(path: Path, change: Callable[[dict[str, Any]], object] = lambda meta: None) -> None:
    """Change episode.json, with the right checksums of all files that are there."""
    meta = unseal((path / META).read_bytes())
    for name in (STEPS, VIDEO, EXTRAS):
        meta["checksums"][name] = hashlib.sha256((path / name).read_bytes()).hexdigest()
    change(meta)
    (path / META).write_bytes(seal(meta))


def test_an_undamaged_episode_is_read(tmp_path: Path) -> None:
    read_all(write(tmp_path / "whole"))


META_CASES: dict[str, Callable[[dict[str, Any]], object]] = {
    **{f"no {name}": (lambda meta, name=name: meta.pop(name)) for name in ("ticks", "frames", "decisions", "tick_hz")},
    **{f"no {name}": (lambda meta, name=name: meta.pop(name)) for name in ("frame_size", "outcome", "checksums")},
    "ticks is text": lambda meta: meta.update(ticks="8"),
    "ticks is true": lambda meta: meta.update(ticks=True),
    "ticks is negative": lambda meta: meta.update(ticks=-8),
    "ticks is huge": lambda meta: meta.update(ticks=10**12),
    "ticks are others": lambda meta: meta.update(ticks=9),
    "frames are others": lambda meta: meta.update(frames=2),
    "frames are more": lambda meta: meta.update(frames=7),
    "decisions are null": lambda meta: meta.update(decisions=None),
    "tick_hz is nan": lambda meta: meta.update(tick_hz=math.nan),
    "tick_hz is inf": lambda meta: meta.update(tick_hz=math.inf),
    "tick_hz is zero": lambda meta: meta.update(tick_hz=0),
    "frame_size is one number": lambda meta: meta.update(frame_size=[24]),
    "frame_size is huge": lambda meta: meta.update(frame_size=[10**9, 10**9]),
    "frame_size is another": lambda meta: meta.update(frame_size=[24, 33]),
    "quality is unknown": lambda meta: meta.update(quality="best"),
    "outcome is a list": lambda meta: meta.update(outcome=[]),
    "success is text": lambda meta: meta["outcome"].update(success="yes"),
    "task is text": lambda meta: meta.update(task="doom"),
    "task has no world": lambda meta: meta["task"].pop("world"),
    "task has more": lambda meta: meta["task"].update(surprise=1),
    "verifier is text": lambda meta: meta["task"].update(verifier="face"),
    "instruction is a number": lambda meta: meta.update(instruction=3),
    "seed is text": lambda meta: meta.update(seed="1"),
    "options are a list": lambda meta: meta.update(options=[1]),
    "format is another": lambda meta: meta.update(format=99),
    "a file above": lambda meta: meta["checksums"].update({"../other": "0" * 64}),
    "a device": lambda meta: meta["checksums"].update({"/dev/zero": "0" * 64}),
    "a hidden file": lambda meta: meta["checksums"].update({".hidden": "0" * 64}),
    "a checksum is null": lambda meta: meta["checksums"].update({STEPS: None}),
    "checksums without a video": lambda meta: meta["checksums"].pop(VIDEO),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", META_CASES)
def test_malformed_metadata_is_damage(tmp_path: Path, case: str) -> None:
    path = write(tmp_path / "episode")
    reseal(path, META_CASES[case])
    with pytest.raises(DamagedEpisodeError):
        read_all(path)


def column(name: str, values: list[Any], kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        at = table.column_names.index(name)
        return table.set_column(at, name, pa.array(values, kind or table.schema.field(name).type))

    return change


STEPS_CASES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "yaw is nan": column("yaw", [1.0] * 7 + [math.nan]),
    "pitch is inf": column("pitch", [math.inf] + [0.0] * 7),
    "wheel is -inf": column("wheel", [-math.inf] * 8),
    "reward is nan": column("reward", [math.nan] * 8),
    "time is nan": column("time", [math.nan] * 8),
    "yaw is text": column("yaw", ["1.0"] * 8, pa.string()),
    "yaw is null": column("yaw", [None] * 8),
    "keys are null": column("keys", [None] * 8),
    "a key is null": column("keys", [["KeyW", None]] * 8),
    "keys are text": column("keys", ["KeyW"] * 8, pa.string()),
    "keys are numbers": column("keys", [[1]] * 8, pa.list_(pa.int32())),
    "half a pointer": column("pointer_x", [0.5] * 8),
    "instruction is null": column("instruction", [None] * 8),
    "ticks begin with one": column("tick", list(range(1, 9))),
    "a tick is twice": column("tick", [0, 1, 1, 3, 4, 5, 6, 7]),
    "a frame beyond": column("frame", [0, -1, -1, -1, 99, -1, -1, -1]),
    "a frame below": column("frame", [-5, -1, -1, -1, 1, -1, -1, -1]),
    "no frame before a decision": column("frame", [-1] * 8),
    "asked beyond": column("asked", [0, 0, 0, 0, 900, 900, 900, 900]),
    "asked before it is": column("asked", [0, 0, 0, 7, 4, 4, 4, 4]),
    "asked below": column("asked", [-7] * 8),
    "no yaw": lambda table: table.drop_columns(["yaw"]),
    "no asked": lambda table: table.drop_columns(["asked"]),
    "yaw twice": lambda table: table.append_column("yaw", table["yaw"]),
    "a row less": lambda table: table.slice(0, 7),
    "no rows": lambda table: table.slice(0, 0),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", STEPS_CASES)
def test_malformed_steps_are_damage(tmp_path: Path, case: str) -> None:
    path = write(tmp_path / "episode")
    sink = pa.BufferOutputStream()
    pq.write_table(STEPS_CASES[case](pq.read_table(path / STEPS)), sink)
    (path / STEPS).write_bytes(sink.getvalue())
    reseal(path)
    with pytest.raises(DamagedEpisodeError, match=STEPS):
        read_all(path)


def npz(**arrays: Any) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue()


def claims(shape: tuple[int, ...]) -> bytes:
    """An npz whose array claims a shape and holds nothing."""
    head, sink = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(sink, "w") as file:
        file.writestr("tick.npy", head.getvalue())
    return sink.getvalue()


TICK = np.array([0, 4], np.int32)
EXTRAS_CASES: dict[str, bytes] = {
    "no zip": b"PK\x03\x04 nothing",
    "empty": b"",
    "30 GiB by its header": claims((4 << 30,)),
    "no tick": npz(cells=np.ones((2, 3))),
    "ticks fall": npz(tick=TICK[::-1], cells=np.ones((2, 3))),
    "a tick beyond": npz(tick=np.array([0, 99]), cells=np.ones((2, 3))),
    "ticks are text": npz(tick=np.array(["0", "4"]), cells=np.ones((2, 3))),
    "a row less": npz(tick=TICK, cells=np.ones((1, 3))),
    "nan": npz(tick=TICK, cells=np.full((2, 3), np.nan)),
    "a decision without": npz(tick=TICK[:1], cells=np.ones((1, 3))),
    "no rows": npz(tick=TICK, cells=np.float64(3.0)),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("case", EXTRAS_CASES)
def test_malformed_annotations_are_damage(tmp_path: Path, case: str) -> None:
    path = write(tmp_path / "episode")
    (path / EXTRAS).write_bytes(EXTRAS_CASES[case])
    reseal(path)
    with pytest.raises(DamagedEpisodeError):
        read_all(path)


def test_code_in_annotations_is_not_run(tmp_path: Path) -> None:
    path = write(tmp_path / "episode")
    (path / EXTRAS).write_bytes(npz(tick=TICK, cells=np.array([print, print], dtype=object)))
    reseal(path)
    with pytest.raises(DamagedEpisodeError):
        read_all(path)


def test_a_video_of_another_size_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "episode")
    (path / VIDEO).unlink()
    writer = VideoWriter(path / VIDEO, (48, 64), 35.0)
    for tick in (0, 4, 8):
        writer.add(np.zeros((48, 64, 3), np.uint8), tick)
    writer.close(durable=False)
    reseal(path)
    with pytest.raises(DamagedEpisodeError, match="frames of 64x48, not 32x24"):
        read_all(path)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", [META, STEPS, VIDEO, EXTRAS])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_damage_and_nothing_waits_for_it(tmp_path: Path, name: str, kind: str) -> None:
    path = write(tmp_path / "episode")
    (path / name).unlink()
    if kind == "pipe":
        os.mkfifo(path / name)
    elif kind == "device":
        (path / name).symlink_to("/dev/zero")
    else:
        (path / name).mkdir()
    with pytest.raises(DamagedEpisodeError, match="can't be read"):
        read_all(path)


def test_metadata_that_is_no_json_is_damage(tmp_path: Path) -> None:
    for number, data in enumerate(
        (b"", b"null", b"[]", b"\xff\xfe", b"[" * 200_000, b'{"ticks": ' + b"9" * 6000 + b"}")
    ):
        path = write(tmp_path / str(number))
        (path / META).write_bytes(data)
        with pytest.raises(DamagedEpisodeError):
            read_all(path)


@pytest.mark.timeout(240)
def test_whatever_is_changed_is_damage_or_harmless(tmp_path: Path) -> None:
    """Random values in random places of the metadata and the steps, sealed again: an episode is read, or it is damaged.
    Nothing else is raised."""
    rng, path, damaged = np.random.default_rng(0), write(tmp_path / "episode"), 0
    files = {name: (path / name).read_bytes() for name in (META, STEPS, VIDEO, EXTRAS)}
    values = [None, True, -1, 0, 3, 10**15, 1.5, math.nan, -math.inf, "", "text", "../x", [], [1], {}, {"a": None}]
    for _ in range(300):
        for name, data in files.items():
            (path / name).write_bytes(data)
        value = values[int(rng.integers(len(values)))]
        if rng.random() < 0.5:
            meta = json.loads(files[META])
            places: list[tuple[Any, Any]] = [(meta, key) for key in meta if key != "sha256"]
            places += [(part, key) for part in meta.values() if isinstance(part, dict) for key in part]
            holder, key = places[int(rng.integers(len(places)))]
            holder[key] = value
            meta.pop("sha256")
            (path / META).write_bytes(seal(meta))
        else:
            table = pq.read_table(path / STEPS)
            at = int(rng.integers(len(table.column_names)))
            field, row = table.schema.field(at), int(rng.integers(TICKS))
            rows = table[at].to_pylist()
            rows[row] = value
            try:
                table = table.set_column(at, field.name, pa.array(rows, field.type))
            except (pa.ArrowException, OverflowError, TypeError, ValueError):
                table = table.set_column(at, field.name, pa.array([str(value)] * TICKS))
            sink = pa.BufferOutputStream()
            pq.write_table(table, sink)
            (path / STEPS).write_bytes(sink.getvalue())
            reseal(path)
        try:
            read_all(path)
        except DamagedEpisodeError:
            damaged += 1
    assert damaged > 100


def test_a_data_set_sets_malformed_episodes_aside(tmp_path: Path) -> None:
    write(tmp_path / "good")
    bad = write(tmp_path / "bad")
    sink = pa.BufferOutputStream()
    pq.write_table(STEPS_CASES["yaw is nan"](pq.read_table(bad / STEPS)), sink)
    (bad / STEPS).write_bytes(sink.getvalue())
    reseal(bad)
    worse = write(tmp_path / "worse")
    reseal(worse, META_CASES["no ticks"])
    dataset = EpisodeDataset(tmp_path)
    turns = [action.look[0] for index in range(len(dataset)) for action in dataset[index].actions]
    assert set(turns) == {1.0}
    assert {folder.name for folder in (tmp_path / "quarantine").iterdir()} == {"bad", "worse"}
    with pytest.raises(EpisodeError):
        EpisodeDataset(tmp_path / "quarantine" / "bad" / "nothing")

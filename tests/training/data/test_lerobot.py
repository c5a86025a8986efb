"""Episodes as a LeRobotDataset v3 and back. tests/training/data/test_lerobot_real.py reads one with LeRobot itself."""

from __future__ import annotations

import hashlib
import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.codec import Codec
from envs.action_vector import COLUMNS, from_vectors
from envs.errors import UserError
from tests.support import lerobot_data
from tests.support.lerobot_data import JUDGE
from tests.support.worlds import ArrowsWorld, SquareWorld
from training.data.episodes import Episode, find_episodes, read_episode
from training.data.lerobot import language, layout, statistics
from training.data.lerobot.dataset import open_dataset
from training.data.lerobot.export import Exported, export, sources
from training.data.lerobot.load import Imported, load
from training.data.lerobot.pictures import read_frames

RECORDED = ["a--told", "a--hand", "b--short"]


def run(*words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    lerobot_data.record(folder)
    lerobot_data.judge(folder)
    return folder


@pytest.fixture(scope="module")
def lossless(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lossless") / "dataset"
    said = run("export", "lerobot", str(recorded), "--frames", "lossless", "--out", str(out))
    assert (said["episodes"], said["frames"], said["tasks"], said["fps"]) == (3, 71, 4, 50)
    return out


def table(dataset: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(dataset.glob("data/*/*.parquet")) for row in pq.read_table(path).to_pylist()]


def in_order(recorded: Path) -> list[Episode]:
    """The episodes in the order of the dataset."""
    return [read_episode(path) for path in find_episodes(recorded)]


def contents(episode: Episode) -> dict[str, Any]:
    """All of an episode that is not its place on the disk."""
    return {name: value for name, value in episode.meta.items() if name != "sha256"}


def test_what_is_exported_losslessly_comes_back_to_the_byte(recorded: Path, lossless: Path, tmp_path: Path) -> None:
    said = run("import", "lerobot", str(lossless), "--out", str(tmp_path / "back"))
    assert (said["episodes"], said["ticks"], said["lossless"], said["skipped"], said["lost"]) == (3, 71, True, {}, {})
    assert sorted(path.name for path in find_episodes(tmp_path / "back")) == sorted(RECORDED)
    for path in find_episodes(recorded):
        before, after = read_episode(path), read_episode(tmp_path / "back" / "--".join(path.parts[-2:]))
        assert contents(after) == contents(before)  # every file's SHA-256 among it
        assert after.steps.equals(before.steps)
        assert after.actions() == before.actions()
        assert after.looks == before.looks
        np.testing.assert_array_equal(after.frames(), before.frames())
        assert {k: v.tolist() for k, v in after.extras().items()} == {k: v.tolist() for k, v in before.extras().items()}
    again = run("import", "lerobot", str(lossless), "--out", str(tmp_path / "back"))
    assert (again["episodes"], again["there"]) == (0, 3)


def test_in_h264_all_but_the_pictures_is_exact(recorded: Path, tmp_path: Path) -> None:
    run("export", "lerobot", str(recorded), "--out", str(tmp_path / "dataset"))
    assert run("import", "lerobot", str(tmp_path / "dataset"), "--out", str(tmp_path / "back"))["lossless"] is False
    for path in find_episodes(recorded):
        before, after = read_episode(path), read_episode(tmp_path / "back" / "--".join(path.parts[-2:]))
        assert after.steps.equals(before.steps)
        assert after.outcome == before.outcome
        assert after.meta["imported"] == "frames from H.264 of a LeRobotDataset"
        assert len(after.frames()) == len(before.frames())
        if path.name != "hand":  # its frames are noise
            assert np.abs(after.frames().astype(int) - before.frames()).mean() < 8.0


def test_the_files_say_what_they_hold(recorded: Path, lossless: Path) -> None:
    info = json.loads((lossless / layout.INFO).read_text())
    assert (info["codebase_version"], info["fps"]) == ("v3.0", 50)
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 71, 4)
    assert info["splits"] == {"train": "0:3"}
    assert info["features"][layout.PIXELS]["shape"] == [26, 34, 3]  # even
    assert info["features"]["action"]["names"] == list(COLUMNS)
    files = sorted(path.relative_to(lossless).as_posix() for path in lossless.rglob("*.*") if path.is_file())
    assert files == [
        "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/info.json",
        "meta/stats.json", "meta/tasks.parquet", "videos/observation.images.pixels/chunk-000/file-000.mp4",
    ]  # fmt: skip
    rows = table(lossless)
    assert [row["index"] for row in rows] == list(range(71))
    assert set(rows[0]) == {name for name, it in info["features"].items() if it["dtype"] != "video"}
    episodes = pq.read_table(lossless / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["ludens.success"] for row in episodes] == [e.success for e in in_order(recorded)] == [True, None, False]
    for number, (row, episode) in enumerate(zip(episodes, in_order(recorded), strict=True)):
        mine = rows[row["dataset_from_index"] : row["dataset_to_index"]]
        assert len(mine) == row["length"] == episode.meta["ticks"]
        assert {one["episode_index"] for one in mine} == {number}
        times = np.array([one["timestamp"] for one in mine])
        assert np.abs(times - np.arange(len(mine)) / 50).max() < 1e-4
        assert [one["frame_index"] for one in mine] == list(range(len(mine)))
        begin = row[f"videos/{layout.PIXELS}/from_timestamp"]
        assert row[f"videos/{layout.PIXELS}/to_timestamp"] - begin == pytest.approx(len(mine) / 50)
        video = lossless / f"videos/{layout.PIXELS}/chunk-000/file-000.mp4"
        shown = np.maximum(np.maximum.accumulate(episode.steps["frame"].to_numpy()), 0)
        seen = np.stack(list(read_frames(video, begin, len(mine), 50)))
        np.testing.assert_array_equal(seen[:, :25, :33], episode.frames()[shown])
        np.testing.assert_array_equal(seen[:, 25], seen[:, 24])  # the edge comes twice


def test_actions_words_and_verdicts_stand_where_they_belong(recorded: Path, lossless: Path) -> None:
    tasks = {row["task_index"]: row["task"] for row in pq.read_table(lossless / layout.TASKS).to_pylist()}
    rows = table(lossless)
    for number, episode in enumerate(in_order(recorded)):
        mine, steps = [row for row in rows if row["episode_index"] == number], episode.steps.to_pylist()
        for now, action in zip(from_vectors([row["action"] for row in mine]), episode.actions(), strict=True):
            assert (now.keys, now.buttons) == (action.keys, action.buttons)
            assert now.look == pytest.approx(action.look, abs=1e-6)
            assert now.wheel == pytest.approx(action.wheel, abs=1e-6)
            assert (now.pointer is None) == (action.pointer is None)
        assert [row["observation.state"] for row in mine[1:]] == [row["action"] for row in mine[:-1]]
        assert not any(mine[0]["observation.state"])
        assert [tasks[row["task_index"]] for row in mine] == [step["instruction"] for step in steps]
        for name in ("actor", "thought", "speech", "decision", "asked", "frame", "starved"):
            assert [row[f"ludens.{name}"] for row in mine] == [step[name] for step in steps]
        assert [row["next.reward"] for row in mine] == [step["reward"] for step in steps]
        assert [row["next.done"] for row in mine] == [False] * (len(mine) - 1) + [True]
        assert [row["next.success"] for row in mine] == [False] * (len(mine) - 1) + [episode.success is True]
    assert {row["ludens.actor"] for row in rows} == {"agent", "human"}


def test_the_judge_stands_beside_the_truth(lossless: Path) -> None:
    judged = {
        row["episode_index"]: (row[layout.score_column(JUDGE)], row[layout.verdict_column(JUDGE)])
        for row in table(lossless)
    }
    assert judged == {0: (3.0, False), 1: (87.5, True), 2: (-1.0, False)}  # hand, told, short: no score
    assert layout.score_column(JUDGE) == "judge.judge-a-model-http-127.0.0.1.value"  # LeRobot allows no "/"


def test_actions_are_written_in_the_language_of_the_world(recorded: Path, lossless: Path) -> None:
    told = next(e for e in in_order(recorded) if e.path.name == "told")
    texts = {row["frame_index"]: row["ludens.action_text"] for row in table(lossless) if row["episode_index"] == 1}
    asked = sorted({step["asked"] for step in told.steps.to_pylist()})
    assert [tick for tick, text in texts.items() if text] == asked == list(range(0, 40, 4))
    codec, actions = Codec(told.space, told.controls), told.actions()
    for tick in asked:
        played = codec.actions(codec.read(texts[tick]), 50.0)
        assert [action.keys for action in played] == [action.keys for action in actions[tick : tick + 4]]
    by_hand = [row["ludens.action_text"] for row in table(lossless) if row["episode_index"] == 0]
    assert by_hand[2].startswith("press right look")
    assert by_hand[1] == ""  # starved


def test_language_columns_say_what_happens_and_what_holds(recorded: Path, lossless: Path) -> None:
    rows = [row for row in table(lossless) if row["episode_index"] == 1]
    told = next(e for e in in_order(recorded) if e.path.name == "told").steps.to_pylist()
    for row, step in zip(rows, told, strict=True):
        said = [event for event in row[layout.EVENTS] if event["role"] == "assistant"]
        texts = [event["tool_calls"][0]["function"]["arguments"]["text"] for event in said]
        assert texts == [step["speech"]] * bool(step["speech"])
    orders = {row["frame_index"]: event for row in rows for event in row[layout.EVENTS] if event["role"] == "user"}
    changed = next(step["tick"] for step in told if step["instruction"] == "stop — now")
    assert list(orders) == [changed]
    assert (orders[changed]["style"], orders[changed]["content"]) == ("interjection", "stop — now")
    holds = rows[0][layout.PERSISTENT]
    assert all(row[layout.PERSISTENT] == holds for row in rows)
    subtasks = [(one["content"], round(one["timestamp"] * 50)) for one in holds if one["style"] == "subtask"]
    assert subtasks == [("go", 0), ("stop — now", changed)]
    plans = [one["content"] for one in holds if one["style"] == "plan"]
    assert plans[0] == told[0]["thought"]
    assert all(a.split()[0] != b.split()[0] for a, b in pairwise(plans))  # other words, not numbers
    assert any(one["style"] == "memory" and one["content"].startswith("did: go") for one in holds)


def test_what_holds_is_bounded_since_every_row_repeats_it() -> None:
    thoughts = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(200)]
    rows = language.persistent(["go"] * 200, thoughts, [""] * 200, [i / 10 for i in range(200)])
    assert len(rows) == language.MOST
    assert (rows[0]["style"], rows[-1]["content"]) == ("subtask", thoughts[-1])


def test_statistics_are_those_of_all_rows(recorded: Path, lossless: Path) -> None:
    stats = json.loads((lossless / layout.STATS).read_text())
    rows = table(lossless)
    for name in ("action", "next.reward", "next.done", "timestamp", "task_index"):
        values = np.array([row[name] for row in rows], np.float64).reshape(len(rows), -1)
        for key, expected in (("min", values.min(0)), ("max", values.max(0)), ("mean", values.mean(0))):
            np.testing.assert_allclose(stats[name][key], expected, atol=1e-9)
        np.testing.assert_allclose(stats[name]["std"], values.std(0), atol=1e-9)
        assert stats[name]["count"] == [71]
        assert np.all(np.array(stats[name]["q10"]) <= np.array(stats[name]["q90"]))
    pixels = np.concatenate([e.frames() for e in in_order(recorded)]).reshape(-1, 3) / 255.0
    mine = {key: np.array(value) for key, value in stats[layout.PIXELS].items()}
    assert mine["mean"].shape == (3, 1, 1)
    np.testing.assert_allclose(mine["mean"].ravel(), pixels.mean(0))
    np.testing.assert_allclose(mine["std"].ravel(), pixels.std(0))
    np.testing.assert_allclose(mine["min"].ravel(), pixels.min(0))
    np.testing.assert_allclose(mine["max"].ravel(), pixels.max(0))
    np.testing.assert_allclose(mine["q50"].ravel(), np.quantile(pixels, 0.5, axis=0, method="inverted_cdf"))


def test_combined_statistics_weigh_episodes_by_their_length() -> None:
    parts = [np.array([1.0, 2.0, 3.0]), np.array([10.0])]
    whole = statistics.combined([statistics.of_numbers(part) for part in parts])
    values = np.concatenate(parts)
    assert whole["mean"] == pytest.approx(values.mean())
    assert whole["std"] == pytest.approx(values.std())
    assert whole["count"] == [4]


def test_files_turn_where_they_are_full(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "DATA_MEGABYTES", 0)
    monkeypatch.setattr(layout, "VIDEO_SECONDS", 0.5)  # shorter than one episode, which is never cut
    monkeypatch.setattr(layout, "FILES_IN_CHUNK", 2)
    done = export(sources([recorded]), tmp_path / "dataset", coding="lossless")
    assert done.episodes == 3
    names = [
        p.relative_to(tmp_path / "dataset/data").as_posix()
        for p in sorted((tmp_path / "dataset/data").rglob("*.parquet"))
    ]
    assert names == ["chunk-000/file-000.parquet", "chunk-000/file-001.parquet", "chunk-001/file-000.parquet"]
    assert len(list((tmp_path / "dataset/videos").rglob("*.mp4"))) == 3
    back = load(open_dataset(tmp_path / "dataset"), tmp_path / "back")
    assert (back.episodes, back.skipped) == (3, {})
    for path in find_episodes(recorded):
        again = read_episode(tmp_path / "back" / "--".join(path.parts[-2:]))
        np.testing.assert_array_equal(again.frames(), read_episode(path).frames())


def test_a_dataset_that_is_there_is_not_touched(recorded: Path, lossless: Path) -> None:
    before = hashlib.sha256((lossless / layout.INFO).read_bytes()).hexdigest()
    done = CliRunner().invoke(app, ["export", "lerobot", str(recorded), "--out", str(lossless)])
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == f"{lossless}: is there already; name another --out, or remove it"
    assert hashlib.sha256((lossless / layout.INFO).read_bytes()).hexdigest() == before


def test_a_damaged_episode_is_skipped_and_an_export_that_fails_leaves_nothing(recorded: Path, tmp_path: Path) -> None:
    shutil.copytree(recorded, tmp_path / "data")
    (tmp_path / "data/a/told/video.mp4").write_bytes(b"")
    done = export(sources([tmp_path / "data"]), tmp_path / "dataset")
    assert done.episodes == 2
    assert list(done.skipped) == [str(tmp_path / "data/a/told")]
    assert "SHA-256 differs" in done.skipped[str(tmp_path / "data/a/told")]
    with pytest.raises(UserError, match="no episode can be exported: it is not known to succeed"):
        export(sources([tmp_path / "data/b"]), tmp_path / "none", successes=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "dataset"]
    with pytest.raises(UserError, match=r"no episode under .*: make some with agent record"):
        sources([tmp_path / "dataset"])


def test_episodes_of_two_worlds_are_two_datasets(recorded: Path, tmp_path: Path) -> None:
    from tests.training.data.test_episodes import record

    record(tmp_path / "arrows", world=SquareWorld(4))
    with pytest.raises(UserError, match=r"frames of \[24, 32\] pixels, .* has \[25, 33\]: a dataset has one kind"):
        export(sources([recorded, tmp_path]), tmp_path / "dataset")
    assert ArrowsWorld.tick_hz != SquareWorld.tick_hz


def test_only_successes_and_no_language_columns(recorded: Path, tmp_path: Path) -> None:
    done = run("export", "lerobot", str(recorded), "--successes", "--no-language", "--out", str(tmp_path / "dataset"))
    assert (done["episodes"], len(done["skipped"])) == (1, 2)
    info = json.loads((tmp_path / "dataset" / layout.INFO).read_text())
    assert not {it["dtype"] for it in info["features"].values()} & {"language"}
    assert set(table(tmp_path / "dataset")[0]) == set(info["features"]) - {layout.PIXELS}
    assert load(open_dataset(tmp_path / "dataset"), tmp_path / "back").episodes == 1


def rewritten(dataset: Path, out: Path, change: Any) -> Path:
    """A copy of a dataset with changed rows, as other programs write them."""
    shutil.copytree(dataset, out)
    path = out / "data/chunk-000/file-000.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    return out


def test_without_our_columns_it_is_read_as_far_as_it_goes(recorded: Path, lossless: Path, tmp_path: Path) -> None:
    """As lerobot-edit-dataset leaves it, or another recorder of keyboards writes it."""

    def plain(rows: Any) -> Any:
        return rows.select(
            [name for name in rows.column_names if not name.startswith(("ludens.", "language", "judge"))]
        )

    done = load(open_dataset(rewritten(lossless, tmp_path / "dataset", plain)), tmp_path / "back")
    assert (done.episodes, done.skipped) == (3, {})
    again = read_episode(tmp_path / "back/episode-000000")
    before = next(e for e in in_order(recorded) if e.path.name == "hand")
    assert [a.keys for a in again.actions()] == [a.keys for a in before.actions()]
    assert again.steps["instruction"].to_pylist() == before.steps["instruction"].to_pylist()
    assert (again.success, again.tick_hz, again.meta["frames"]) == (True, 50.0, 30)


def test_what_editing_lost_is_told_and_an_edited_action_counts(lossless: Path, tmp_path: Path) -> None:
    def turned(rows: Any) -> Any:
        vectors = np.array(rows["action"].to_pylist(), np.float32)
        vectors[:, COLUMNS.index("look.yaw")] = 7.0
        at = rows.column_names.index("action")
        return rows.set_column(at, rows.schema.field(at), pa.array(vectors.tolist(), rows.schema.field(at).type))

    dataset = rewritten(lossless, tmp_path / "dataset", turned)
    shutil.rmtree(dataset / layout.KEPT)  # as LeRobot's tools leave it
    done: Imported = load(open_dataset(dataset), tmp_path / "back")
    assert done.episodes == 3
    assert done.lost == {"the frame after the last tick": 2, "extras.npz": 1, "looks.parquet": 2}
    for path in find_episodes(tmp_path / "back"):
        assert {action.look[0] for action in read_episode(path).actions()} == {7.0}


def test_what_is_no_dataset_of_ours_is_said(lossless: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no LeRobotDataset: .*info\.json is missing"):
        open_dataset(tmp_path)
    robot = tmp_path / "robot"
    shutil.copytree(lossless, robot)
    info = json.loads((robot / layout.INFO).read_text())

    def say(**changes: Any) -> None:
        (robot / layout.INFO).write_text(json.dumps(info | changes))

    say(codebase_version="v2.1")
    with pytest.raises(UserError, match=r"has the version v2\.1; expected v3\.0\. Convert it: python -m lerobot"):
        open_dataset(robot)
    names = {"motors": ["shoulder_pan.pos", "gripper.pos"]}
    say(features=info["features"] | {"action": {"dtype": "float32", "shape": [2], "names": names}})
    with pytest.raises(UserError, match=r"not of keyboard and mouse \(shoulder_pan\.pos, gripper\.pos\); expected"):
        load(open_dataset(robot), tmp_path / "back")
    say(data_path="../../{chunk_index}{file_index}")
    done = load(open_dataset(robot), tmp_path / "back")
    assert done.episodes == 0
    assert "is not in the folder of the dataset" in done.skipped["0"]
    assert not (tmp_path / "back").exists() or not list((tmp_path / "back").iterdir())


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("ludens.episode", '{"name": "../../x", "meta": {"tick_hz": -1}}', "tick_hz"),
        ("ludens.episode", '{"meta": {"tick_hz": 50, "frame_size": [100000, 3]}}', "frame_size"),
        ("ludens.episode", '{"kept": {"frame": "../../../etc/passwd"}}', "is no SHA-256"),
        ("ludens.episode", "[1]", "expected an object"),
        ("ludens.asked", 9999, "asked"),
        ("ludens.frame", 77, "rows that were drawn"),
    ],
)
def test_what_others_wrote_is_checked(lossless: Path, tmp_path: Path, column: str, value: Any, why: str) -> None:
    def changed(rows: Any) -> Any:
        at = rows.column_names.index(column)
        return rows.set_column(at, rows.schema.field(at), pa.array([value] * len(rows), rows.schema.field(at).type))

    done = load(open_dataset(rewritten(lossless, tmp_path / "dataset", changed)), tmp_path / "back")
    assert done.episodes == 0
    assert why in done.skipped["0"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "back") == ["dataset"]
    assert not (tmp_path / "back").exists() or not list((tmp_path / "back").iterdir())


def test_a_rate_that_is_no_whole_number_is_rounded_and_said(tmp_path: Path) -> None:
    from tests.training.data.test_episodes import record

    class Slow(SquareWorld):
        tick_hz = 12.5

    record(tmp_path / "slow", world=Slow(6))
    done: Exported = export(sources([tmp_path / "slow"]), tmp_path / "dataset", coding="lossless")
    assert done.notes == ["the world has 12.5 ticks a second; the dataset says 12 fps"]
    load(open_dataset(tmp_path / "dataset"), tmp_path / "back")
    assert read_episode(tmp_path / "back/slow").tick_hz == 12.5

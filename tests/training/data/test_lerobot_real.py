"""The real lerobot package, in an environment of its own, loads, edits and learns from what Ludens exports."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from tests.support import lerobot_data, lerobot_env
from tests.support.components import needs
from training.data.episodes import Episode, find_episodes, read_episode
from training.data.lerobot import layout
from training.data.lerobot.dataset import open_dataset
from training.data.lerobot.export import export, sources
from training.data.lerobot.load import load

pytestmark = [needs("lerobot"), pytest.mark.slow, pytest.mark.timeout(900)]

GUEST = Path(__file__).parents[2] / "support" / "lerobot_guest.py"


@dataclass(frozen=True)
class Seen:
    """What lerobot saw of a dataset. `frames`: by video backend. `lossless`: those of the dataset that keeps them."""

    dataset: Path
    out: Path
    episodes: list[Episode]
    said: dict[str, Any]
    frames: dict[str, npt.NDArray[np.uint8]]
    lossless: npt.NDArray[np.uint8]


def run(*command: str | Path, home: Path) -> str:
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        env=lerobot_env.environment(home),
        cwd=home,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("lerobot")
    lerobot_data.record(folder / "recorded")
    lerobot_data.judge(folder / "recorded")
    export(sources([folder / "recorded"]), folder / "dataset")
    export(sources([folder / "recorded"]), folder / "lossless", coding="lossless")
    (folder / "out").mkdir()
    run(lerobot_env.PYTHON, GUEST, folder / "dataset", folder / "lossless", folder / "out", home=folder)
    said = json.loads((folder / "out" / "seen.json").read_text())
    with np.load(folder / "out" / "seen.npz") as frames:
        found = dict(frames)
    episodes = [read_episode(path) for path in find_episodes(folder / "recorded")]
    return Seen(folder / "dataset", folder / "out", episodes, said, found, found.pop("lossless"))


def test_it_loads_every_row_and_value(seen: Seen) -> None:
    said = seen.said
    assert said["version"].startswith("0.6.")
    assert (said["episodes"], said["frames"], said["tasks"], said["fps"]) == (3, 71, 4, 50)
    written = [r for p in sorted(seen.dataset.glob("data/*/*.parquet")) for r in pq.read_table(p).to_pylist()]
    tasks = {row["task_index"]: row["task"] for row in pq.read_table(seen.dataset / layout.TASKS).to_pylist()}
    info = json.loads((seen.dataset / layout.INFO).read_text())
    assert said["features"] == sorted(info["features"])
    for row, mine in zip(said["rows"], written, strict=True):
        assert set(row) == {*mine, "task"}
        assert row["task"] == tasks[mine["task_index"]]
        for name, value in mine.items():
            if isinstance(value, float) or (isinstance(value, list) and value and isinstance(value[0], float)):
                np.testing.assert_array_equal(np.float32(row[name]), np.float32(value), name)  # as torch has them
            else:
                assert row[name] == value, name
    assert said["successes"] == [0]
    assert said["windows"] == [[2, 106], [2, 3, 26, 34]]
    assert said["batch"]["action"] == [4, 106]
    assert all({"mean", "std", "min", "max", "count", "q01", "q99"} <= set(names) for names in said["stats"].values())


def test_times_are_on_the_grid_and_actions_are_those_of_the_episodes(seen: Seen) -> None:
    rows = seen.said["rows"]
    for number, episode in enumerate(seen.episodes):
        mine = [row for row in rows if row["episode_index"] == number]
        assert len(mine) == episode.meta["ticks"]
        assert max(abs(row["timestamp"] - i / 50) for i, row in enumerate(mine)) < 1e-4
        names = json.loads((seen.dataset / layout.INFO).read_text())["features"]["action"]["names"]
        for row, action in zip(mine, episode.actions(), strict=True):
            down = {n.partition(".")[2] for n, x in zip(names, row["action"], strict=True) if x == 1.0 and "." in n}
            assert down - {"there"} >= action.keys | action.buttons
            assert row["action"][names.index("look.yaw")] == pytest.approx(action.look[0], abs=1e-6)


def test_it_sees_the_frames_that_were_seen(seen: Seen) -> None:
    assert "pyav" in seen.frames
    for frames in seen.frames.values():
        np.testing.assert_array_equal(frames, seen.frames["pyav"])  # whoever decodes
        at = 0
        for episode in seen.episodes:
            shown = np.maximum(np.maximum.accumulate(episode.steps["frame"].to_numpy()), 0)
            mine = frames[at : at + len(shown), :25, :33].astype(int)
            at += len(shown)
            if episode.path.name != "hand":  # its frames are noise, which no coding keeps
                assert np.abs(mine - episode.frames()[shown]).mean() < 8.0
                order = [int(np.abs(episode.frames().astype(int) - frame).sum((1, 2, 3)).argmin()) for frame in mine]
                distinct = len(np.unique(episode.frames().reshape(episode.meta["frames"], -1), axis=0))
                assert distinct == 1 or np.abs(np.array(order) - shown).max() <= 1  # the right frame in every row


def test_lossless_frames_are_the_same_to_it(seen: Seen) -> None:
    at = 0
    for episode in seen.episodes:
        shown = np.maximum(np.maximum.accumulate(episode.steps["frame"].to_numpy()), 0)
        np.testing.assert_array_equal(seen.lossless[at : at + len(shown), :25, :33], episode.frames()[shown])
        at += len(shown)


def test_what_its_tools_edit_comes_back(seen: Seen, tmp_path: Path) -> None:
    assert (seen.said["edited"], seen.said["joined"]) == (31, 142)  # without the second of 30, 40 and 1; all twice
    done = load(open_dataset(seen.out / "edited"), tmp_path / "edited")
    assert (done.episodes, done.skipped) == (2, {})
    hand = next(episode for episode in seen.episodes if episode.path.name == "hand")
    again = read_episode(tmp_path / "edited" / "a--hand")
    assert again.steps.equals(hand.steps)
    assert again.outcome == hand.outcome
    assert done.lost["looks.parquet"] == 1
    twice = load(open_dataset(seen.out / "joined"), tmp_path / "joined")
    assert (twice.episodes, twice.ticks, twice.skipped) == (6, 142, {})
    assert read_episode(tmp_path / "joined" / "a--told-2").actions() == seen.episodes[1].actions()


def test_one_of_its_policies_learns_from_it(seen: Seen, tmp_path: Path) -> None:
    said = run(
        lerobot_env.FOLDER / "bin" / "lerobot-train", "--dataset.repo_id=local/ludens",
        f"--dataset.root={seen.dataset}", "--dataset.video_backend=pyav", "--policy.type=act",
        "--policy.push_to_hub=false", "--policy.device=cpu", "--policy.pretrained_backbone_weights=null",
        "--policy.dim_model=64", "--policy.dim_feedforward=64", "--policy.n_heads=2", "--policy.chunk_size=8",
        "--policy.n_action_steps=8", "--steps=2", "--batch_size=2", "--num_workers=0", "--log_freq=1",
        f"--output_dir={tmp_path / 'trained'}", "--wandb.enable=false",
        home=tmp_path,
    )  # fmt: skip
    losses = [float(word.removeprefix("l1_loss:")) for word in said.split() if word.startswith("l1_loss:")]
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    config = json.loads((tmp_path / "trained/checkpoints/last/pretrained_model/config.json").read_text())
    assert config["output_features"]["action"]["shape"] == [106]
    assert set(config["input_features"]) == {layout.PIXELS, layout.STATE}

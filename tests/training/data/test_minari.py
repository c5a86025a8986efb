"""Episodes as a dataset of Minari, which reads them itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from agent.cli import app
from envs.action_vector import COLUMNS, from_vectors
from envs.errors import UserError
from tests.support import lerobot_data
from training.data.dataset import load_decisions
from training.data.episodes import find_episodes, read_episode
from training.data.minari_export import export

minari = pytest.importorskip("minari")
NAME = "ludens/squares-v0"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    lerobot_data.record(folder)
    return folder


def test_minari_reads_what_was_recorded(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["export", "minari", str(recorded), "--name", NAME, "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.exception
    said = json.loads(done.stdout)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset: Any = minari.load_dataset(NAME)
    paths = [path for path in find_episodes(recorded) if read_episode(path).meta["decisions"]]
    assert (said["episodes"], said["steps"]) == (len(paths), dataset.total_steps)
    assert set(said["skipped"].values()) <= {"it has no decision"}
    assert dataset.total_episodes == len(paths)
    for path, mine in zip(paths, dataset.iterate_episodes(), strict=True):
        episode = read_episode(path)
        decisions = load_decisions(episode)
        assert mine.observations["pixels"].shape == (len(decisions) + 1, *episode.meta["frame_size"], 3)
        assert np.array_equal(mine.observations["pixels"][:-1], decisions.frames)
        assert tuple(mine.observations["instruction"][:-1]) == decisions.instructions
        assert mine.actions["vectors"].shape[2] == len(COLUMNS)
        for vectors, ticks, chunk in zip(
            mine.actions["vectors"], mine.actions["ticks"], decisions.actions, strict=True
        ):
            again = from_vectors(vectors[:ticks])
            assert [one.keys for one in again] == [one.keys for one in chunk]
            assert not vectors[ticks:].any()
        assert mine.rewards.sum() == mine.rewards[-1] == float(bool(episode.success))
        assert mine.terminations[-1] != mine.truncations[-1]
        assert not (mine.terminations | mine.truncations)[:-1].any()


def test_what_can_not_be_exported_is_said(recorded: Path, tmp_path: Path) -> None:
    export([recorded], NAME, tmp_path)
    with pytest.raises(UserError, match="is there already"):
        export([recorded], NAME, tmp_path)
    with pytest.raises(UserError, match="ludens/doom-basic-v0"):
        export([recorded], "squares", tmp_path)
    with pytest.raises(UserError, match="agent record"):
        export([tmp_path / "nothing"], "ludens/none-v0", tmp_path)
    shutil.copytree(recorded, damaged := tmp_path / "damaged")
    for path in find_episodes(damaged):
        (path / "steps.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match="no episode can be exported"):
        export([damaged], "ludens/damaged-v0", tmp_path)
    assert not (tmp_path / "ludens" / "damaged-v0").exists()

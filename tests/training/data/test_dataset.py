"""The dataset: decisions by number and in sequences, the same order for the same seed, damage set aside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from agent.loop.players import ScriptedPlayer
from agent.loop.runtime import play
from agent.policy import Decision, PolicySpec
from envs.action import Action
from tests.support.worlds import SquareWorld
from training.data.dataset import EpisodeDataset, TorchEpisodes
from training.data.episodes import EpisodeError, Recorder, read_episode

LENGTHS = (10, 7, 4, 13)  # ticks; with chunks of 4 these are 3, 2, 1 and 4 decisions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for n, length in enumerate(LENGTHS):
        script = ScriptedPlayer(
            lambda state: Decision(tuple(Action(look=(float(i), state["x"])) for i in range(4))),
            spec=PolicySpec(chunk=4),
        )
        play(
            SquareWorld(length=length),
            script,
            f"go {n}",
            seed=n,
            subscribers=[Recorder(tmp_path / f"part-{n % 2}" / f"{n}", durable=False)],
            annotate=lambda state: {"x": np.int16(state["x"])},
            observe="decision",
        )
    return tmp_path


def test_every_decision_has_its_frame_instruction_chunk_and_annotations(root: Path) -> None:
    dataset = EpisodeDataset([root / "part-0", root / "part-1"])
    assert len(dataset) == 10
    at = 0
    for n in (0, 2, 1, 3):
        episode = read_episode(root / f"part-{n % 2}" / f"{n}")
        frames, actions = episode.frames(), episode.actions()
        for k in range(-(-LENGTHS[n] // 4)):
            moment = dataset[at]
            np.testing.assert_array_equal(moment.frame, frames[k])
            assert moment.instruction == f"go {n}"
            assert moment.actions == tuple(actions[4 * k : 4 * k + 4])
            assert moment.actions[0].look[1] == moment.extras["x"]
            at += 1
    assert dataset[-1].actions == moment.actions
    for index in (10, -11):
        with pytest.raises(IndexError):
            dataset[index]


def test_windows_stay_in_their_episode_and_mask_what_is_beyond(root: Path) -> None:
    dataset = EpisodeDataset(root)  # in order of path: 0, 2, 1, 3
    window = dataset.window(1, 4)
    assert window.mask.tolist() == [True, True, False, False]
    assert [len(chunk) for chunk in window.actions] == [4, 2, 0, 0]
    assert window.instructions == ("go 0", "go 0", "", "")
    np.testing.assert_array_equal(window.frames[0], dataset[1].frame)
    assert not window.frames[2:].any()
    history = dataset.history(1, 4)
    assert history.mask.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(history.frames[3], dataset[1].frame)
    assert history.extras["x"].tolist() == [0, 0, dataset[0].extras["x"], dataset[1].extras["x"]]
    assert dataset.history(3, 3).mask.tolist() == [False, False, True]  # episode 2 has one decision
    assert dataset.window(6, 4).mask.all()


def test_the_order_is_the_seed_s_and_holds_everything_once(root: Path) -> None:
    dataset = EpisodeDataset(root)
    for together in (1, 2, 32):
        order = dataset.order(3, together=together)
        assert sorted(order) == list(range(10))
        assert order.tolist() == EpisodeDataset(root).order(3, together=together).tolist()
    assert len({tuple(dataset.order(seed)) for seed in range(5)}) == 5
    episode_of = np.searchsorted(dataset.starts, dataset.order(0, together=1), side="right")
    assert len(np.flatnonzero(np.diff(episode_of))) == 3  # one after the other


@pytest.mark.parametrize("cache", [True, False])
def test_each_episode_is_decoded_once_while_there_is_room(root: Path, cache: bool) -> None:
    dataset = EpisodeDataset(root, cache=cache, recent=1)
    first = dataset.decisions(0)
    assert dataset.decisions(0) is first
    dataset.decisions(1)
    assert (dataset.decisions(0) is first) == cache


def test_episodes_can_be_chosen_by_their_meta(root: Path) -> None:
    assert len(EpisodeDataset(root, keep=lambda meta: meta["instruction"] == "go 3")) == 4
    with pytest.raises(EpisodeError, match="no episode with a decision"):
        EpisodeDataset(root, keep=lambda meta: False)


def test_damaged_episodes_are_set_aside_and_reading_goes_on(root: Path, caplog: Any) -> None:
    meta = root / "part-0" / "0" / "episode.json"
    meta.write_bytes(meta.read_bytes().replace(b"go 0", b"go 9"))
    dataset = EpisodeDataset(root)
    assert len(dataset) == 7
    assert (root / "part-0" / "quarantine" / "0").is_dir()
    assert f"{meta}: is not as it was written" in caplog.text

    video = root / "part-1" / "1" / "video.mp4"
    data = bytearray(video.read_bytes())
    data[len(data) // 2] ^= 1
    video.write_bytes(data)
    instructions = [dataset[i].instruction for i in range(7)]
    assert instructions == ["go 2", "go 3", "go 3", "go 3", "go 3", "go 3", "go 3"]
    assert f"{video}: its {len(data)} bytes are not those that were written" in caplog.text
    assert [dataset[i].instruction for i in range(7)] == instructions
    assert len(EpisodeDataset(root)) == 5

    for path in (root / "part-0" / "2", root / "part-1" / "3"):
        (path / "steps.parquet").unlink()
    dataset = EpisodeDataset(root)
    with pytest.raises(EpisodeError, match=r"every episode under .* is damaged"):
        dataset[0]


def _encode(dataset: EpisodeDataset, index: int) -> tuple[np.ndarray, float]:
    moment = dataset[index]
    return moment.frame, moment.actions[0].look[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_reads_it(root: Path, workers: int) -> None:
    loader = DataLoader(TorchEpisodes(EpisodeDataset(root), _encode), batch_size=4, num_workers=workers)
    batches = list(loader)
    assert [tuple(frames.shape) for frames, _ in batches] == [(4, 24, 32, 3), (4, 24, 32, 3), (2, 24, 32, 3)]
    looks = [look for _, batch in batches for look in batch.tolist()]
    assert looks == [float(EpisodeDataset(root)[i].extras["x"]) for i in range(10)]

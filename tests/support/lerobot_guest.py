"""What lerobot makes of a dataset, run by the Python that has it: python lerobot_guest.py DATASET LOSSLESS OUT.

Loads every row with each video backend that works, uses LeRobot's own tools to delete and to join episodes, and writes
what it saw to OUT/seen.npz and OUT/seen.json. Of LOSSLESS, the same data with lossless frames, it loads the frames.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lerobot
import numpy as np
import torch
from lerobot.datasets.dataset_tools import delete_episodes, merge_datasets
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.utils.collate import lerobot_collate_fn

PIXELS = "observation.images.pixels"


def _backends():
    yield "pyav"
    try:  # it needs the system's FFmpeg
        import torchcodec  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        return
    yield "torchcodec"


def _plain(value):
    return value.tolist() if isinstance(value, torch.Tensor) else value


def main(root: Path, lossless: Path, out: Path) -> None:
    frames, rows, backends = {}, [], list(_backends())
    for backend in backends:
        dataset = LeRobotDataset("local/ludens", root=root, video_backend=backend, return_uint8=True)
        items = [dataset[i] for i in range(len(dataset))]
        frames[backend] = np.stack([item[PIXELS].permute(1, 2, 0).numpy() for item in items])
        rows = [{name: _plain(value) for name, value in item.items() if name != PIXELS} for item in items]
    later = LeRobotDataset(
        "local/ludens",
        root=root,
        video_backend="pyav",
        delta_timestamps={"action": [0.0, 1 / dataset.fps], PIXELS: [-1 / dataset.fps, 0.0]},
    )
    exact = LeRobotDataset("local/lossless", root=lossless, video_backend="pyav", return_uint8=True)
    frames["lossless"] = np.stack([exact[i][PIXELS].permute(1, 2, 0).numpy() for i in range(len(exact))])
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, collate_fn=lerobot_collate_fn)
    batch = next(iter(loader))
    edited = delete_episodes(dataset, [1], output_dir=out / "edited", repo_id="local/edited")
    joined = merge_datasets([dataset, dataset], output_repo_id="local/joined", output_dir=out / "joined")
    seen = {
        "version": lerobot.__version__,
        "backends": backends,
        "rows": rows,
        "fps": dataset.fps,
        "episodes": dataset.num_episodes,
        "frames": dataset.num_frames,
        "tasks": dataset.meta.total_tasks,
        "features": sorted(dataset.features),
        "stats": {name: sorted(values) for name, values in dataset.meta.stats.items()},
        "successes": dataset.meta.filter_episodes(lambda episode: episode["ludens.success"] is True),
        "windows": [list(later[3]["action"].shape), list(later[3][PIXELS].shape)],
        "batch": {name: list(value.shape) for name, value in batch.items() if isinstance(value, torch.Tensor)},
        "edited": edited.num_frames,
        "joined": joined.num_frames,
    }
    (out / "seen.json").write_text(json.dumps(seen))
    np.savez(out / "seen.npz", **frames)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

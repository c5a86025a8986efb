"""A corpus: annotated episodes decoded once into arrays on disk, which training processes share by mapping them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from training.dataset import load_decisions
from training.episodes import DamagedEpisodeError, find_episodes, read_episode
from training.repair import quarantine

_NAMES = ("cells", "queries", "places", "tokens")


@dataclass(frozen=True)
class Corpus:
    """Annotated frames. `frames` uint8 (N, H, W, 3); `cells`, `queries`, `places`, `tokens` as training.annotate
    makes them, with N in front."""

    frames: npt.NDArray[np.uint8]
    cells: npt.NDArray[np.uint8]
    queries: npt.NDArray[np.uint8]
    places: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """The corpus that `build` wrote."""
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("frames", *_NAMES)))


def build(
    episodes: Path, out: Path, *, workers: int = 2, told: Callable[[int, int], None] = lambda n, of: None
) -> Corpus:
    """Decode all annotated episodes under `episodes` into `out`, whole or not at all.

    Damaged episodes are set aside with a message. `told(done, total)` hears of progress, in episodes.
    """
    if out.exists():
        return Corpus.open(out)
    paths = find_episodes(episodes)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    sizes = [read_episode(path).meta["decisions"] for path in paths]
    total, first = sum(sizes), np.cumsum([0, *sizes])
    if total == 0:
        raise ValueError(f"{episodes}: no annotated episodes")
    sample = load_decisions(read_episode(paths[0]))
    shapes = {"frames": sample.frames.shape[1:], **{name: sample.extras[name].shape[1:] for name in _NAMES}}
    for name, shape in shapes.items():
        np.lib.format.open_memmap(part / f"{name}.npy", "w+", np.uint8, (total, *shape)).flush()
    bad: list[tuple[int, int]] = []
    chunks = [range(i, min(i + 100, len(paths))) for i in range(0, len(paths), 100)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [[(str(paths[i]), int(first[i]), int(sizes[i])) for i in chunk] for chunk in chunks]
        for number, result in enumerate(pool.map(_decode, [str(part)] * len(jobs), jobs)):
            bad += result
            told(chunks[number].stop, len(paths))
    if sum(size for _, size in bad) == total:
        raise ValueError(f"{episodes}: every episode is damaged; they were set aside")
    if bad:
        _cut(part, bad)
    (part / "corpus.json").write_text(json.dumps({"episodes": len(paths) - len(bad), "frames": total}))
    os.rename(part, out)
    return Corpus.open(out)


def _decode(part: str, jobs: list[tuple[str, int, int]]) -> list[tuple[int, int]]:
    """Write some episodes to their places; the places of those that are damaged."""
    arrays = {name: np.load(Path(part) / f"{name}.npy", mmap_mode="r+") for name in ("frames", *_NAMES)}
    bad = []
    for path, first, size in jobs:
        try:
            decisions = load_decisions(read_episode(path))
            values: dict[str, Any] = {"frames": decisions.frames, **decisions.extras}
            for name, array in arrays.items():
                array[first : first + size] = values[name][:size]
        except (DamagedEpisodeError, KeyError, ValueError) as error:
            if isinstance(error, DamagedEpisodeError):
                quarantine(Path(path), str(error))
            bad.append((first, size))
    return bad


def _cut(part: Path, bad: list[tuple[int, int]]) -> None:
    """Take the empty places of damaged episodes out of all arrays."""
    for name in ("frames", *_NAMES):
        array = np.load(part / f"{name}.npy")
        keep = np.ones(len(array), bool)
        for first, size in bad:
            keep[first : first + size] = False
        np.save(part / f"{name}.npy", array[keep])

"""A corpus: annotated episodes decoded once into arrays on disk, which training processes share by mapping them."""

from __future__ import annotations

import json
import mmap
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agent import doom_codec as codec
from agent.small.place import read_place
from training.data.dataset import Decisions, load_decisions
from training.data.episodes import DamagedEpisodeError, find_episodes, read_episode
from training.data.repair import quarantine
from training.recipe import OnProgress, Progress, ignore_progress
from training.small.lesson_world import word_ids
from training.workers.hire import hire
from training.workers.workers import Failed

_NOTED = ("cells", "scene", "advice", "thought", "speech", "queries", "places", "tokens", "way")
_LATER = "way"  # what older episodes and corpora do not have: then nobody was told a way
AHEAD = 4  # batches that frames are fetched ahead of
_PORTION = 100  # episodes that a worker decodes at once
_MADE = ("frames", "acted", "acted_thought", "episode", "start")


@dataclass(frozen=True)
class Corpus:
    """Annotated frames, N in all, in the order in which they were played.

    `frames` uint8 (N, H, W, 3). `cells`, `scene`, `advice`, `thought`, `speech`, `queries`, `places`, `tokens`: as
    training.small.lesson_world.LessonWorld.annotate makes them, with N in front. `acted` uint8 (N, 6) and
    `acted_thought` uint16 (N, WORDS): place and actions of the decision that was carried out, and its thought.
    `way` uint8 (N, 1): which of agent.sight.DIRECTIONS the player was told, counted from 1; 0 for none.
    `start` int32 (N,): the first frame of the same episode. `episode` int32 (N,): its row in `instructions`.
    `advised`: whether advice, thoughts and speech are to be learned; an episode of a mere walk has none. `world`: the
    world of all episodes.
    """

    frames: npt.NDArray[np.uint8]
    acted: npt.NDArray[np.uint8]
    acted_thought: npt.NDArray[np.uint16]
    episode: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    cells: npt.NDArray[np.uint8]
    scene: npt.NDArray[np.uint8]
    advice: npt.NDArray[np.uint8]
    thought: npt.NDArray[np.uint16]
    speech: npt.NDArray[np.uint16]
    queries: npt.NDArray[np.uint8]
    places: npt.NDArray[np.uint8]
    tokens: npt.NDArray[np.uint8]
    way: npt.NDArray[np.uint8]
    instructions: list[str]
    advised: bool = True
    world: str = "doom"

    def __len__(self) -> int:
        return len(self.frames)

    def fetch(self, rows: npt.NDArray[np.int64]) -> None:
        """Have the frames of some rows read from disk in the background: they will be wanted soon."""
        array = self.frames
        if not isinstance(array, np.memmap) or not hasattr(mmap, "MADV_WILLNEED"):
            return
        size = array.strides[0]
        for row in rows.tolist():
            first = array.offset % mmap.ALLOCATIONGRANULARITY + row * size
            aligned = first // mmap.PAGESIZE * mmap.PAGESIZE
            array._mmap.madvise(  # type: ignore[attr-defined]
                mmap.MADV_WILLNEED, aligned, first + size - aligned
            )

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """The corpus that `build` wrote."""
        there = [name for name in (*_MADE, *_NOTED) if name != _LATER or (folder / f"{name}.npy").exists()]
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in there}
        arrays.setdefault(_LATER, np.zeros((len(arrays["start"]), 1), np.uint8))
        # what is taken row by row comes sooner from plain arrays
        arrays |= {name: np.asarray(array) for name, array in arrays.items() if name != "frames"}
        summary = json.loads((folder / "corpus.json").read_text())
        return cls(
            **arrays, instructions=summary["instructions"], advised=summary["advised"],
            world=summary.get("world", "doom"),
        )  # fmt: skip


def build(
    episodes: Path,
    out: Path,
    *,
    advised: bool = True,
    workers: str | int = 2,
    on_progress: OnProgress = ignore_progress,
) -> Corpus:
    """Decode all annotated episodes under `episodes` into `out`, whole or not at all. `advised` as in Corpus.

    Damaged episodes are set aside with a message. Progress counts episodes.
    """
    if out.exists():
        return Corpus.open(out)
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    paths, metas, sample = _usable(find_episodes(episodes))
    sizes = [meta["decisions"] for meta in metas]
    total, first = sum(sizes), np.cumsum([0, *sizes])
    if not sample:
        raise ValueError(f"{episodes}: no annotated episodes")
    played = sorted({meta["task"]["world"] for meta in metas})
    if len(played) > 1:
        raise ValueError(f"{episodes}: a corpus is of one world, and these are of {' and '.join(played)}")
    for name, value in sample.items():
        np.lib.format.open_memmap(part / f"{name}.npy", "w+", value.dtype, (total, *value.shape[1:])).flush()
    bad: list[tuple[int, int]] = []
    places = [_Place(path, i, int(first[i]), int(sizes[i])) for i, path in enumerate(paths)]
    jobs = [places[i : i + _PORTION] for i in range(0, len(places), _PORTION)]
    done = 0
    with hire(partial(_Decoder, part), workers, most=len(jobs)) as crew:
        for job, result in crew.run(jobs):
            if isinstance(result, Failed):
                raise RuntimeError(f"{job[0].episode} to {job[-1].episode}: {result.error}")
            bad += result
            done += len(job)
            on_progress(Progress("decode", done, len(paths)))
    if sum(size for _, size in bad) == total:
        raise ValueError(f"{episodes}: every episode is damaged; they were set aside")
    if bad:
        _cut(part, bad)
    instructions = [meta["task"]["instruction"] for meta in metas]
    summary = {
        "episodes": len(paths) - len(bad), "frames": total, "instructions": instructions, "advised": advised,
        "world": played[0],
    }  # fmt: skip
    (part / "corpus.json").write_text(json.dumps(summary))
    os.rename(part, out)
    return Corpus.open(out)


def _usable(paths: Sequence[Path]) -> tuple[list[Path], list[dict[str, Any]], dict[str, npt.NDArray[Any]]]:
    """Of some episodes those that have a task, with what they say of themselves, and the arrays of the first one that
    can be read. Damaged ones are set aside."""
    good: list[Path] = []
    metas: list[dict[str, Any]] = []
    sample: dict[str, npt.NDArray[Any]] = {}
    for path in paths:
        try:
            episode = read_episode(path)
            if episode.task is None or not episode.meta["decisions"]:
                continue
            sample = sample or _arrays(load_decisions(episode), 0, 0)
        except (DamagedEpisodeError, KeyError, ValueError) as error:
            if isinstance(error, DamagedEpisodeError):
                quarantine(path, str(error))
            continue
        good.append(path)
        metas.append(episode.meta)
    return good, metas, sample


def _arrays(decisions: Decisions, number: int, first: int) -> dict[str, npt.NDArray[Any]]:
    """An episode's part of every array. `number`: its row; `first`: where its frames begin."""
    n = len(decisions)
    noted = {_LATER: np.zeros((n, 1), np.uint8), **decisions.extras}
    out: dict[str, npt.NDArray[Any]] = {name: np.asarray(noted[name])[:n] for name in _NOTED}
    acted = np.zeros((n, out["advice"].shape[1]), np.uint8)
    thoughts = np.zeros_like(out["thought"])
    for i, (actions, thought, actor) in enumerate(
        zip(decisions.actions, decisions.thoughts, decisions.actors, strict=True)
    ):
        acted[i, 2:] = codec.encode(actions)
        if actor == "agent":
            words, place = read_place(thought)
            acted[i, :2], thoughts[i] = place, word_ids(words)
        else:  # a disturbance moves the body, not the mind
            acted[i, :2], thoughts[i] = out["advice"][i, :2], out["thought"][i]
    return {
        **out,
        "frames": decisions.frames,
        "acted": acted,
        "acted_thought": thoughts,
        "episode": np.full(n, number, np.int32),
        "start": np.full(n, first, np.int32),
    }


@dataclass(frozen=True)
class _Place:
    """Where an episode belongs: its row in `instructions`, and its `size` frames from `first` on."""

    episode: Path
    number: int
    first: int
    size: int


class _Decoder:
    """A Worker that writes episodes to their places in the arrays."""

    def __init__(self, part: Path) -> None:
        self._arrays = {name: np.load(part / f"{name}.npy", mmap_mode="r+") for name in (*_MADE, *_NOTED)}

    def work(self, job: Sequence[_Place]) -> list[tuple[int, int]]:
        """Decode some episodes; first frame and size of those that are damaged, which are set aside."""
        bad = []
        for place in job:
            try:
                values = _arrays(load_decisions(read_episode(place.episode)), place.number, place.first)
                for name, array in self._arrays.items():
                    array[place.first : place.first + place.size] = values[name]
            except (DamagedEpisodeError, KeyError, ValueError) as error:
                if isinstance(error, DamagedEpisodeError):
                    quarantine(place.episode, str(error))
                bad.append((place.first, place.size))
        return bad

    def close(self) -> None:
        """The arrays are written when the process ends, if not before."""


def _cut(part: Path, bad: list[tuple[int, int]]) -> None:
    """Take the empty places of damaged episodes out of all arrays."""
    keep = np.ones(len(np.load(part / "start.npy", mmap_mode="r")), bool)
    for first, size in bad:
        keep[first : first + size] = False
    moved = np.cumsum(keep, dtype=np.int32) - 1
    for name in (*_MADE, *_NOTED):
        array = np.load(part / f"{name}.npy")[keep]
        np.save(part / f"{name}.npy", moved[array] if name == "start" else array)

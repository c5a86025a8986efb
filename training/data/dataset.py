"""`EpisodeDataset`: the decisions of many recorded episodes, by number or in sequences. Needs no torch."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from envs.action import Action
from training.data.episodes import DamagedEpisodeError, Episode, EpisodeError, find_episodes, read_episode
from training.data.repair import quarantine

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    _TorchDataset = Dataset[Any]
else:  # a DataLoader asks for nothing but the two methods, so that torch need not be there
    _TorchDataset = object

logger = logging.getLogger(__name__)

Chunk = tuple[Action, ...]


@dataclass(frozen=True)
class Moment:
    """One decision: the `frame` it was made on, uint8 (H, W, 3), the `instruction` of that time, and the `actions` that
    were carried out until the next one. `extras`: the annotations made at that tick, by name."""

    frame: npt.NDArray[np.uint8]
    instruction: str
    actions: Chunk
    extras: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Window:
    """T decisions in a row of one episode: `frames` uint8 (T, H, W, 3), T instructions, T chunks, `extras` (T, ...).

    `mask`, bool (T,): which of them are there; the others are beyond the episode and hold zeros, "" and ().
    """

    frames: npt.NDArray[np.uint8]
    instructions: tuple[str, ...]
    actions: tuple[Chunk, ...]
    extras: Mapping[str, npt.NDArray[Any]]
    mask: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Decisions:
    """All decisions of one episode, decoded: the fields of `Window` without padding, what was thought, who acted, and
    where it came from."""

    episode: Episode
    frames: npt.NDArray[np.uint8]
    instructions: tuple[str, ...]
    actions: tuple[Chunk, ...]
    thoughts: tuple[str, ...]
    actors: tuple[str, ...]
    extras: Mapping[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.actions)


def load_decisions(episode: Episode) -> Decisions:
    """Decode an episode's decisions. Raises DamagedEpisodeError."""
    steps = episode.steps
    # Ticks count from 0, so that a tick is a row. A decision belongs to the tick it was asked for.
    asked = np.unique(steps["asked"].to_numpy())
    asked = asked[asked >= 0]
    bounds = [*asked.tolist(), len(steps)]
    actions, instructions = episode.actions(), steps["instruction"].to_pylist()
    thoughts, actors = steps["thought"].to_pylist(), steps["actor"].to_pylist()
    drawn = np.maximum.accumulate(steps["frame"].to_numpy())  # a tick that was not drawn gets the last drawn frame
    extras = episode.extras()
    made = extras.pop("tick", np.empty(0, np.int32))
    if extras and not np.isin(asked, made).all():
        raise DamagedEpisodeError(episode.path, "there are decisions without annotations")
    rows = np.searchsorted(made, asked)
    return Decisions(
        episode=episode,
        frames=episode.frames()[drawn[asked]],
        instructions=tuple(instructions[tick] for tick in asked),
        actions=tuple(tuple(actions[a:b]) for a, b in pairwise(bounds)),
        thoughts=tuple(thoughts[tick] for tick in asked),
        actors=tuple(actors[tick] for tick in asked),
        extras={name: values[rows] for name, values in extras.items()},
    )


class EpisodeDataset:
    """The decisions of all episodes under `roots`, numbered through in order of name: `dataset[i]` is a `Moment`.

    `keep`: which episodes count, by their episode.json; all by default. `cache`: keep every episode decoded in memory,
    otherwise the last `recent` ones; see `order`. Files are checked as they are read. A damaged episode is set aside
    with a message, here or later, and its decisions are then answered with those of the episodes that follow it.
    Raises EpisodeError if nothing is left.
    """

    def __init__(
        self,
        roots: Path | str | Sequence[Path | str],
        *,
        keep: Callable[[Mapping[str, Any]], bool] = lambda meta: True,
        cache: bool = False,
        recent: int = 64,
    ) -> None:
        self.roots = (roots,) if isinstance(roots, str | Path) else tuple(roots)
        self.episodes: list[Episode] = []
        self._bad: set[int] = set()
        self._loaded: OrderedDict[int, Decisions] = OrderedDict()
        self._room = None if cache else max(1, recent)
        for path in find_episodes(*self.roots):
            try:
                episode = read_episode(path)
            except DamagedEpisodeError as error:
                quarantine(path, str(error))
                continue
            if episode.meta["decisions"] and keep(episode.meta):
                self.episodes.append(episode)
        self.starts = np.cumsum([0, *(episode.meta["decisions"] for episode in self.episodes)])
        if not self.episodes:
            raise EpisodeError(f"no episode with a decision under {', '.join(map(str, self.roots))}")

    def __len__(self) -> int:
        """How many decisions there are."""
        return int(self.starts[-1])

    def __getitem__(self, index: int) -> Moment:
        decisions, at = self._find(index)
        extras = {name: values[at] for name, values in decisions.extras.items()}
        return Moment(decisions.frames[at], decisions.instructions[at], decisions.actions[at], extras)

    def window(self, index: int, length: int) -> Window:
        """The `length` decisions from `index` on; those beyond the episode's end are masked."""
        decisions, at = self._find(index)
        return _gather(decisions, at, length)

    def history(self, index: int, length: int) -> Window:
        """The `length` decisions up to `index`, which is the last; those before the episode's start are masked."""
        decisions, at = self._find(index)
        return _gather(decisions, at - length + 1, length)

    def order(self, seed: int, *, together: int = 32) -> npt.NDArray[np.int64]:
        """All indices, shuffled the same way for the same seed.

        The episodes are shuffled into groups of `together`, and the decisions within each group: at most so many
        episodes are in use at a time, and each is decoded once in a pass if `recent` is no less.
        """
        rng = np.random.default_rng(seed)
        episodes = rng.permutation(len(self.episodes))
        groups = [episodes[i : i + together] for i in range(0, len(episodes), together)]
        shuffled = [np.concatenate([np.arange(self.starts[k], self.starts[k + 1]) for k in group]) for group in groups]
        return np.concatenate([rng.permutation(group) for group in shuffled])

    def decisions(self, number: int) -> Decisions:
        """All decisions of episode `number`. Raises DamagedEpisodeError, and has set the episode aside then."""
        if number in self._loaded:
            self._loaded.move_to_end(number)
            return self._loaded[number]
        episode = self.episodes[number]
        try:
            if number in self._bad:
                raise DamagedEpisodeError(episode.path, "was set aside before")
            # A new Episode, so that the bytes of its files are freed with it.
            loaded = load_decisions(Episode(episode.path, episode.meta))
            if len(loaded) != episode.meta["decisions"]:
                raise DamagedEpisodeError(episode.path, "its decisions are not those that episode.json counts")
        except DamagedEpisodeError as error:
            if number not in self._bad:
                self._bad.add(number)
                quarantine(episode.path, str(error))
            raise
        self._loaded[number] = loaded
        if self._room is not None and len(self._loaded) > self._room:
            self._loaded.popitem(last=False)
        return loaded

    def _find(self, index: int) -> tuple[Decisions, int]:
        """The episode that holds `index`, and where in it; of a damaged one, a decision of the next good one."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"decision {index} of {len(self)}")
        index %= len(self)
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        at = index - int(self.starts[number])
        for step in range(len(self.episodes)):
            try:
                decisions = self.decisions((number + step) % len(self.episodes))
            except DamagedEpisodeError:
                continue
            return decisions, at % len(decisions)
        raise EpisodeError(f"every episode under {', '.join(map(str, self.roots))} is damaged")


def _gather(decisions: Decisions, start: int, length: int) -> Window:
    """`length` decisions from `start` on, which may reach beyond either end."""
    inside = [i for i in range(start, start + length) if 0 <= i < len(decisions)]
    first = inside[0] - start if inside else 0
    there = slice(first, first + len(inside))

    def padded(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        out = np.zeros((length, *values.shape[1:]), values.dtype)
        out[there] = values[inside]
        return out

    def padded_list(values: Sequence[Any], pad: Any) -> tuple[Any, ...]:
        return (*[pad] * first, *(values[i] for i in inside), *[pad] * (length - first - len(inside)))

    return Window(
        frames=padded(decisions.frames),
        instructions=padded_list(decisions.instructions, ""),
        actions=padded_list(decisions.actions, ()),
        extras={name: padded(values) for name, values in decisions.extras.items()},
        mask=padded(np.ones(len(decisions), np.bool_)),
    )


class TorchEpisodes(_TorchDataset):
    """A torch map-style Dataset whose item i is `encode(dataset, i)`: tensors, or what its collate function takes."""

    def __init__(self, dataset: EpisodeDataset, encode: Callable[[EpisodeDataset, int], Any]) -> None:
        self.dataset = dataset
        self.encode = encode

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.encode(self.dataset, index)

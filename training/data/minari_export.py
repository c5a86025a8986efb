"""`export`: recorded episodes as a dataset of Minari, Gymnasium's format for offline reinforcement learning.

A step is a decision: the frame that it was made on and the instruction, what was done until the next one, a reward of 1
for the last step of a success and 0 otherwise. Minari itself writes, in its Arrow format, without loss.
"""

from __future__ import annotations

import os
import re
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from envs import extras
from envs.action_vector import COLUMNS, to_vectors
from envs.errors import UserError
from training.data.dataset import load_decisions
from training.data.episodes import DamagedEpisodeError, Episode, find_episodes, read_episode

_NAME = re.compile(r"([\w-]+/)*[\w-]+-v\d+")
_PRINTABLE = "".join(map(chr, range(32, 127)))
_ROOT = "MINARI_DATASETS_PATH"


@dataclass
class Exported:
    """What an export wrote, in `folder`. `skipped`: why, by the path of the episode."""

    name: str
    folder: Path
    episodes: int = 0
    steps: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


def export(
    roots: Sequence[Path],
    name: str,
    out: Path | None = None,
    *,
    successes: bool = False,
    on_episode: Callable[[int, int], None] = lambda done, of: None,
) -> Exported:
    """Write the episodes under `roots` as the Minari dataset `name`, such as ludens/doom-basic-v0.

    `out`: the folder that holds datasets; Minari's own by default. `successes`: whether those alone are written that
    are known to succeed. An episode that is damaged or has no decision is skipped. Raises UserError for a name that
    Minari can't take, for a dataset that is there, and where no episode is left or their frames differ in size.
    """
    extras.require("export minari", "minari")
    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name}: expected a name with a version, such as ludens/doom-basic-v0")
    with _datasets(out):
        import minari
        from minari.storage import get_dataset_path

        folder = Path(get_dataset_path(name))
        if folder.exists():
            raise UserError(f"{folder}: is there already; name another dataset, or remove it")
        done = Exported(name, folder)
        paths = list(find_episodes(*roots))
        chosen = [one for path in paths if (one := _readable(path, successes, done)) is not None]
        if not chosen:
            why = next(iter(done.skipped.values()), "there is none; agent record --out DIR makes some")
            raise UserError(f"no episode can be exported: {why}")
        space, longest = _spaces(chosen)
        players = sorted({str(one.meta.get("actor", "unknown")) for one in chosen})
        try:
            with warnings.catch_warnings(action="ignore"):  # of an environment that it could make: there is none
                minari.create_dataset_from_buffers(
                    name, _buffers(chosen, longest, done, on_episode), observation_space=space["observation"],
                    action_space=space["action"], data_format="arrow", jpeg_encoding=False,
                    algorithm_name=", ".join(players), author="Ludens", author_email="", code_permalink="",
                    description=_about(longest),
                )  # fmt: skip
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return done


@contextmanager
def _datasets(out: Path | None) -> Iterator[None]:
    """Minari looks for its datasets in `out`."""
    before = os.environ.get(_ROOT)
    if out is not None:
        os.environ[_ROOT] = str(out.resolve())
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_ROOT, None)
        else:
            os.environ[_ROOT] = before


def _readable(path: Path, successes: bool, done: Exported) -> Episode | None:
    """An episode to export; None if it is skipped."""
    try:
        episode = read_episode(path)
        episode.verify()
    except DamagedEpisodeError as error:
        done.skipped[str(path)] = str(error)
        return None
    if not episode.meta["decisions"]:
        done.skipped[str(path)] = "it has no decision"
    elif successes and not episode.success:
        done.skipped[str(path)] = "it is not known to succeed"
    else:
        return episode
    return None


def _spaces(episodes: Sequence[Episode]) -> tuple[dict[str, gymnasium.Space[Any]], int]:
    """The spaces of a dataset, and the most ticks of a decision. Raises UserError where frames differ in size."""
    sizes = Counter(tuple(one.meta["frame_size"]) for one in episodes)
    if len(sizes) > 1:
        raise UserError(f"frames of {len(sizes)} sizes: a dataset has one kind; export each by itself")
    ((height, width),) = sizes
    longest, texts = 0, set[str]()
    for one in episodes:
        asked = np.unique(one.steps["asked"].to_numpy())
        longest = max(longest, int(np.diff([*asked[asked >= 0], len(one.steps)]).max()))
        texts |= set(one.steps["instruction"].to_pylist())
    letters = sorted({*_PRINTABLE, *"".join(texts)})
    spaces = gymnasium.spaces
    observation = spaces.Dict({
        "pixels": spaces.Box(0, 255, (height, width, 3), np.uint8),
        "instruction": spaces.Text(max_length=max(map(len, texts)), min_length=0, charset="".join(letters)),
    })  # fmt: skip
    limit = np.full((longest, len(COLUMNS)), 1e4, np.float32)
    action = spaces.Dict({
        "vectors": spaces.Box(-limit, limit, dtype=np.float32),
        "ticks": spaces.Discrete(longest + 1),
    })  # fmt: skip
    return {"observation": observation, "action": action}, longest


def _buffers(
    episodes: Sequence[Episode], longest: int, done: Exported, on_episode: Callable[[int, int], None]
) -> Iterator[Any]:
    """The episodes one by one, as Minari takes them."""
    from minari.data_collector import EpisodeBuffer

    for number, episode in enumerate(episodes):
        found = load_decisions(episode)
        count = len(found)
        vectors = np.zeros((count, longest, len(COLUMNS)), np.float32)
        for row, chunk in zip(vectors, found.actions, strict=True):
            row[: len(chunk)] = to_vectors(chunk)
        rewards = np.zeros(count)
        rewards[-1] = float(bool(episode.success))
        last = np.arange(count) == count - 1
        ended = bool(episode.success) or bool(episode.outcome.get("done"))
        frames = np.concatenate([found.frames, episode.frames()[-1:]])
        texts = [*found.instructions, found.instructions[-1]]
        yield EpisodeBuffer(
            id=number, seed=episode.meta.get("seed"), observations={"pixels": frames, "instruction": texts},
            actions={"vectors": vectors, "ticks": np.array([len(chunk) for chunk in found.actions])},
            rewards=rewards.tolist(), terminations=(last & ended).tolist(), truncations=(last & (not ended)).tolist(),
        )  # fmt: skip
        done.episodes, done.steps = done.episodes + 1, done.steps + count
        on_episode(number + 1, len(episodes))


def _about(longest: int) -> str:
    return (
        f"Episodes of Ludens. A step is a decision of at most {longest} ticks: 'vectors' has a row for each of its "
        f"'ticks', and zeros behind; columns: {', '.join(COLUMNS)}. The reward is 1 at the end of a success."
    )

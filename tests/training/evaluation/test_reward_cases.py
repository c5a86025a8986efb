"""Cases whose truth is known: what is cut from an episode is a failure only where something was done in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import cli
from tasks.task import Task
from tests.support.thread_workers import THREADS
from training.data.episodes import find_episodes, read_episode
from training.evaluation.reward_cases import KINDS, acted, cases_of

OTHER = Task("other", "go to the red torch", "doom")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cases") / "data"
    where = ["--suite", "doom-room", "--episodes", "14", "--seed", "0", "--workers", THREADS, "--out", str(out)]
    assert cli.run(["record", *where]) == 0
    return out


def test_of_standing_still_nothing_is_cut_off(recorded: Path) -> None:
    kinds: dict[bool, set[str]] = {True: set(), False: set()}
    for folder in find_episodes(recorded):
        episode = read_episode(folder)
        if episode.success:
            kinds[acted(episode)] |= {one.kind for one in cases_of(episode, [OTHER])}
    assert kinds[False] == {"success", "relabelled"}
    assert kinds[True] >= set(KINDS) - {"failure"}

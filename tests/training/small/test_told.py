"""Ways that a memory tells: they are recorded with the frames, and learned as the player will read them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.memory import with_way
from agent.policy import Context
from agent.sight import DIRECTIONS
from agent.small import load_small
from agent.small.checkpoint import load_model, save_small
from agent.small.prompt import prompt_of
from tests.support.thread_workers import THREADS
from tests.support.tiny_small import tiny_small
from training.small.corpus import Corpus, build
from training.small.demonstrate import demonstrate
from training.small.lessons import Lessons
from training.small.mix import Mix

SILENT = Mix(goals=0, questions=0, exits=0.0, captions=0.0, proposals=0.0, forgotten=0.0, reworded=0.0)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("told")
    for suite in ("doom-told", "doom-rooms"):
        list(demonstrate(out / suite, {suite: 2}, 0, workers=THREADS))
        build(out / suite, out / f"{suite}-corpus", workers=THREADS)
    return {suite: out / f"{suite}-corpus" for suite in ("doom-told", "doom-rooms")}


def test_the_way_is_learned_in_the_words_in_which_it_is_told(corpora: dict[str, Path]) -> None:
    corpus = Corpus.open(corpora["doom-told"])
    assert corpus.way.min() >= 1
    assert corpus.way.max() <= len(DIRECTIONS)
    lessons = Lessons([corpus], [1.0], 0, 0, SILENT)
    for row in range(0, len(corpus), 5):
        (own,) = (prompt for prompt in lessons.page(np.random.default_rng(row), 0, row).prompts if prompt.memory)
        memory = with_way("did: nothing.", DIRECTIONS[int(corpus.way[row, 0]) - 1])
        context = Context((np.zeros((120, 160, 3), np.uint8),), "go to the torch", memory=memory)
        assert list(own.memory) == list(prompt_of(context).memory)


def test_who_is_told_nothing_learns_without_a_memory(corpora: dict[str, Path]) -> None:
    folder = corpora["doom-rooms"]
    (folder / "way.npy").unlink()  # as older corpora are
    corpus = Corpus.open(folder)
    assert not corpus.way.any()
    page = Lessons([corpus], [1.0], 0, 0, SILENT).page(np.random.default_rng(0), 0, 0)
    assert not any(prompt.memory for prompt in page.prompts)


def test_a_model_that_was_not_taught_to_follow_ways_does_not_read_of_them(tmp_path: Path) -> None:
    plain = tiny_small(tmp_path / "plain")
    save_small(load_model(plain), tmp_path / "taught", parent=plain, ways=True)
    save_small(load_model(plain), tmp_path / "child", parent=tmp_path / "taught")
    frame = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    context = Context((frame,), "go to the torch")
    told = replace(context, memory=with_way("did: nothing.", "behind left"))
    for name, reads in (("plain", False), ("taught", True), ("child", True)):
        small = load_small(tmp_path / name)
        ours, theirs = (small._prompts([one])[0].memory for one in (context, told))
        assert list(ours) == []
        assert (list(theirs) == ["way", "behind", "left"]) is reads, name

"""Demonstrations from worlds other than doom: what is noted of a frame is what is to be seen in it, and it is learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent import codec
from agent.small.layout import COLUMNS, say
from envs.minetest.world import find
from envs.playroom import drawing
from tasks import worlds
from training.annotate import UNKNOWN
from training.corpus import Corpus, build
from training.demonstrate import demonstrate
from training.elsewhere import queries
from training.lessons import Lessons, Mix

pytestmark = pytest.mark.skipif(drawing.backend() is None, reason=f"MuJoCo has nothing to draw with: {drawing.MEND}")
DONE = codec.HANDS.index("done")


def record(out: Path, suite: str, episodes: int) -> Corpus:
    successes = [success for success, _ in demonstrate(out / "episodes", {suite: episodes}, 5, workers=1)]
    assert sum(map(bool, successes)) >= episodes - 1
    return build(out / "episodes", out / "corpus", workers=1)


@pytest.fixture(scope="module")
def playroom(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return record(tmp_path_factory.mktemp("playroom"), "playroom-basic", 4)


def test_a_corpus_knows_its_world(playroom: Corpus) -> None:
    assert playroom.world == "playroom"
    assert (playroom.cells == UNKNOWN).all()


def test_only_suites_of_one_world_that_may_be_trained_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one world"):
        list(demonstrate(tmp_path, {"playroom-basic": 1, "minetest-basic": 1}, 0))
    with pytest.raises(ValueError, match="held out"):
        list(demonstrate(tmp_path, {"playroom-pairs": 1}, 0))


def test_the_coach_says_when_it_is_done(playroom: Corpus) -> None:
    done = playroom.advice[:, -1] == DONE
    assert {say(row.tolist()) for row in playroom.speech[done]} == {"done"}
    assert {say(row.tolist()) for row in playroom.speech[~done]} == {""}
    ends = np.append(playroom.start[1:] != playroom.start[:-1], True)
    assert done[ends].sum() >= 3
    assert not done[playroom.start].any()


def test_places_are_where_the_colour_is(playroom: Corpus) -> None:
    goals = worlds.part("playroom", "goals")
    pairs = {number: pair for pair, number in goals.CLASSES.items()}
    checked = right = 0
    for row in range(len(playroom)):
        for query, (column, foot) in zip(playroom.queries[row].tolist(), playroom.places[row].tolist(), strict=True):
            if column >= COLUMNS or pairs[query[1]][1] not in ("red", "green", "blue"):
                continue
            around = playroom.frames[row, max(0, foot * 5 - 12) : foot * 5 + 5, max(0, column * 2 - 3) : column * 2 + 5]
            channel = ("red", "green", "blue").index(pairs[query[1]][1])
            others = [i for i in range(3) if i != channel]
            excess = around[..., channel].astype(int) - around[..., others].max(-1).astype(int)
            checked += 1
            right += bool(excess.max() > 40)
    assert checked > 20
    assert right > 0.9 * checked


def test_goals_are_different_and_never_held_out(playroom: Corpus) -> None:
    goals, suites = worlds.part("playroom", "goals"), worlds.part("playroom", "suites")
    held_out = {goals.CLASSES[pair] for pair in suites.HELD_OUT_PAIRS}
    assert not np.isin(playroom.queries[..., 1], list(held_out)).any()
    for row in playroom.queries:
        assert len({tuple(query) for query in row.tolist()}) == len(row)
    rng = np.random.default_rng(0)
    meant = [worlds.part("playroom", "language").read(goals.words(rng, tuple(q))) for q in playroom.queries[0].tolist()]
    assert all(meaning is not None for meaning in meant)


def test_where_little_can_be_asked_for_it_is_asked_again() -> None:
    rng = np.random.default_rng(0)
    assert queries(rng, [(0, 1, 1)], {}, 3) == [(0, 1, 1)] * 3
    with pytest.raises(ValueError, match="nothing"):
        queries(rng, [], {}, 3)


def test_lessons_ask_in_the_words_of_the_world(playroom: Corpus) -> None:
    lessons = Lessons([playroom], [6], 0, 0, Mix())
    words, most = set(), 0
    for row in range(0, len(playroom), 3):
        prompts, texts, _ = lessons._frame(np.random.default_rng(row), 0, row)
        assert len(prompts) == len(texts) >= 1
        most = max(most, len(texts))
        words |= {word for prompt in prompts for word in prompt.asked}
    assert most >= 4
    kinds = {word for text in playroom.instructions for word in text.lower().split()}
    assert words & kinds
    batch = lessons.at(0)
    assert batch.cells is not None
    assert (batch.cells == UNKNOWN).all()


@pytest.mark.skipif(find() is None, reason="Minetest is not installed: apt-get install minetest minetest-data xvfb")
def test_minetest_shows_what_the_crosshair_is_on_in_the_middle(tmp_path: Path) -> None:
    corpus = record(tmp_path, "minetest-basic", 2)
    ends = np.append(corpus.start[1:] != corpus.start[:-1], True)
    looked = [row for row in np.flatnonzero(ends) if "dig" not in corpus.instructions[corpus.episode[row]]]
    assert looked
    for row in looked:  # at the end one looks at it
        assert abs(int(corpus.advice[row, 0]) - COLUMNS // 2) <= 12

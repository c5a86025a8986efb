"""What nobody understands: lessons about it, and words that are known by their meaning alone."""

import numpy as np

from agent.small import word_meaning
from agent.small.word_hashing import MEANS, split
from tasks.foreign import HELD_OUT, TRAINING, sentences
from tasks.reader import WorldReader
from training.small.nonsense import nonsense
from training.small.phrase_bank import blurred, by_meaning


def test_lessons_do_not_show_what_is_held_out() -> None:
    shown = {tuple(split(text)) for text in sentences(TRAINING)}
    kept = [tuple(split(text)) for text in sentences(HELD_OUT)]
    assert len(kept) == len(set(kept)) == 200
    assert not shown & set(kept)


def test_nothing_of_it_is_an_instruction() -> None:
    reader = WorldReader("doom")
    rng = np.random.default_rng(0)
    drawn = [nonsense().draw(rng) for _ in range(400)]
    assert not [words for words in drawn if reader.reads(" ".join(words))]
    assert all(drawn)
    assert len(nonsense()._strange) > 400, "what no world has is of many kinds"
    assert not [text for text in sentences(HELD_OUT) + sentences(TRAINING) if reader.reads(text)]


def test_by_meaning() -> None:
    rng = np.random.default_rng(0)
    words = split("pick up the red qzxv")
    assert by_meaning(rng, words, 0.0) == words
    drawn = [by_meaning(rng, words, 1.0) for _ in range(200)]
    for found in drawn:
        assert [word.rpartition(MEANS)[2] for word in found] == words
        assert found[-1] == "qzxv", "a word without a meaning keeps its spelling"
    replaced = sum(MEANS in word for found in drawn for word in found)
    assert 0.4 < replaced / (4 * len(drawn)) < 0.6
    assert all(word_meaning.knows(word) for word in words[:-1])


def test_blurred() -> None:
    words = ["torch", "red", "qzxv", "go"] * 100
    meanings = word_meaning.vectors(words)
    moved = blurred(np.random.default_rng(0), meanings, 1.0)
    colours = slice(-word_meaning.COLOUR, None)
    assert (moved[:, colours] == meanings[:, colours]).all(), "a colour stays what it is"
    known = meanings.any(1)
    assert not moved[~known].any(), "no meaning comes from nothing"
    before, after = meanings[known, : -word_meaning.COLOUR], moved[known, : -word_meaning.COLOUR]
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    near = (before * after).sum(1) / lengths
    assert near.min() > 0.4
    assert 0.8 < near.mean() < 0.97
    assert (near < 0.8).any()
    assert (blurred(np.random.default_rng(0), meanings, 0.0) == meanings).all()

"""Words by their meaning: the table, and what the model makes of it."""

import hashlib

import numpy as np
import pytest
import torch

from agent.small import word_hashing, word_meaning
from agent.small.model import SmallConfig, SmallModel
from agent.small.prompt import Prompt, pack


def cosine(a: str, b: str) -> float:
    x, y = word_meaning.vectors([a, b])
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


@pytest.mark.parametrize(("word", "near", "far"), [
    ("serpent", "snake", "lamp"), ("grab", "seize", "ceiling"), ("sphere", "globe", "walk"), ("kill", "murder", "look"),
    ("mushroom", "fungus", "salmon"),
])  # fmt: skip
def test_synonyms_are_near(word: str, near: str, far: str) -> None:
    assert cosine(word, near) > cosine(word, far) + 0.2


def test_an_unknown_word_has_no_meaning() -> None:
    assert not word_meaning.knows("qzxv")
    assert not word_meaning.vectors(["qzxv", ""]).any()
    assert len(word_meaning.words()) == len(set(word_meaning.words())) > 20_000


def test_the_table_is_that_of_the_weights() -> None:
    """Checkpoints depend on every number of it: another table needs another name and new weights."""
    digest = hashlib.sha256(word_meaning.FILE.read_bytes()).hexdigest()
    assert digest == "238bb8c375dbd4898f9309c2b6a5b07ec7b37389221de937ee687e533ce781b8"


def test_a_model_reads_meanings() -> None:
    """With spellings alike, the words are told apart by their meaning; an older model sees no difference."""
    prompts = [[Prompt([f"x{word_hashing.MEANS}{word}"])] for word in ("torch", "skull")]
    for sizes, differs in (
        (SmallConfig(width=32, layers=1), True),
        (SmallConfig(width=32, layers=1, meanings=0), False),
    ):
        torch.manual_seed(0)
        model = SmallModel(sizes).eval()
        if model.meaning is not None:
            torch.nn.init.normal_(model.meaning.weight)
        with torch.no_grad():
            first, second = model.read(pack(prompts))[0]
        assert torch.equal(first, second) != differs


def test_words_of_other_alphabets() -> None:
    assert word_hashing.split("Öffne die Tür!") == ["offne", "die", "tur"]
    assert word_hashing.split("иди к ключу") == ["иди", "к", "ключу"]


def test_an_older_config_has_no_meanings() -> None:
    old = {name: value for name, value in SmallConfig().to_json().items() if name != "meanings"}
    assert SmallConfig.from_json(old).meanings == 0
    assert SmallConfig.from_json(SmallConfig().to_json()) == SmallConfig()
    with pytest.raises(ValueError, match="meanings must be 0 to 100 in steps of 100, got 48"):
        SmallConfig.from_json({**old, "meanings": 48})


def test_names_of_colours_have_their_colour() -> None:
    def colour(word: str) -> np.ndarray:
        return word_meaning.vectors([word])[0, -word_meaning.COLOUR :]

    assert not colour("torch").any()
    for word, other, like in (("crimson", "navy", "red"), ("navy", "lemon", "blue"), ("lemon", "jade", "yellow")):
        assert np.abs(colour(word) - colour(like)).sum() < np.abs(colour(other) - colour(like)).sum()

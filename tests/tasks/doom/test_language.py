"""The grammar: everything that is said can be read back."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.doom.things import ACTORS, KINDS
from tasks import templates
from tasks.doom import phrases
from tasks.doom.language import (
    Meaning,
    avoiding,
    compound,
    core,
    noun_phrase,
    phrase,
    read,
    read_thing,
    related,
    sentence,
)

QUICK = settings(max_examples=60, deadline=None)
SEEDS = st.integers(0, 2**31).map(np.random.default_rng)
PHRASINGS = st.sampled_from(["training", "held_out"])
PAIRS = st.sampled_from(list(ACTORS))
PLACES = {"press": ("panel", None), "open": ("door", None), "unlock": ("door", "red"), "switch": ("gate", None)}
BARE = ("look_up", "look_down", "stand_still")


@pytest.mark.parametrize("verb", sorted(phrases.TRAINING))
def test_every_template_prefix_and_suffix_is_read_back(verb: str) -> None:
    pair = PLACES.get(verb, ("torch", "green"))
    noun = {"press": "panel", "open": "the door", "unlock": "the red door", "switch": "the gate"}.get(
        verb, "the green torch"
    )
    meant = Meaning(verb) if verb in BARE else Meaning(verb, *pair)
    for template in phrases.TRAINING[verb] + phrases.HELD_OUT[verb]:
        text = template.format(x=noun)
        for prefix in templates.PREFIXES:
            for suffix in templates.SUFFIXES:
                assert read(f"{prefix}{text}{suffix}") == meant


@pytest.mark.parametrize("verb", sorted(phrases.TRAINING))
def test_every_verb_has_its_phrasings_and_none_is_in_both_splits(verb: str) -> None:
    training, held_out = set(phrases.TRAINING[verb]), set(phrases.HELD_OUT[verb])
    assert len(training) == len(phrases.TRAINING[verb]) >= 12
    assert len(held_out) == len(phrases.HELD_OUT[verb]) >= 4
    assert not training & held_out


def test_held_out_words_are_not_training_words() -> None:
    for plain, held in (
        (phrases.NOUNS, phrases.HELD_OUT_NOUNS),
        (phrases.COLOUR_WORDS, phrases.HELD_OUT_COLOUR_WORDS),
        (phrases.RELATIONS, phrases.HELD_OUT_RELATIONS),
    ):
        for key, words in held.items():
            assert not set(words) & set(plain[key])
    assert len(phrases.THEN) >= 12
    assert len(phrases.AVOID) >= 12
    assert not set(phrases.THEN) & set(phrases.HELD_OUT_THEN)
    assert not set(phrases.AVOID) & set(phrases.HELD_OUT_AVOID)


@QUICK
@given(
    SEEDS,
    st.sampled_from([v for v in sorted(phrases.TRAINING) if v not in (*BARE, *PLACES)]),
    PAIRS,
    PHRASINGS,
    st.booleans(),
)
def test_what_is_said_is_read_back(
    rng: np.random.Generator, verb: str, pair: tuple[str, str | None], phrasing, synonyms
) -> None:
    noun = noun_phrase(rng, *pair, phrasing="held_out" if synonyms else "training")
    text = phrase(rng, verb, noun, phrasing=phrasing)
    assert read(text) == Meaning(verb, *pair)


@QUICK
@given(SEEDS, PAIRS, PAIRS, st.sampled_from(sorted(phrases.RELATIONS)), PHRASINGS)
def test_relations_are_read_back(rng, pair, other, relation: str, phrasing) -> None:
    between = relation in ("left_of", "right_of", "next_to")
    words = noun_phrase(rng, *other) if between else ""
    text = phrase(rng, "go_to", related(rng, noun_phrase(rng, *pair), relation, words, phrasing), phrasing=phrasing)
    assert read(text) == Meaning("go_to", *pair, relation=relation, other=other if between else None)


@QUICK
@given(SEEDS, PAIRS, PAIRS, PHRASINGS)
def test_compounds_are_read_back_in_their_order(rng, first, second, phrasing) -> None:
    steps = [
        core(rng, "go_to", noun_phrase(rng, *first), phrasing),
        core(rng, "pick_up", noun_phrase(rng, *second), phrasing),
    ]
    assert read(compound(rng, steps, phrasing)) == Meaning("go_to", *first, then=(Meaning("pick_up", *second),))


@QUICK
@given(SEEDS, PAIRS, PAIRS, PHRASINGS)
def test_what_to_avoid_is_read_back(rng, target, shunned, phrasing) -> None:
    text = avoiding(rng, core(rng, "go_to", noun_phrase(rng, *target), phrasing), noun_phrase(rng, *shunned), phrasing)
    assert read(text) == Meaning("go_to", *target, avoid=shunned)


@QUICK
@given(SEEDS, PAIRS, PAIRS, st.sampled_from(["alone", "then", "avoid", "near", "press"]))
def test_a_meaning_is_put_into_words_that_mean_it(rng, pair, other, how: str) -> None:
    meaning = {
        "alone": Meaning("go_to", *pair),
        "then": Meaning("go_to", *pair, then=(Meaning("look_up"), Meaning("face", *other))),
        "avoid": Meaning("go_to", *pair, avoid=other),
        "near": Meaning("go_to", *pair, relation="next_to", other=other),
        "press": Meaning("press", "panel", then=(Meaning("open", "door", "red"),)),
    }[how]
    assert read(sentence(rng, meaning)) == meaning


def test_three_steps_are_read_in_order() -> None:
    meaning = read("Take the red key, then take the orb and then look up!")
    assert meaning is not None
    assert [(m.verb, m.kind) for m in (meaning, *meaning.then)] == [
        ("pick_up", "key"),
        ("pick_up", "orb"),
        ("look_up", None),
    ]


@pytest.mark.parametrize(
    "text", ["", "sing a song", "pick up the moon", "press the torch", "open the key", "go to the red medikit"]
)
def test_what_the_grammar_does_not_know_is_none(text: str) -> None:
    assert read(text) is None


def test_a_thing_can_be_named_without_its_colour_only_where_it_is_alone() -> None:
    texts = {noun_phrase(np.random.default_rng(i), "key", "red") for i in range(80)}
    assert all(read_thing(t) == ("key", "red") for t in texts)
    alone = {noun_phrase(np.random.default_rng(i), "key", "red", unique_kind=True) for i in range(80)}
    assert {read_thing(t) for t in alone} == {("key", "red"), ("key", None)}
    assert all(read_thing(noun) == (kind, None) for kind in KINDS for noun in phrases.NOUNS[kind])


@pytest.mark.parametrize(
    "text", ["wow" + "!" * 2000 + " go", "go" + "?!." * 600, "please " * 280, "go to the torch" + ", thank you" * 150]
)
def test_reading_takes_no_longer_the_more_one_shouts(text: str) -> None:
    began = time.process_time()
    read(text)
    assert time.process_time() - began < 2.0

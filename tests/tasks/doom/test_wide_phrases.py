"""What lessons say beyond suites: it is read back, and nothing that is held out is in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from envs.doom.things import ACTORS, COLOURS, KINDS
from tasks import templates
from tasks.doom import phrases, wide_phrases
from tasks.doom.free_sentences import FREE
from tasks.doom.language import Meaning, compound, core, noun_phrase, phrase, read, read_thing, sentence, taught, words
from tasks.task import Pair

OUTSIDE = (
    "face the blue pillar", "tilt your head back", "eyes to the sky",
    "would you be so kind as to", "there's a red key somewhere around here - bring it to me",
)  # fmt: skip
BETWEEN = ("left_of", "right_of", "next_to")
BARE = ("look_up", "look_down", "stand_still")
DRAWS = 4000


def _templates() -> Iterator[str]:
    for said in wide_phrases.WIDE.values():
        yield from said


def _texts() -> list[str]:
    """Everything that the wide tables hold."""
    tables = (wide_phrases.WIDE_NOUNS, wide_phrases.WIDE_COLOURS, wide_phrases.WIDE_RELATIONS)
    named = [text for table in tables for said in table.values() for text in said]
    around = [*wide_phrases.WIDE_PREFIXES, *wide_phrases.WIDE_CALLS, *wide_phrases.WIDE_SUFFIXES]
    then = [text for pair in wide_phrases.WIDE_THEN for text in pair]
    return [*_templates(), *named, *around, *then, *wide_phrases.WIDE_AVOID]


def _has(text: str, part: str) -> bool:
    """Whether a text has these words in this order, as words of their own."""
    return re.search(rf"(?<![\w']){re.escape(part)}(?![\w'])", text) is not None


def test_no_word_or_sentence_that_is_held_out_is_in_the_wide_tables() -> None:
    tables = (phrases.HELD_OUT, phrases.HELD_OUT_NOUNS, phrases.HELD_OUT_COLOUR_WORDS)
    held = [text for table in tables for said in table.values() for text in said]
    held += [text.strip(" ,") for pair in phrases.HELD_OUT_THEN for text in pair if text not in ("", "first ")]
    held += [text.strip() for text in phrases.HELD_OUT_AVOID]
    held.remove("stay here and wait")
    held += ["stay here and wait", "leave {y} alone", "afterwards", "finally", "steer", "never", *OUTSIDE]
    held = [text for text in held if text != "and then"]  # also between steps of training
    relations = [text for said in phrases.HELD_OUT_RELATIONS.values() for text in said if text != "near"]
    in_templates = [templates.words_of(said) for said in (_held_templates(), _training_templates())]
    own = in_templates[0] - in_templates[1] - {"around"}  # "approach", "visit" and such
    for text in _texts():
        assert not [part for part in (*held, *relations, *own) if _has(text, part)], text
    assert own >= {"approach", "eliminate", "visit", "swing"}
    assert not set(wide_phrases.WIDE_RELATIONS["nearer"]) & set(phrases.HELD_OUT_RELATIONS["nearer"])


def _held_templates() -> list[str]:
    return [text for said in phrases.HELD_OUT.values() for text in said]


def _training_templates() -> list[str]:
    return [text for said in phrases.TRAINING.values() for text in said]


def test_no_training_or_wide_sentence_is_a_held_out_one() -> None:
    rng = np.random.default_rng(2)
    held = {text.format(x="the imp") for verb, said in phrases.HELD_OUT.items() if verb != "press" for text in said}
    held |= {text.format(x="switch") for text in phrases.HELD_OUT["press"]} | set(OUTSIDE)
    for verb in phrases.TRAINING:
        for _ in range(DRAWS // 10):
            text = phrase(rng, verb, "switch" if verb == "press" else "imp", phrasing="wide")
            assert text.lower() not in held


def test_every_word_names_one_thing_and_every_template_one_verb() -> None:
    nouns = Counter(
        noun
        for table in (phrases.NOUNS, phrases.HELD_OUT_NOUNS, wide_phrases.WIDE_NOUNS)
        for kind in table
        for noun in table[kind]
    )
    colours = Counter(
        word
        for table in (phrases.COLOUR_WORDS, phrases.HELD_OUT_COLOUR_WORDS, wide_phrases.WIDE_COLOURS)
        for said in table.values()
        for word in said
    )
    sentences = Counter([*_templates(), *_training_templates(), *_held_templates()])
    for counts in (nouns, colours, sentences):
        assert not [text for text, count in counts.items() if count > 1]
    assert not {noun.split()[0] for noun in nouns} & colours.keys()
    assert wide_phrases.WIDE_NOUNS.keys() == phrases.NOUNS.keys()
    assert min(map(len, wide_phrases.WIDE_NOUNS.values())) >= 5
    assert all(read_thing(noun) == (kind, None) for kind, said in wide_phrases.WIDE_NOUNS.items() for noun in said)
    assert all(
        read_thing(f"{word} key") == ("key", c) for c, said in wide_phrases.WIDE_COLOURS.items() for word in said
    )
    assert min(map(len, wide_phrases.WIDE.values())) >= 15


@pytest.mark.parametrize("verb", sorted(phrases.TRAINING))
def test_every_wide_template_is_read_with_all_that_goes_around_it(verb: str) -> None:
    noun = {"press": "panel", "open": "door", "unlock": "red door", "switch": "gate"}.get(verb, "green torch")
    meant = Meaning(verb) if verb in BARE else Meaning(verb, *(read_thing(noun) or ()))
    rng = np.random.default_rng(1)
    prefixes, suffixes = list(wide_phrases.WIDE_PREFIXES), list(wide_phrases.WIDE_SUFFIXES)
    for template in phrases.TRAINING[verb] + wide_phrases.WIDE[verb]:
        assert ("{x}" in template) == (verb not in BARE)
        text = template.format(x=noun if verb == "press" else f"the {noun}")
        for around in (("", ""), *zip(rng.permutation(prefixes)[:12], rng.permutation(suffixes)[:12], strict=True)):
            assert read(text.join(around)) == meant, text.join(around)
    for prefix in prefixes:
        for suffix in suffixes:
            said = phrases.TRAINING[verb][0].format(x=noun if verb == "press" else f"the {noun}")
            assert read(f"{prefix}{said}{suffix}") == meant


def test_any_meaning_in_wide_words_is_read_back() -> None:
    rng = np.random.default_rng(0)
    texts = set()
    for _ in range(DRAWS):
        meaning = _meaning(rng)
        text = sentence(rng, meaning, "wide")
        assert read(text) == meaning, text
        texts.add(text)
    assert len(texts) > 0.98 * DRAWS


def _meaning(rng: np.random.Generator) -> Meaning:
    how = rng.choice(["alone", "then", "avoid", "relation"])
    first = _step(rng)
    if how == "then":
        return Meaning(first.verb, first.kind, first.colour, then=tuple(_step(rng) for _ in range(rng.integers(1, 3))))
    if how == "avoid" and first.kind is not None:
        return Meaning(first.verb, first.kind, first.colour, avoid=_pair(rng))
    if how == "relation" and first.kind in KINDS:
        relation = str(rng.choice(list(phrases.RELATIONS)))
        other = _pair(rng) if relation in BETWEEN else None
        return Meaning(first.verb, first.kind, first.colour, relation=relation, other=other)
    return first


def _step(rng: np.random.Generator) -> Meaning:
    verb = str(rng.choice(list(phrases.TRAINING)))
    if verb in BARE:
        return Meaning(verb)
    if verb in ("press", "switch"):
        return Meaning(verb, {"press": "panel", "switch": "gate"}[verb])
    if verb in ("open", "unlock"):
        return Meaning(verb, "door", str(rng.choice(COLOURS)))
    return Meaning(verb, *_pair(rng))


def _pair(rng: np.random.Generator) -> Pair:
    pairs = list(ACTORS)
    return pairs[int(rng.integers(len(pairs)))]


def test_half_of_what_is_wide_is_said_in_words_of_training() -> None:
    rng = np.random.default_rng(3)
    nouns = [noun_phrase(rng, "key", None, phrasing="wide") for _ in range(400)]
    assert 0.4 < np.mean([noun in phrases.NOUNS["key"] for noun in nouns]) < 0.6
    cores = [core(rng, "look_up", phrasing="wide") for _ in range(400)]
    assert 0.4 < np.mean([text in phrases.TRAINING["look_up"] for text in cores]) < 0.6
    joined = [compound(rng, ["look up", "look down"], "wide") for _ in range(400)]
    assert len(set(joined)) > 300


def test_wide_words_are_taught_and_known() -> None:
    assert taught().items() < taught(wide=True).items()
    assert taught(wide=True)["pillar"] == "column"
    assert {"crimson", "pillar", "seize"} <= words()


def test_what_suites_say_hangs_on_the_same_draws_as_ever() -> None:
    said = []
    for phrasing in ("training", "held_out"):
        rng = np.random.default_rng(11)
        noun = noun_phrase(rng, "torch", "green", phrasing=phrasing)
        said.append(phrase(rng, "go_to", noun, phrasing=phrasing))
        said.append(str(rng.integers(10**6)))
    assert said == ["can you go to the green torch", "147926", "Now move close to the emerald fire torch", "601498"]


def test_free_sentences_are_of_their_own() -> None:
    """No template of two words or more is what an order of doom-sentences consists of."""
    for template in _templates():
        if len(template.replace("{x}", "").split()) > 1:
            body = re.compile(rf"\b{re.escape(template).replace(re.escape('{x}'), '.+')}\b")
            assert not [text for text in FREE if body.search(text)], template

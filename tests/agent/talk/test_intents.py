"""What messages mean: rules on words, held against the grammar that makes instructions and questions."""

from __future__ import annotations

import pytest

from agent.talk import intents
from agent.talk.intents import Intent, OpenQuestion
from tasks.doom import phrases, question_phrases
from tasks.doom.conversation_scripts import DOINGS, PAUSES, RESUMES, STOPS
from tasks.doom.language import taught
from tasks.templates import PREFIXES, SUFFIXES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Go to the red torch.", Intent("instruction", "go to the red torch")),
        ("could you please go to the red torch?", Intent("instruction", "go to the red torch")),
        ("stop and go to the blue key", Intent("instruction", "go to the blue key")),
        ("No, pick up the key!", Intent("instruction", "pick up the key", corrects=True)),
        ("then go to the torch", Intent("instruction", "go to the torch", "then")),
        ("first pick up the key", Intent("instruction", "pick up the key", "first")),
        ("wait here", Intent("instruction", "wait here")),
        ("Stop!", Intent("stop", "stop")),
        ("no, stop that please", Intent("stop", "no, stop that please")),
        ("never mind", Intent("stop", "never mind")),
        ("hold on", Intent("pause", "hold on")),
        ("go on", Intent("resume", "go on")),
        ("what do you see?", Intent("question", "what do you see?")),
        ("can you see a key", Intent("question", "can you see a key")),
        ("did you pick up the key", Intent("question", "did you pick up the key")),
        ("red", Intent("choice", "red")),
        ("the red one, please", Intent("choice", "the red one")),
        ("how about the other one?", Intent("choice", "the other one")),
        ("no, the other one", Intent("choice", "the other one", corrects=True)),
        ("not the red one, the blue one", Intent("choice", "the blue one", corrects=True)),
        ("no", Intent("choice", "", corrects=True)),
        ("no, the imp", Intent("choice", "the imp", corrects=True)),
    ],
)
def test_messages_are_read(text: str, message: Intent) -> None:
    assert intents.read(text) == message


def test_instructions_are_taken_apart_and_changed() -> None:
    assert intents.steps("first pick up the key, then go to the torch") == ["pick up the key", "go to the torch"]
    assert intents.steps("go to the imp and then look up; then press the switch") == [
        "go to the imp", "look up", "press the switch",
    ]  # fmt: skip
    assert intents.which("which torch the red or the blue ?") == OpenQuestion("torch", ("red", "blue"))
    assert intents.which("the torch is red") is None
    assert intents.choose("the second one", ("red", "blue")) == "blue"
    assert intents.choose("not the red one", ("red", "blue")) == "blue"
    assert intents.choose("what", ("red", "blue")) is None
    assert intents.with_colour("walk to the torch", "torch", "red") == "walk to the red torch"
    assert intents.with_colour("walk to the red torch", "torch", "blue") == "walk to the blue torch"
    assert intents.with_colour("walk to the flame", "torch", "blue") == "walk to the blue torch"
    assert intents.with_thing("pick up the red key", "the skull") == "pick up the skull"
    assert intents.others("red torch left and blue torch ahead and red key right", "torch", "red") == ["blue"]
    assert intents.is_of_view("What do you see?")
    assert not intents.is_of_view("what do you see left of the torch?")
    assert intents.deed("please grab the red key") == "i picked up the red key"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("have a look at the imp", Intent("instruction", "have a look at the imp")),
        ("Do not move!", Intent("instruction", "do not move")),
        ("can you find the red key and take it", Intent("instruction", "find the red key and take it")),
        ("can you find a red key?", Intent("question", "can you find a red key?")),
        ("the map is what colour", Intent("question", "the map is what colour")),
        ("the golden one", Intent("choice", "the golden one")),
    ],
)
def test_what_only_looks_like_a_question_or_an_order(text: str, message: Intent) -> None:
    assert intents.read(text) == message


def test_every_sentence_of_the_grammar_is_taken_for_what_it_is() -> None:
    for table in (phrases.TRAINING, phrases.HELD_OUT):
        for verb, templates in table.items():
            kinds = {"instruction"} if verb != "stand_still" else {"instruction", "stop", "pause"}
            for template in templates:
                noun = "red key" if verb == "press" else "the red key"
                for prefix in set(PREFIXES):
                    for suffix in set(SUFFIXES):
                        text = prefix + template.format(x=noun) + suffix
                        assert intents.read(text).kind in kinds, text
    for table in (question_phrases.TRAINING, question_phrases.HELD_OUT):
        for templates in table.values():
            for template in templates:
                for opening in set(question_phrases.OPENINGS):
                    for end in ("?", " ?", ""):
                        text = opening + template.format(x="red key", a="a red key", xs="red keys") + end
                        assert intents.read(text).kind == "question", text


def test_what_people_say_to_stop_to_pause_and_to_go_on() -> None:
    for kind, table in (("stop", STOPS), ("pause", PAUSES), ("resume", RESUMES), ("question", DOINGS)):
        for text in (*table["training"], *table["held_out"]):
            assert intents.read(text).kind == kind, text
            assert kind != "question" or intents.is_of_goal(intents.read(text).text), text


PAST = {"go_to": "went to", "face": "faced", "pick_up": "picked up", "touch": "touched", "shoot": "shot"}


@pytest.mark.parametrize("verb", PAST)
def test_the_thing_of_an_instruction_is_found_in_every_phrasing(verb: str) -> None:
    nouns = {noun: kind for noun, kind in taught().items() if kind not in ("door", "gate", "switch")}
    for template in (*phrases.TRAINING[verb], *phrases.HELD_OUT[verb]):
        for noun, kind in nouns.items():
            for suffix in ("", " please", " for me now"):
                text = template.format(x=f"the golden {noun}") + suffix
                assert intents.kind_of(text) == noun, text
                assert intents.colour_of(text) == "yellow"
            assert intents.deed(template.format(x=f"the {noun}"), nouns.get) == f"i {PAST[verb]} the {kind}", template
            assert intents.unclear(template.format(x=f"the {noun}"))
            assert not intents.unclear(template.format(x=f"the red {noun}"))


def test_a_thing_is_changed_where_it_stands() -> None:
    assert intents.steps("pick up the first aid kit") == ["pick up the first aid kit"]
    text = "go to the red key and take it"
    assert intents.with_thing(text, "the skull") == "go to the skull and take it"
    assert intents.with_colour("take the golden key for me", "key", "blue") == "take the blue key for me"
    assert intents.with_colour("finish off the worm please", "demon", "blue") == "finish off the blue demon please"
    assert intents.choose("the golden one", ("red", "yellow")) == "yellow"
    for place in ("go to the torch left of the imp", "go to the nearer torch", "go to a torch", "look up"):
        assert not intents.unclear(place), place
    assert intents.thing_of("look at the ceiling") is None

"""What messages mean: rules on words, held against the grammar that makes instructions and questions."""

from __future__ import annotations

import pytest

from agent import messages
from agent.messages import Message, Which
from tasks import phrases, questioning
from tasks.conversations import DOINGS, PAUSES, RESUMES, STOPS
from tasks.language import taught


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Go to the red torch.", Message("instruction", "go to the red torch")),
        ("could you please go to the red torch?", Message("instruction", "go to the red torch")),
        ("stop and go to the blue key", Message("instruction", "go to the blue key")),
        ("No, pick up the key!", Message("instruction", "pick up the key", corrects=True)),
        ("then go to the torch", Message("instruction", "go to the torch", "then")),
        ("first pick up the key", Message("instruction", "pick up the key", "first")),
        ("wait here", Message("instruction", "wait here")),
        ("Stop!", Message("stop", "stop")),
        ("no, stop that please", Message("stop", "no, stop that please")),
        ("never mind", Message("stop", "never mind")),
        ("hold on", Message("pause", "hold on")),
        ("go on", Message("resume", "go on")),
        ("what do you see?", Message("question", "what do you see?")),
        ("can you see a key", Message("question", "can you see a key")),
        ("did you pick up the key", Message("question", "did you pick up the key")),
        ("red", Message("choice", "red")),
        ("the red one, please", Message("choice", "the red one")),
        ("how about the other one?", Message("choice", "the other one")),
        ("no, the other one", Message("choice", "the other one", corrects=True)),
        ("not the red one, the blue one", Message("choice", "the blue one", corrects=True)),
        ("no", Message("choice", "", corrects=True)),
        ("no, the imp", Message("choice", "the imp", corrects=True)),
    ],
)
def test_messages_are_read(text: str, message: Message) -> None:
    assert messages.read(text) == message


def test_instructions_are_taken_apart_and_changed() -> None:
    assert messages.steps("first pick up the key, then go to the torch") == ["pick up the key", "go to the torch"]
    assert messages.steps("go to the imp and then look up; then press the switch") == [
        "go to the imp", "look up", "press the switch",
    ]  # fmt: skip
    assert messages.which("which torch the red or the blue ?") == Which("torch", ("red", "blue"))
    assert messages.which("the torch is red") is None
    assert messages.choose("the second one", ("red", "blue")) == "blue"
    assert messages.choose("not the red one", ("red", "blue")) == "blue"
    assert messages.choose("what", ("red", "blue")) is None
    assert messages.with_colour("walk to the torch", "torch", "red") == "walk to the red torch"
    assert messages.with_colour("walk to the red torch", "torch", "blue") == "walk to the blue torch"
    assert messages.with_colour("walk to the flame", "torch", "blue") == "walk to the blue torch"
    assert messages.with_thing("pick up the red key", "the skull") == "pick up the skull"
    assert messages.others("red torch left and blue torch ahead and red key right", "torch", "red") == ["blue"]
    assert messages.is_of_view("What do you see?")
    assert not messages.is_of_view("what do you see left of the torch?")
    assert messages.deed("please grab the red key") == "i picked up the red key"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("have a look at the imp", Message("instruction", "have a look at the imp")),
        ("Do not move!", Message("instruction", "do not move")),
        ("can you find the red key and take it", Message("instruction", "find the red key and take it")),
        ("can you find a red key?", Message("question", "can you find a red key?")),
        ("the map is what colour", Message("question", "the map is what colour")),
        ("the golden one", Message("choice", "the golden one")),
    ],
)
def test_what_only_looks_like_a_question_or_an_order(text: str, message: Message) -> None:
    assert messages.read(text) == message


def test_every_sentence_of_the_grammar_is_taken_for_what_it_is() -> None:
    for table in (phrases.TRAINING, phrases.HELD_OUT):
        for verb, templates in table.items():
            kinds = {"instruction"} if verb != "stand_still" else {"instruction", "stop", "pause"}
            for template in templates:
                noun = "red key" if verb == "press" else "the red key"
                for prefix in set(phrases.PREFIXES):
                    for suffix in set(phrases.SUFFIXES):
                        text = prefix + template.format(x=noun) + suffix
                        assert messages.read(text).kind in kinds, text
    for table in (questioning.TRAINING, questioning.HELD_OUT):
        for templates in table.values():
            for template in templates:
                for opening in set(questioning.OPENINGS):
                    for end in ("?", " ?", ""):
                        text = opening + template.format(x="red key", a="a red key", xs="red keys") + end
                        assert messages.read(text).kind == "question", text


def test_what_people_say_to_stop_to_pause_and_to_go_on() -> None:
    for kind, table in (("stop", STOPS), ("pause", PAUSES), ("resume", RESUMES), ("question", DOINGS)):
        for text in (*table["training"], *table["held_out"]):
            assert messages.read(text).kind == kind, text
            assert kind != "question" or messages.is_of_goal(messages.read(text).text), text


PAST = {"go_to": "went to", "face": "faced", "pick_up": "picked up", "touch": "touched", "shoot": "shot"}


@pytest.mark.parametrize("verb", PAST)
def test_the_thing_of_an_instruction_is_found_in_every_phrasing(verb: str) -> None:
    nouns = {noun: kind for noun, kind in taught().items() if kind not in ("door", "gate", "switch")}
    for template in (*phrases.TRAINING[verb], *phrases.HELD_OUT[verb]):
        for noun, kind in nouns.items():
            for suffix in ("", " please", " for me now"):
                text = template.format(x=f"the golden {noun}") + suffix
                assert messages.kind_of(text) == noun, text
                assert messages.colour_of(text) == "yellow"
            assert messages.deed(template.format(x=f"the {noun}"), nouns.get) == f"i {PAST[verb]} the {kind}", template
            assert messages.unclear(template.format(x=f"the {noun}"))
            assert not messages.unclear(template.format(x=f"the red {noun}"))


def test_a_thing_is_changed_where_it_stands() -> None:
    assert messages.steps("pick up the first aid kit") == ["pick up the first aid kit"]
    text = "go to the red key and take it"
    assert messages.with_thing(text, "the skull") == "go to the skull and take it"
    assert messages.with_colour("take the golden key for me", "key", "blue") == "take the blue key for me"
    assert messages.with_colour("finish off the worm please", "demon", "blue") == "finish off the blue demon please"
    assert messages.choose("the golden one", ("red", "yellow")) == "yellow"
    for place in ("go to the torch left of the imp", "go to the nearer torch", "go to a torch", "look up"):
        assert not messages.unclear(place), place
    assert messages.thing_of("look at the ceiling") is None

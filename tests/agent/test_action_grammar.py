"""The grammars admit what the codec writes, and what they admit the codec reads."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent.action_grammar import MOST_STRETCHES, gbnf, json_schema, regex, turn_regex
from agent.codec import ActionTextError, Codec
from agent.plan import Plan
from envs.action import KeyboardMouse
from tests.support.action_spaces import codecs, plans

ARROWS = Codec(KeyboardMouse(("ArrowUp", "ArrowLeft", "Space"), (), max_look=0.0))
ALL = Codec(KeyboardMouse(pointer=True, wheel=True))
NOTHING = Codec(KeyboardMouse((), (), max_look=0.0))


@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_what_the_regex_admits_is_read(data: st.DataObject) -> None:
    """Or it is something that no regex can say: a key that is held and tapped, or held with another."""
    codec = data.draw(codecs())
    assume(len(codec.keys) < 20)
    text = data.draw(st.from_regex(re.compile(regex(codec), re.ASCII), fullmatch=True))
    said = ""
    try:
        codec.read(text)
    except ActionTextError as error:
        said = str(error)
    assert not said or re.search("is held, so|may not be held together|presses the left button itself", said)


@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_what_is_written_in_whole_numbers_is_admitted(data: st.DataObject) -> None:
    codec = data.draw(codecs())
    plan = data.draw(plans(codec, taps=False, most=MOST_STRETCHES))
    text = re.sub(r"(\d+)\.\d+", lambda number: str(max(1, int(number[1]))), codec.write(plan))  # no "look 0 0"
    assume(not re.search(r"(look|wheel) (-?\d+ )?-?(0|20|180)\b", text))
    assert re.fullmatch(regex(codec), text), text


@pytest.mark.parametrize(
    ("codec", "text", "admitted"),
    [
        (ARROWS, "hold ArrowUp Space tap ArrowLeft for 200ms then wait done", True),
        (ARROWS, "done", True),
        (ARROWS, "hold KeyW", False),
        (ARROWS, "look 3 3", False),
        (ARROWS, "hold ArrowUp hold Space", False),
        (ARROWS, "", False),
        (ALL, 'tap ControlLeft+KeyC type "a\\"\\\\!]^-" look 16 -4 point 0 1000 wheel -2', True),
        (ALL, 'type "é"', False),
        (ALL, "drag 1 2 3 4", True),
        (NOTHING, "wait for 200ms", True),
        (NOTHING, "tap Space", False),
    ],
)
def test_single_texts(codec: Codec, text: str, admitted: bool) -> None:
    assert bool(re.fullmatch(regex(codec), text)) == admitted
    turn = f"think: x\nact: {text}\nsay: y"
    assert bool(re.fullmatch(turn_regex(codec), turn)) == admitted
    assert not re.fullmatch(turn_regex(codec, think=0, speech=0), turn)
    if find_spec("xgrammar"):
        assert _accepts(gbnf(codec), turn) == admitted


def _accepts(grammar: str, text: str) -> bool:
    import xgrammar

    letters = [bytes([i]) for i in range(256)]
    info = xgrammar.TokenizerInfo([*letters, b"</s>"], vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[256])
    matcher = xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(info).compile_grammar(grammar))
    return matcher.accept_string(text) and matcher.accept_token(256)


def test_a_schema_holds_a_turn() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json_schema(ARROWS)
    json.dumps(schema)
    jsonschema.validate({"think": "a wall", "act": ARROWS.write(Plan())}, schema)
    for wrong in ({"act": "hold KeyW"}, {"think": "x"}, {"act": "wait", "keys": []}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)

"""The scripted conversations with a chat model: a handful of each language; benchmarks/talk.py has hundreds."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from benchmarks import talk
from tasks.doom.conversation_scripts import KINDS, script
from tasks.doom.questions import Question
from tests.support.talk_languages import GERMAN, SPANISH, translated, worded
from tests.support.talk_server import Mind


@pytest.mark.parametrize("language", [GERMAN, SPANISH])
def test_a_script_in_another_language_asks_for_the_same(language: Any) -> None:
    for index in range(70):
        english, other = script(3, index), translated(script(3, index), language)
        assert other == translated(script(3, index), language)
        assert [line.goal for line in other.lines] == [line.goal for line in english.lines]
        assert [line.expect for line in other.lines] == [line.expect for line in english.lines]
        assert [bool(line.text) for line in other.lines] == [bool(line.text) for line in english.lines]
        assert not any("{" in line.text + line.said for line in other.lines)
        for mine, theirs in zip(other.lines, english.lines, strict=True):
            assert not mine.text or mine.text != theirs.text


def test_questions_in_another_language() -> None:
    asked = worded(Question("what is nearest?", "red key", "nearest"), GERMAN)
    assert asked == Question("Was ist am nächsten bei dir?", "roten Schlüssel", "nearest") or asked is not None
    where = worded(Question("where is the golden skull", "left", "where", noun="golden skull"), SPANISH)
    assert where is not None
    assert "la calavera amarilla" in where.text
    assert where.answer == "a la izquierda"
    assert worded(Question("what colour is the lock", "red", "lock"), GERMAN) is None


@pytest.mark.slow
def test_a_handful_of_conversations_goes_right_and_none_with_a_model_that_does_not_listen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talked = talk.conversations("german", len(KINDS), 5)
    assert Counter(one.script.kind for one in talked) == dict.fromkeys(KINDS, 1)
    assert [one.why for one in talked].count("right") >= len(KINDS) - 1, [one.why for one in talked]
    assert "| german | 7 |" in talk.told({"german": talk.summary(talked)})
    deaf = json.dumps({"kind": "go on", "text": [], "goal": 0})
    monkeypatch.setattr(Mind, "_hear", lambda self, prompt: json.loads(deaf))
    assert not any(one.right for one in talk.conversations("german", 2, 5))


def test_the_first_word_comes_with_the_server_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    found = talk.first_words(2, 0.1, 0.01)
    assert len(found["agent"]) == len(found["server"]) == 2
    assert min(found["server"]) >= 0.1
    assert min(found["agent"]) >= 0.1

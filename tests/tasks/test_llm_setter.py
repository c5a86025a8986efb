"""Setters `template` and `llm`: random tasks of the world's grammar, and what any chat model proposes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.errors import UserError
from tasks import world_tasks
from tasks.llm_setter import SCHEMA, LlmSetter, load_llm_setter
from tasks.setter import Proposal, Rejected, SetterView, Tried, load_setter, propose
from tests.support.model_server import FakeServer, says, send, serving

FRAMES = tuple(np.full((48, 64, 3), value, np.uint8) for value in (10, 60, 200))
VIEW = SetterView(
    "doom", FRAMES, (*(Tried(id_, "open the door", True) for id_ in "ab"), Tried("c", "look up", False)),
    {"open": 0.75}, tick_hz=35.0, seed=4,
)  # fmt: skip


def answer(*tasks: Any) -> str:
    return json.dumps({"tasks": list(tasks)})


def task(instruction: Any, seconds: Any = 10, why: str = "it is near") -> dict[str, Any]:
    return {"instruction": instruction, "seconds": seconds, "why": why}


def setter_of(server: FakeServer) -> LlmSetter:
    return load_llm_setter(f"openai:clever@{server.url}")


# template


def test_templates_are_drawn_from_the_grammar_the_same_for_the_same_seed() -> None:
    setter = load_setter("template")
    said = propose(setter, VIEW, 12)
    assert len({one.instruction for one in said.proposals}) == 12
    assert not said.rejected
    for one in said.proposals:
        meaning = world_tasks.of("doom").language.read(one.instruction)  # type: ignore[union-attr]
        assert meaning is not None
        assert one.time_limit == 525 * (1 + len(meaning.then))
        assert one.options is None  # it is tried in the level that is in view
    assert propose(setter, VIEW, 12) == said
    other = SetterView("doom", FRAMES, tick_hz=35.0, seed=5)
    assert propose(setter, other, 12).proposals != said.proposals
    assert propose(setter, SetterView("playroom", seed=1), 3).proposals[0].instruction
    vault = propose(load_setter("template:doom-vault+doom-vault-steps"), VIEW, 20).proposals
    assert {"doom-vault", "doom-vault-steps"} >= {one.why.removeprefix("drawn from ") for one in vault}
    assert any("unlock" in one.instruction for one in vault)


def test_templates_of_another_world_or_of_none_are_refused() -> None:
    with pytest.raises(UserError, match="'doom', not in 'playroom'"):
        load_setter("template:doom-room").propose(SetterView("playroom"), 1)
    with pytest.raises(UserError, match="brings no suites"):
        load_setter("template").propose(SetterView("gymnasium:X"), 1)
    with pytest.raises(UserError, match="doom-room"):
        load_setter("template:doom-rom")


# llm


def test_a_chat_model_is_shown_frames_and_what_was_tried_and_proposes() -> None:
    reply = answer(task("open the door", 7.5), task("go to the imp and then face the torch", 4))
    with serving(says(reply)) as server:
        said = propose(setter_of(server), VIEW, 3)
    assert said.proposals == (
        Proposal("open the door", 262, "it is near"),
        Proposal("go to the imp and then face the torch", 280, "it is near"),
    )
    assert said.rejected == ()
    (asked,) = server.asked
    assert asked["seed"] == 4
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA
    rules, user = asked["messages"]
    assert "Propose 3 short instructions" in rules["content"]
    pictures = [part for part in user["content"] if part["type"] == "image_url"]
    assert len(pictures) == 2  # the newest of three
    (text,) = (part["text"] for part in user["content"] if part["type"] == "text")
    assert "open 75 %" in text
    assert "open the door (done, 2x); look up (failed, 1x)" in text
    assert "He understands sentences such as these" in text


def test_a_chat_model_may_ask_for_a_new_level_of_a_kind_that_it_is_told_of() -> None:
    view = replace(VIEW, kinds=("doom-rooms", "doom-vault"))
    reply = answer({**task("open the door"), "level": "doom-rooms"}, {**task("look up"), "level": "doom-errands"})
    with serving(says(reply)) as server:
        said = propose(setter_of(server), view, 2)
        other = propose(setter_of(server), VIEW, 2)
    assert [one.kind for one in said.proposals] == ["doom-rooms"]
    assert [one.why for one in said.rejected] == ["no level of the kind 'doom-errands' can be asked for"]
    assert not other.proposals  # here no level can be asked for
    first, second = server.asked
    assert "doom-vault (locked doors, coloured keys" in first["messages"][0]["content"]
    schema = first["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["tasks"]["items"]["properties"]["level"]["enum"] == ["", "doom-rooms", "doom-vault"]
    assert second["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("sure! open the door", "no JSON"),
        ("```json\n" + answer(task("open the door")) + "\n```", "no JSON"),
        ("[]", '"tasks" alone'),
        (json.dumps({"tasks": [], "note": "x"}), '"tasks" alone'),
        (json.dumps({"tasks": "open the door"}), '"tasks" alone'),
        (answer("open the door"), "task: "),
        (answer({"instruction": "open the door", "seconds": 9}), "why: "),
        (answer({**task("open the door"), "reward": 100}), "reward: "),
        (answer(task("open the door", "9")), "seconds: "),
        (answer(task("open the door", 0.5)), "seconds: "),
        (answer(task("open the door", 1e9)), "seconds: "),
        (answer(task(7)), "instruction: "),
        (answer(task("x" * 201)), "instruction: "),
        (answer(task("frobnicate the quux")), "grammar of doom"),
    ],
)
def test_what_is_off_contract_is_rejected_and_never_repaired(said: str, why: str) -> None:
    with serving(says(said)) as server:
        heard = propose(setter_of(server), VIEW, 2)
        assert len(server.asked) == 1  # nothing is asked again
    assert heard.proposals == ()
    (rejected,) = heard.rejected
    assert why in rejected.why
    assert len(rejected.text) <= 200


def test_a_wrong_task_does_not_take_the_others_along() -> None:
    with serving(says(answer(task("open the door"), task(""), task("look up"), task("look down")))) as server:
        said = propose(setter_of(server), VIEW, 2)
    assert [one.instruction for one in said.proposals] == ["open the door", "look up"]
    assert [one.text for one in said.rejected] == [json.dumps(task(""))]
    with serving(says(answer(task("open the door"), task("look up"), task("look down")))) as server:
        said = propose(setter_of(server), VIEW, 2)
    assert [one.why for one in said.rejected] == ["it is one more than the 2 that were asked for"]


def test_a_model_that_fails_proposes_nothing_and_says_why() -> None:
    with serving(send(400, {"error": {"message": "no such model"}})) as server:
        said = propose(setter_of(server), VIEW, 2)
    assert said.proposals == ()
    assert said.rejected[0].why.startswith("the model failed: RefusedError")
    with serving(says(answer())) as server, pytest.raises(UserError, match="none is in view"):
        setter_of(server).propose(SetterView("doom"), 1)


def test_a_file_of_settings_has_a_model_told_in_words(tmp_path: Path) -> None:
    file = tmp_path / "setter.yaml"
    with serving(says(answer(task("open the door")))) as server:
        file.write_text(f"model: openai:clever@{server.url}\nsees: words\nexamples: 0\ntried: 0\n")
        setter = load_setter(f"llm:{file}")
        setter._caption = lambda frame: f"a wall of brightness {frame.max()}"  # type: ignore[attr-defined]
        assert len(propose(setter, VIEW, 1).proposals) == 1
    (user,) = [one for one in server.asked[0]["messages"] if one["role"] == "user"]
    content = user["content"] if isinstance(user["content"], str) else user["content"][0]["text"]
    assert "In view: a wall of brightness 200" in content
    assert "image_url" not in json.dumps(user)
    assert "Tried lately" not in content
    for text, why in (
        ("model: openai:clever\nsee: words\n", "see: unknown key"),
        ("model: tests.tasks.test_llm_setter:task\n", "model: expected a name"),
        ("sees: words\n", "model: is missing"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=why):
            load_setter(f"llm:{file}")
    with pytest.raises(UserError, match="can't be read"):
        load_setter(f"llm:{tmp_path / 'missing.yaml'}")
    with pytest.raises(UserError, match="llm:openai:MODEL@URL"):
        load_setter("llm")


@pytest.mark.slow
def test_small_tells_a_model_that_sees_words_what_is_in_view(tmp_path: Path) -> None:
    file = tmp_path / "setter.yaml"
    with serving(says(answer(task("open the door")))) as server:
        file.write_text(f"model: openai:clever@{server.url}\nsees: words\n")
        (one,) = load_setter(f"llm:{file}").propose(VIEW, 1)
    assert not isinstance(one, Rejected)
    assert "In view: " in json.dumps(server.asked[0]["messages"])

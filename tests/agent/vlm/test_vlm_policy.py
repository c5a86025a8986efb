"""A model with action tokens as a player of any world: whatever it writes parses, and it reads what was meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.capabilities import fitted
from agent.codec import Codec
from agent.plan import Plan, Stretch
from agent.policy import Context
from agent.prompted import USUAL, Setting, Turn
from agent.view import View
from agent.vlm.chat_template import end_of_turn
from agent.vlm.checkpoint import Manifest, save_checkpoint
from agent.vlm.policy import VlmPolicy, grow, load_hf, messages
from agent.vlm.prompted import PromptedVlm
from agent.vlm.turn_grammar import TurnGrammar, add_action_tokens, form_of, turn_text
from envs.action import KEYS, Action, KeyboardMouse
from tests.support.action_spaces import codecs
from tests.support.tiny_vlm import TINY, tiny
from tests.support.worlds import SquareWorld

EVERYTHING = Codec(KeyboardMouse(KEYS, pointer=True, wheel=True), {"Space": "jump"})
JUMP = Plan((Stretch(200, frozenset({"KeyW", "Space"}), look=(16.0, -4.0)), Stretch(115, pointer=(425, 315))))


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """Every tiny architecture with its processor and the action tokens."""
    torch.set_num_threads(1)
    made = {name: tiny(name) for name in TINY}
    for model, processor in made.values():
        assert add_action_tokens(processor.tokenizer) == 397
        grow(model, processor.tokenizer)
    return made


@pytest.fixture(scope="module")
def grammars(models: dict[str, Any]) -> dict[str, TurnGrammar]:
    return {
        name: TurnGrammar(p.tokenizer, end_of_turn(p), EVERYTHING, thought=12, speech=6)
        for name, (_, p) in models.items()
    }


def context(frames: int, seed: int = 0, **more: Any) -> Context:
    rng = np.random.default_rng(seed)
    return Context(
        frames=tuple(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(frames)),
        actions=((Action(frozenset({"KeyW"}), look=(4.0, 0.0)),) * 4,) * (frames - 1),
        **{"instruction": "go to the red key", "thoughts": ("see it left",) * (frames - 1), "seed": seed, **more},
    )


@pytest.mark.parametrize("name", TINY)
def test_turns_come_back_as_they_were_written(grammars: dict[str, TurnGrammar], name: str) -> None:
    grammar = grammars[name]
    assert form_of(grammar.tokenizer) == "tokens"
    for plan in (JUMP, Plan(done=True), Plan((Stretch(1000),) * 6)):
        for thought, speech in (("", ""), ("it is left", ""), ("", "done"), ("see it", "yes")):
            turn = Turn(plan, thought, speech)
            written = grammar.write(turn)
            assert grammar.parse(written.ids) == turn
            assert grammar.tokenizer.decode(written.ids[:-1]) == turn_text(turn)
            assert len(written.ids) <= grammar.longest
            assert grammar.tokenizer.decode(written.ids[written.action]) == turn_text(Turn(plan))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_grammar_allows_can_be_done_in_the_world(
    grammars: dict[str, TurnGrammar], data: st.DataObject
) -> None:
    codec = data.draw(codecs())
    grammar = grammars[data.draw(st.sampled_from(list(TINY)))].for_codec(codec)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    state, ids = grammar.begin(), list[int]()
    while state.place != "over":
        ids.append(int(rng.choice(grammar.allowed(state))))
        state = grammar.step(state, ids[-1])
    assert len(ids) <= grammar.longest
    turn = grammar.parse(ids)
    assert all(codec.space.contains(action) for action in codec.actions(turn.plan, 30.0))
    assert "\n" not in turn.thought + turn.speech


def test_what_is_no_turn_is_refused(grammars: dict[str, TurnGrammar]) -> None:
    grammar = grammars["idefics3"]
    ids = grammar.write(Turn(JUMP)).ids
    with pytest.raises(ValueError, match="is not over"):
        grammar.parse(ids[:-1])
    with pytest.raises(ValueError, match="can't stand at this place"):
        grammar.parse([grammar.end, *ids])
    with pytest.raises(ValueError, match="can't stand at this place"):  # the usual world has no key to jump
        grammar.for_codec(USUAL).parse(ids)
    silent = TurnGrammar(grammar.tokenizer, grammar.end, EVERYTHING, thought=0, speech=0)
    for turn in (Turn(JUMP, thought="see it"), Turn(JUMP, speech="hello")):
        with pytest.raises(ValueError, match="can't stand at this place"):
            silent.parse(grammar.write(turn).ids)


@pytest.mark.parametrize("name", TINY)
def test_a_model_plays_any_world_and_is_pure(models: dict[str, Any], name: str) -> None:
    """Untrained models write nonsense; it is a decision all the same, the same alone and in a batch."""
    world = SquareWorld()
    batch = [context(1, 1), context(3, 2), context(7, 3, memory="i saw a torch", dialogue=(("user", "hello"),))]
    for temperature in (0.0, 1.0):
        policy = fitted(VlmPolicy(*models[name], think=8, speech=4, temperature=temperature), world)
        assert policy.spec.tick_hz == world.tick_hz
        together = policy.act(batch)
        assert [policy.act([c])[0] for c in batch] == together
        assert all(world.action_space.contains(a) for decision in together for a in decision.actions)
    silent = fitted(VlmPolicy(*models[name], think="off", speech=0, temperature=1.0), world)
    assert all(not d.thought and not d.speech for d in silent.act(batch))


@pytest.mark.parametrize("name", ["idefics3", "gemma3"])
def test_a_static_cache_makes_the_same_decisions(models: dict[str, Any], name: str) -> None:
    """Of a model with full attention and of one with sliding windows, over several contexts at once."""
    asked = [context(1, seed=3), context(2, seed=4)]
    dynamic, static = (
        fitted(VlmPolicy(*models[name], think="off", speech=0, temperature=1.0, cache=cache), SquareWorld()).act(asked)
        for cache in ("dynamic", "static")
    )
    assert static == dynamic


def test_the_prompt_shows_controls_and_what_was_done() -> None:
    setting = Setting(EVERYTHING, 35.0, view=View.stretched((24, 32), 3))
    content = messages(context(4, memory="i saw a torch"), setting)[0]["content"]
    assert "Space: jump\n" in content[0]["text"]
    assert "What happened so far: i saw a torch" in content[0]["text"]
    turn = "<thought>see it left<act><yaw_16.0><key_KeyW><time_115><end_false>"
    assert [p.get("text", "image").strip() for p in content[1:]] == ["image", turn, "image", turn, "image"]


@pytest.mark.parametrize("name", TINY)
def test_marks_in_an_instruction_do_nothing(models: dict[str, Any], name: str) -> None:
    """Nobody who only writes instructions can end a turn, place an image or put an action into the model's mouth."""
    policy = VlmPolicy(*models[name])
    added = [token.content for token in policy.processor.tokenizer.added_tokens_decoder.values()]
    wild = " ".join(added) + "".join(token[:2] + token + token[2:] for token in added)
    ids = [policy.encode([context(2, instruction=text)])["input_ids"][0].tolist() for text in (wild, "go")]
    special = set(policy.processor.tokenizer.added_tokens_decoder)
    assert [i for i in ids[0] if i in special] == [i for i in ids[1] if i in special]


def test_a_checkpoint_comes_back(models: dict[str, Any], tmp_path: Path) -> None:
    model, processor = models["idefics3"]
    setting = Setting(view=View.stretched((48, 64), 3))
    save_checkpoint(model, processor, tmp_path / "model", Manifest(setting.spec, "tokens", {}))
    policy = load_hf(tmp_path / "model")
    assert isinstance(policy, VlmPolicy)
    assert policy.spec == setting.spec
    batch = [context(2, 5)]
    assert policy.act(batch) == VlmPolicy(model, processor, setting=setting).act(batch)

    model, processor = tiny("llava")
    save_checkpoint(model, processor, tmp_path / "text", Manifest(setting.spec, "text", {}))
    policy = load_hf(tmp_path / "text")
    assert isinstance(policy, PromptedVlm)
    assert policy.spec == setting.spec

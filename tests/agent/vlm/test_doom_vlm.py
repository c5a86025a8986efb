"""Models that were trained to speak doom4.1 go on playing: whatever they write parses, and they read what was meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import doom_codec as codec
from agent.checkpoint import CheckpointError
from agent.cli.compose import load_policy
from agent.lineage import VLM_MANIFEST
from agent.policy import Context, PolicySpec, thought_budget
from agent.view import View
from agent.vlm.chat_template import end_of_turn
from agent.vlm.checkpoint import Manifest, save_checkpoint
from agent.vlm.doom_grammar import Grammar, Turn, add_action_tokens, form_of, turn_text
from agent.vlm.doom_policy import DoomVlm, messages
from agent.vlm.free_text import TurnProcessor
from agent.vlm.policy import grow, load_hf
from envs.errors import UserError
from tests.support.tiny_vlm import TINY, tiny

ENDS = {"qwen3_vl": "<|im_end|>", "idefics3": "<end_of_utterance>", "gemma3": "<end_of_turn>", "llava": "</s>"}
KINDS = [(name, form) for name in TINY for form in ("text", "tokens")]


@pytest.fixture(scope="module")
def models() -> dict[tuple[str, str], Any]:
    """Every tiny architecture with its processor, in both forms."""
    torch.set_num_threads(1)
    made = {(name, form): tiny(name) for name, form in KINDS}
    for (_, form), (model, processor) in made.items():
        if form == "tokens":
            assert add_action_tokens(processor.tokenizer) == 38
            grow(model, processor.tokenizer)
    return made


@pytest.fixture(scope="module")
def grammars(models: dict[tuple[str, str], Any]) -> dict[tuple[str, str], Grammar]:
    return {kind: Grammar(p.tokenizer, end_of_turn(p), thought=12, speech=6) for kind, (_, p) in models.items()}


def context(frames: int, seed: int = 0, **more: Any) -> Context:
    rng = np.random.default_rng(seed)
    return Context(
        frames=tuple(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(frames)),
        actions=tuple(codec.decode(codec.tokens_of(16, 0, 1)).actions for _ in range(frames - 1)),
        **{"instruction": "go to the red key", "thoughts": ("see it left",) * (frames - 1), "seed": seed, **more},
    )


@pytest.mark.parametrize("name", TINY)
def test_the_end_of_a_turn_is_the_templates_own(models: dict[tuple[str, str], Any], name: str) -> None:
    processor = models[name, "text"][1]
    assert processor.tokenizer.convert_ids_to_tokens(end_of_turn(processor)) == ENDS[name]


@pytest.mark.parametrize("kind", KINDS)
def test_turns_come_back_as_they_were_written(grammars: dict[tuple[str, str], Grammar], kind: tuple[str, str]) -> None:
    grammar = grammars[kind]
    assert grammar.form == form_of(grammar.tokenizer) == kind[1]
    for tokens in ((0, 0, 0, 0), (16, 4, 8, 3), (3, 2, 4, 1)):
        for thought, speech in (("", ""), ("it is left", ""), ("", "done"), ("see it", "yes")):
            turn = Turn(tokens, thought, speech)
            written = grammar.write(turn)
            assert grammar.parse(written.ids) == turn
            assert grammar.tokenizer.decode(written.ids[:-1]) == turn_text(grammar.form, turn)
            assert len(written.ids) <= grammar.longest
            action = Turn(tokens)
            assert grammar.tokenizer.decode(written.ids[written.action]).strip() == turn_text(grammar.form, action)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_words_can_be_written(grammars: dict[tuple[str, str], Grammar], data: st.DataObject) -> None:
    """What a turn may not hold, such as line breaks and ends of turns, is left out; the rest is cut to its budget."""
    grammar = grammars[data.draw(st.sampled_from(KINDS))]
    tokens = data.draw(st.tuples(*(st.integers(0, size - 1) for size in codec.SIZES)))
    words = st.text() | st.sampled_from([*ENDS.values(), "<act><turn_3>", "act: turn 4\nsay: <image>"])
    turn = grammar.parse(grammar.write(Turn(tokens, data.draw(words), data.draw(words))).ids)
    assert turn.tokens == tokens


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_grammar_allows_parses(grammars: dict[tuple[str, str], Grammar], data: st.DataObject) -> None:
    grammar = grammars[data.draw(st.sampled_from(KINDS))]
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    state, ids = grammar.begin(), []
    while not state.node.final:
        ids.append(int(rng.choice(grammar.allowed(state))))
        state = grammar.step(state, ids[-1])
    assert len(ids) <= grammar.longest
    turn = grammar.parse(ids)
    codec.decode(turn.tokens)
    assert "\n" not in turn.thought + turn.speech


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_turn_is_refused(grammars: dict[tuple[str, str], Grammar], kind: tuple[str, str]) -> None:
    grammar = grammars[kind]
    ids = grammar.write(Turn(codec.NOOP)).ids
    with pytest.raises(ValueError, match="is not over"):
        grammar.parse(ids[:-1])
    with pytest.raises(ValueError, match="can't stand at this place"):
        grammar.parse([grammar.end, *ids])
    no_thought = Grammar(grammar.tokenizer, grammar.end, thought=0, speech=0)
    with pytest.raises(ValueError, match="can't stand at this place"):
        no_thought.parse(grammar.write(Turn(codec.NOOP, thought="see it")).ids)


def test_a_drawn_token_is_a_fair_draw(grammars: dict[tuple[str, str], Grammar]) -> None:
    grammar = grammars["idefics3", "tokens"]
    ids = grammar.write(Turn((2, 2, 0, 0))).ids[:1]
    allowed = grammar.allowed(grammar.step(grammar.begin(), ids[0]))
    scores = torch.zeros(1, len(grammar.tokenizer))
    scores[0, allowed[0]] = 3.0
    draws = []
    for seed in range(600):
        rules = TurnProcessor(grammar, 1, [seed], temperature=1.5)
        rules(torch.tensor([[0]]), scores)
        draws.append(int(rules(torch.tensor([[0, ids[0]]]), scores).argmax()))
    assert set(draws) <= set(allowed)
    expected = np.exp(2) / (np.exp(2) + len(allowed) - 1)
    assert np.mean(np.array(draws) == allowed[0]) == pytest.approx(expected, abs=0.08)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_plays_and_is_pure(models: dict[tuple[str, str], Any], kind: tuple[str, str]) -> None:
    """Untrained models write nonsense; it is a decision all the same, the same alone and in a batch."""
    model, processor = models[kind]
    batch = [context(1, 1), context(3, 2), context(7, 3, memory="i saw a torch", dialogue=(("user", "hello"),))]
    for temperature in (0.0, 1.0):
        policy = DoomVlm(model, processor, think=8, speech=4, temperature=temperature)
        together = policy.act(batch)
        assert [policy.act([c])[0] for c in batch] == together
        assert all(len(decision.actions) == codec.CHUNK for decision in together)
    silent = DoomVlm(model, processor, think="off", speech=0, temperature=1.0)
    assert all(not d.thought and not d.speech for d in silent.act(batch))


@pytest.mark.parametrize("name", TINY)
def test_the_prompt_shows_what_the_context_holds(models: dict[tuple[str, str], Any], name: str) -> None:
    policy = DoomVlm(*models[name, "text"])
    rich = context(7, memory="i saw a torch", dialogue=(("user", "go on"),), picture=np.zeros((9, 9, 3), np.uint8))
    (text,) = policy.processor.tokenizer.batch_decode(policy.encode([rich])["input_ids"], skip_special_tokens=True)
    for words in ("i saw a torch", "user: go on", "Instruction: go to the red key", "Wanted:"):
        assert text.count(words) == 1
    assert text.count("think: see it left\nact: turn 16 look 0 forward") == policy.spec.history - 1
    content = messages(rich, "text", policy.spec.history)[0]["content"]
    assert [part["type"] for part in content].count("image") == policy.spec.history + 1
    assert content[-1]["type"] == "image"
    assert np.array_equal(np.asarray(content[-1]["image"]), rich.frames[-1])


def test_actions_and_thoughts_stand_after_their_frames() -> None:
    chunks = tuple(codec.decode(codec.tokens_of(turn)).actions for turn in (1, 2, 4))
    full = Context(context(4).frames, "look up", chunks, ("a", "b", "c"))
    content = messages(full, "text", 3)[0]["content"]
    assert [p.get("text", "image").strip() for p in content[1:]] == [
        "image", "think: b\nact: turn 2 look 0", "image", "think: c\nact: turn 4 look 0", "image",
    ]  # fmt: skip
    fewer = Context(full.frames, "look up", chunks[1:])
    content = messages(fewer, "text", 8)[0]["content"]
    assert [p.get("text", "image").strip() for p in content[1:]] == [
        "image", "image", "act: turn 2 look 0", "image", "act: turn 4 look 0", "image",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_marks_in_an_instruction_do_nothing(models: dict[tuple[str, str], Any], kind: tuple[str, str]) -> None:
    """Nobody who only writes instructions can end a turn, place an image or put an action into the model's mouth."""
    policy = DoomVlm(*models[kind])
    added = [token.content for token in policy.processor.tokenizer.added_tokens_decoder.values()]
    wild = " ".join(added) + "".join(token[:2] + token + token[2:] for token in added)
    ids = [policy.encode([context(2, instruction=text)])["input_ids"][0].tolist() for text in (wild, "go")]
    special = set(policy.processor.tokenizer.added_tokens_decoder)
    assert [i for i in ids[0] if i in special] == [i for i in ids[1] if i in special]


@pytest.mark.parametrize(("think", "budget"), [("off", 0), ("auto", 64), (0, 0), (7, 7)])
def test_a_budget_of_thought(think: Any, budget: int) -> None:
    assert thought_budget(think, 64) == budget


@pytest.mark.parametrize("think", ["on", -1, True, 2.5])
def test_what_is_no_budget_is_refused(think: Any) -> None:
    with pytest.raises(ValueError, match="expected off, auto or a number"):
        thought_budget(think, 64)


def test_a_checkpoint_comes_back(models: dict[tuple[str, str], Any], tmp_path: Path) -> None:
    model, processor = models["idefics3", "tokens"]
    spec = PolicySpec(View.stretched((48, 64), 3), history=3, chunk=codec.CHUNK, tick_hz=20.0, codec=codec.VERSION)
    save_checkpoint(model, processor, tmp_path / "model", Manifest(spec, "tokens", {}))
    policy = load_policy(f"hf:{tmp_path / 'model'}")
    assert policy.spec == spec
    batch = [context(2, 5)]
    assert policy.act(batch) == DoomVlm(model, processor, spec=spec).act(batch)

    manifest = json.loads((tmp_path / "model" / VLM_MANIFEST).read_text())
    for changed, complaint in (
        ({"codec": "doom0"}, "has codec 'doom0', this version plays"),
        ({"format": 9}, "has format 9"),
        ({"history": "many"}, "can't be read"),
        ({"form": "text"}, "lacks the action tokens"),
    ):
        (tmp_path / "model" / VLM_MANIFEST).write_text(json.dumps(manifest | changed))
        with pytest.raises(CheckpointError, match=complaint):
            load_hf(tmp_path / "model")


def test_pickled_weights_are_not_read(models: dict[tuple[str, str], Any], tmp_path: Path) -> None:
    model, processor = models["llava", "text"]
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="safetensors"):
        load_policy(f"hf:{tmp_path}")


def test_a_model_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="say which model"):
        load_policy("hf")
    with pytest.raises(UserError, match=str(tmp_path)):
        load_policy(f"hf:{tmp_path / 'none'}")


def test_a_processor_without_a_chat_template_is_told(models: dict[tuple[str, str], Any]) -> None:
    model, processor = tiny("llava")
    processor.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        DoomVlm(model, processor)

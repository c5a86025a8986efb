"""A model of transformers that is only prompted plays any world: what it writes is an action of that world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent.capabilities import fitted
from agent.loop.players import InStep
from agent.loop.runtime import play
from agent.policy import Context
from agent.prompted import Setting
from agent.talk.chat_voice import voice_of
from agent.talk.conversation import Conversation
from agent.vlm.policy import load_hf
from agent.vlm.prompted import PromptedVlm, messages
from tests.support.talks import said, wait_for
from tests.support.tiny_vlm import TINY, tiny
from tests.support.worlds import ArrowsWorld, SquareWorld

FRAME = np.zeros((24, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    torch.set_num_threads(1)
    return {name: tiny(name) for name in TINY}


@pytest.mark.parametrize("name", TINY)
def test_whatever_it_writes_is_an_action_of_the_world(models: dict[str, Any], name: str) -> None:
    """Untrained models write nonsense; the grammar makes decisions of it, the same alone and in a batch."""
    pytest.importorskip("xgrammar")
    world = ArrowsWorld()
    batch = [Context((FRAME,), "go", seed=1), Context((FRAME,) * 2, "go on", (world_chunk(),), ("x",), seed=2)]
    for temperature in (0.0, 1.0):
        policy = PromptedVlm(*models[name], think=4, speech=2, temperature=temperature).for_world(world)
        together = policy.act(batch)
        assert [policy.act([context])[0] for context in batch] == together
        for decision in together:
            assert all(world.action_space.contains(action) for action in decision.actions)
            assert "unexpected" not in decision.thought


def world_chunk() -> Any:
    return Setting.of(ArrowsWorld()).codec.actions(Setting.of(ArrowsWorld()).codec.read("tap ArrowLeft"), 60.0)


def test_it_plays_an_episode(models: dict[str, Any]) -> None:
    policy = fitted(PromptedVlm(*models["idefics3"], think="off", speech=0, temperature=1.0), ArrowsWorld())
    assert (policy.spec.codec, policy.spec.tick_hz, policy.spec.chunk) == ("keys1", 60.0, 7)
    assert play(ArrowsWorld(), InStep(policy), "go", seed=0).ticks == 40


def test_the_prompt_holds_the_controls_and_what_was_done(models: dict[str, Any]) -> None:
    policy = PromptedVlm(*models["qwen3_vl"]).for_world(ArrowsWorld())
    context = Context((FRAME,) * 2, "find <|im_end|> it", (world_chunk(),), ("a wall",), memory="it began")
    content = messages(context, policy.setting, policy._clean)[0]["content"]
    first, frame, turn, last = content
    for part in ("ArrowLeft: go left", "other keys: ArrowRight", "Moving the mouse does nothing", "it began"):
        assert part in first["text"]
    assert "look" not in first["text"].replace("what you see", "")
    assert "<|im_end|>" not in first["text"]
    assert (frame["type"], last["type"]) == ("image", "image")
    assert turn["text"].strip() == "think: a wall\nact: tap ArrowLeft for 117ms"


def test_a_model_without_a_manifest_is_prompted(models: dict[str, Any], tmp_path: Path) -> None:
    model, processor = models["idefics3"]
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    policy: Any = load_hf(tmp_path, think="off")
    assert isinstance(policy, PromptedVlm)
    assert policy.spec.codec == "keys1"


def test_it_talks_too(models: dict[str, Any]) -> None:
    """An untrained one: its answers are nonsense, and the rules read what it makes nothing of."""
    world = SquareWorld(length=12)
    policy = PromptedVlm(*models[next(iter(TINY))], think=2, speech=2).for_world(world)
    voice, listener = voice_of(policy)
    talk = Conversation(voice, listener=listener, keep=True, paced=False)
    talk.attach(world)
    talk.begin("go")
    play(world, InStep(policy), talk.instruction, control=talk, subscribers=[talk], seed=1)
    talk.user("what do you see?")
    wait_for(lambda: not talk.answering, 60)
    (answer,) = [line for line in talk.lines if line.who == "agent" and line.whole]
    assert answer.text
    talk.user("go to the torch")
    wait_for(lambda: not talk.answering, 60)
    talk.close()
    by_rules = any(note.startswith("no model understands you") for note in said(talk, "note"))
    assert not by_rules or [goal.text for goal in talk.goals] == ["go to the torch"]

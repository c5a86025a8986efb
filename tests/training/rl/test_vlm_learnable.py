"""A vision-language model learns by reinforcement as `small` does: the same code, with low-rank changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.lineage import VLM_MANIFEST, content_hash
from agent.policy import Context
from agent.vlm.policy import VlmPolicy, grow, load_hf
from agent.vlm.turn_grammar import add_action_tokens
from tests.support.tiny_vlm import tiny
from training.rl.recipe import RlRecipe
from training.rl.train import MODEL, SUMMARY, train_rl
from training.rl.vlm_learnable import VlmLearnable, load_vlm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vlm") / "tiny"
    model, processor = tiny("idefics3", layers=1)
    add_action_tokens(processor.tokenizer)
    grow(model, processor.tokenizer)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def learnable(folder: Path) -> VlmLearnable:
    return load_vlm(str(folder), think=3)


def contexts(count: int) -> list[Context]:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (count, 120, 160, 3), dtype=np.uint8)
    return [Context((frame,), f"go to the lamp {'now ' * number}") for number, frame in enumerate(frames)]


@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_the_trainer_computes_the_probabilities_that_were_drawn_from(
    learnable: VlmLearnable, temperature: float
) -> None:
    seen = contexts(3)
    decisions = learnable.sample(seen, temperature=temperature, generator=torch.Generator().manual_seed(1))
    assert len({len(one.tokens) for one in decisions}) > 1
    batch = learnable.batch(seen, [one.tokens for one in decisions])
    scores = learnable.score(batch, temperature)
    for row, one in enumerate(decisions):
        count = len(one.tokens)
        assert scores.mask[row].sum() == count == len(one.log_probabilities)
        assert scores.log_probabilities[row, :count].tolist() == pytest.approx(one.log_probabilities, abs=1e-4)
        assert not scores.log_probabilities[row, count:].any()
        assert not scores.entropies[row, count:].any()
    assert scores.entropies.max() > 0.1
    torch.testing.assert_close(learnable.reference(batch, temperature), scores.log_probabilities, atol=1e-4, rtol=0)
    states = learnable.states(seen)
    assert learnable.value_head(states).shape == (3,)
    assert len(states.unique(dim=0)) == len({(one.instruction, one.frames[-1].tobytes()) for one in seen})


def test_it_learns_with_the_same_code_and_plays(folder: Path, tmp_path: Path) -> None:
    recipe = RlRecipe.of(
        {
            "policy": f"hf:{folder}", "suite": "lamp-basic", "reward": "tests.support.lamp_rewards:Near",
            "shaped": True, "think": "off", "iterations": 2, "tasks": 2, "group": 1, "time_limit": 8,
            "epochs": 1, "batch": 4, "entropy": 0.1, "rate": 1e-3, "limits": {"kl": 99.0},
        }
    )  # fmt: skip
    model = train_rl(recipe, tmp_path / "run")
    rounds = json.loads((tmp_path / "run" / SUMMARY).read_text())["rounds"]
    assert all(one["learned"] == one["decisions"] >= 2 for one in rounds)
    assert max(one["agreement"] for one in rounds) < 1e-4  # in the second round with weights that were learned
    assert rounds[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert rounds[1]["kl"] > rounds[0]["kl"]
    manifest = json.loads((model / VLM_MANIFEST).read_text())
    assert manifest["parent"] == {"name": "tiny", "hash": content_hash(folder)}
    assert (tmp_path / "run" / MODEL / "adapter_config.json").is_file()
    policy = load_hf(model)
    assert isinstance(policy, VlmPolicy)
    (decision,) = policy.act(contexts(1))
    assert decision.actions


def test_a_second_run_keeps_what_the_first_one_learned(folder: Path, tmp_path: Path) -> None:
    first = load_vlm(str(folder), think="off")
    with torch.no_grad():
        for name, parameter in first.module.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    first.save(tmp_path / "first", trained={}, data=(), recipe={})
    second = load_vlm(str(tmp_path / "first"), think="off")
    second.save(tmp_path / "second", trained={}, data=(), recipe={})
    third = load_vlm(str(tmp_path / "second"), think="off")
    seen = contexts(2)
    drawn = first.sample(seen, temperature=1.0, generator=torch.Generator().manual_seed(3))
    batches = [one.batch(seen, [decision.tokens for decision in drawn]) for one in (first, second, third)]
    scores = [
        one.score(batch, 1.0).log_probabilities.detach()
        for one, batch in zip((first, second, third), batches, strict=True)
    ]
    torch.testing.assert_close(scores[1], scores[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(scores[2], scores[0], atol=1e-4, rtol=0)
    untouched = load_vlm(str(folder), think="off")
    assert not torch.allclose(untouched.score(batches[0], 1.0).log_probabilities, scores[0], atol=1e-2)

"""`small`: what it learns from is what it plays by, and a checkpoint that does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from agent import codec
from agent.policy import Context
from agent.small import CheckpointError, SmallPolicy, load_small, words
from agent.small.model import FIELDS, SmallConfig, SmallModel
from agent.small.policy import PATIENCE, is_stuck, load_model, save_small
from envs.action import Action

TINY = SmallConfig(width=32, heads=2, layers=2, text_layers=1, channels=(16, 32))


@pytest.fixture
def model() -> SmallModel:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return SmallModel(TINY).eval()


def frames(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 120, 160), dtype=torch.uint8, generator=generator)


@torch.no_grad()
def test_the_trainer_and_the_player_see_the_same_thing(model: SmallModel) -> None:
    """Decoding token by token gives the tokens that are likeliest in the trainer's batch, for several instructions."""
    texts = ["go to the red key", "shoot the imp", "", "look up"]
    table, ids = (torch.from_numpy(a) for a in words.encode(texts))
    text, mask = model.read(table, ids)
    image = model.see(frames(2))
    tokens = model.decide(image.repeat_interleave(2, 0), text, mask)
    logits = model.write(image, text, mask, tokens)
    for field, values in enumerate(logits):
        assert values.shape == (4, FIELDS[field])
        assert (values.argmax(-1) == tokens[:, field]).all()


@torch.no_grad()
def test_an_instruction_is_read_alike_alone_and_in_a_batch(model: SmallModel) -> None:
    texts = ["pick up the yellow map", "face the torch"]
    together, _ = model.read(*(torch.from_numpy(a) for a in words.encode(texts)))
    alone, mask = model.read(*(torch.from_numpy(a) for a in words.encode(texts[1:])))
    used = mask[0, 0, 0]
    torch.testing.assert_close(together[1][used], alone[0][used], atol=1e-5, rtol=1e-4)


def test_later_fields_do_not_change_earlier_ones(model: SmallModel) -> None:
    table, ids = (torch.from_numpy(a) for a in words.encode(["go to the red key"]))
    text, mask = model.read(table, ids)
    image = model.see(frames(1))
    first = torch.zeros(1, len(FIELDS), dtype=torch.long)
    for field in range(1, len(FIELDS)):
        second = first.clone()
        second[0, field] = 1
        for earlier, (a, b) in enumerate(
            zip(model.write(image, text, mask, first), model.write(image, text, mask, second), strict=True)
        ):
            if earlier <= field:
                torch.testing.assert_close(a, b)


def test_the_policy_is_pure(model: SmallModel) -> None:
    policy = SmallPolicy(model, device="cpu", temperature=1.0)
    picture = frames(1)[0].permute(1, 2, 0).numpy()
    contexts = [Context((picture,), "take the red key", seed=seed) for seed in (1, 2, 1)]
    decisions = policy.act(contexts)
    assert decisions[0] == decisions[2] == policy.act(contexts[:1])[0]
    assert len(decisions[0].actions) == policy.spec.chunk


@pytest.mark.parametrize("text", ["", "   ", "!!!", "zxqv " * 50, "取 the ключ", "a" * 5000])
def test_no_instruction_is_too_strange(model: SmallModel, text: str) -> None:
    picture = np.zeros((120, 160, 3), np.uint8)
    assert SmallPolicy(model, device="cpu").act([Context((picture,), text)])[0].actions


def test_who_leads_nowhere_is_stuck() -> None:
    still, turn, back = (codec.decode(codec.tokens_of(turn=t)).actions for t in (0.0, 7.0, -7.0))
    walk = codec.decode(codec.tokens_of(forth=1)).actions

    def stuck(*chunks: tuple[Action, ...]) -> bool:
        return is_stuck(Context((np.zeros((120, 160, 3), np.uint8),), "go", chunks))

    assert stuck(*[still] * PATIENCE)
    assert stuck(*[turn, back] * (PATIENCE // 2))
    assert not stuck(*[still] * (PATIENCE - 1))
    assert not stuck(*[still] * (PATIENCE - 1), walk)
    assert not stuck(*[turn] * PATIENCE)
    assert stuck(walk, *[still] * PATIENCE)


def test_a_typo_stays_near_its_word() -> None:
    def shared(a: str, b: str) -> int:
        return len(set(words.ngrams(a)) & set(words.ngrams(b)))

    assert shared("candelabra", "candelarba") > shared("candelabra", "backpack")


def test_checkpoint_round_trip(model: SmallModel, tmp_path: Path) -> None:
    save_small(model, tmp_path / "made", parent="none", trained={"frames": 1})
    again = load_model(tmp_path / "made")
    for (name, a), b in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=2e-3, msg=name)
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("codec", "other9", "codec 'other9'"), ("format", 99, "format 99"), ("tick_hz", 20.0, "tick_hz 20.0")],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    model: SmallModel, tmp_path: Path, field: str, value: object, said: str
) -> None:
    save_small(model, tmp_path / "made")
    file = tmp_path / "made" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(CheckpointError, match=said):
        load_small(tmp_path / "made")


def test_weights_of_another_size_are_refused(model: SmallModel, tmp_path: Path) -> None:
    save_small(model, tmp_path / "made")
    file = tmp_path / "made" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["config"]["width"] = 64
    file.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_small(tmp_path / "made")


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="agent train small"):
        load_small(tmp_path)

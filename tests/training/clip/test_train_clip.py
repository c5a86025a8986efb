"""`agent train clip`: frames with captions, batches, the loss, and a run that is killed and goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from rewards.clip import Clip
from rewards.clip_encoder import Preparation
from tasks.outcomes import Shown
from tests.support.thread_workers import THREADS
from training.clip.batches import Batches
from training.clip.frames import CAPTIONS, CaptionedFrames, collect
from training.clip.models import CONFIG, SIZES, config_of
from training.clip.train import ClipRecipe, contrastive, train_clip
from training.recipe import Progress

EPISODES = {"doom-room": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return collect(tmp_path_factory.mktemp("frames") / "doom", EPISODES, 3, workers=THREADS)


def test_frames_have_captions_that_hold(folder: Path) -> None:
    data = CaptionedFrames.load(folder)
    assert data.frames.shape[1:] == (120, 160, 3)
    assert len(data.frames) > 30
    assert all(shown.true and not set(shown.true) & set(shown.false) for shown in data.shown)
    said = {caption for shown in data.shown for caption in shown.true}
    assert any(caption.startswith("standing right in front of") for caption in said)
    assert collect(folder, EPISODES, 3, workers=THREADS) == folder, "what is whole is left as it is"
    with pytest.raises(ValueError, match="held out"):
        collect(folder.parent / "other", {"doom-themes": 1}, 3)
    with pytest.raises(ValueError, match="no captions"):
        collect(folder.parent / "other", {"minetest-basic": 1}, 3)
    (broken := folder.parent / "broken").mkdir()
    (broken / CAPTIONS).write_text("")
    with pytest.raises(ValueError, match="no whole set"):
        CaptionedFrames.load(broken)


def test_a_batch_is_always_the_same_and_knows_what_holds(folder: Path) -> None:
    said: list[list[str]] = []

    def tokenize(texts: list[str]) -> torch.Tensor:
        said.append(texts)
        return torch.zeros(len(texts), 4, dtype=torch.long)

    prepare = Preparation((32, 32), (0.5,) * 3, (0.5,) * 3, "squash")
    batches = Batches([CaptionedFrames.load(folder)], tokenize, prepare, size=8, seed=5)
    (one,), (two,) = batches(0, 2)
    ((again,),) = batches(1, 2)
    assert torch.equal(two.pictures, again.pictures)
    assert said[1] == said[2]
    assert not torch.equal(one.pictures, two.pictures)
    assert one.holds.shape == (8, len(said[0]))
    assert bool(one.holds.any(1).all()), "every frame has a caption"
    assert not bool(one.holds.all()), "there are captions that don't hold"


def test_what_holds_as_well_is_no_negative() -> None:
    logits = torch.tensor([[2.0, 9.0, -9.0], [0.0, 3.0, -9.0]])
    both = torch.tensor([[True, True, False], [False, True, False]])
    only = torch.tensor([[True, False, False], [False, True, False]])
    assert float(contrastive(logits, both)[0]) < 0.1
    assert float(contrastive(logits, both)[1]) == pytest.approx(1.0)
    assert float(contrastive(logits, only)[0]) > 3.0
    assert float(contrastive(logits, only)[1]) == pytest.approx(0.5)


@pytest.mark.parametrize("size", sorted(SIZES))
def test_sizes_are_open_clips_own(size: str) -> None:
    model = open_clip.CLIP(**config_of(size)["model_cfg"])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 0.3e6 <= count <= 10e6


class KilledError(Exception):
    pass


def test_a_killed_run_goes_on_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    recipe = ClipRecipe(size="clip-small-1", episodes=EPISODES, steps=4, batch=8, workers=1, seed=3)
    for run in ("whole", "killed"):
        (tmp_path / run / "frames").mkdir(parents=True)
        (tmp_path / run / "frames" / "doom").symlink_to(folder)
    model = train_clip(recipe, tmp_path / "whole")
    with pytest.raises(ValueError, match="another recipe"):
        train_clip(recipe.model_copy(update={"seed": 4}), tmp_path / "whole")

    def kill(progress: Progress) -> None:
        if progress.stage == recipe.size:
            raise KilledError

    with pytest.raises(KilledError):
        train_clip(recipe, tmp_path / "killed", kill)
    again = train_clip(recipe, tmp_path / "killed")
    ours, theirs = (open_clip.create_model(f"local-dir:{one}").state_dict() for one in (model, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert json.loads((model / CONFIG).read_text())["model_cfg"]["embed_dim"] == SIZES["clip-small-1"].embedding
    assert Clip.load(str(model)).goal("doom", "look up") is not None


def test_it_learns_what_a_picture_shows(tmp_path: Path) -> None:
    """Black and white pictures: after a few steps the model tells which caption fits."""
    from training.clip.models import begin, save_weights
    from training.clip.train import _loss, _optimizer

    texts = ["looking up", "looking down"]
    begin(tmp_path, "clip-small-1", texts * 10, 0)
    model = open_clip.create_model(f"local-dir:{tmp_path}").train()
    frames = np.repeat(np.array([0, 255], np.uint8), 8)[:, None, None, None] * np.ones((1, 64, 64, 3), np.uint8)
    shown = [Shown(("looking up",), ("looking down",))] * 8 + [Shown(("looking down",), ("looking up",))] * 8
    data = CaptionedFrames(frames, shown, ["doom"] * 16)
    prepare = Preparation((128, 128), (0.5,) * 3, (0.5,) * 3, "squash")
    batches = Batches([data], open_clip.get_tokenizer(f"local-dir:{tmp_path}"), prepare, size=8, seed=1)
    optimizer = _optimizer(model, ClipRecipe(episodes=EPISODES, rate=3e-4))
    for (batch,) in batches(0, 60):
        loss, _ = _loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_weights(tmp_path, model.eval())
    clip = Clip.load(str(tmp_path))
    up, down = clip.goal("doom", "look up"), clip.goal("doom", "look down")
    assert up is not None
    assert down is not None
    chances = clip.chances([up, up, down, down], frames[[0, 8, 0, 8]])
    assert chances[0] > chances[1]
    assert chances[3] > chances[2]

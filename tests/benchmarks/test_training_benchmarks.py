"""The benchmarks of training, run for real at tiny sizes: each ends and prints what it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agent.small.checkpoint import save_small
from agent.small.model import SmallConfig, SmallModel
from benchmarks.train_speed import collate, lessons_of, single
from training.recipe import ignore_progress
from training.small.batches import Batch
from training.small.recipe import MODES, SmallRecipe, gather
from training.small.worlds_recipe import JointRecipe

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"width": 32, "heads": 2, "layers": 1, "text_layers": 1}

pytestmark = pytest.mark.benchmark


def run(name: str, *options: str, cwd: Path) -> str:
    """Run a benchmark as its description says; what it prints."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), *options],
        cwd=cwd, capture_output=True, text=True, timeout=580, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def rows(name: str, *options: str, cwd: Path) -> list[str]:
    """The lines of the table that a benchmark prints, without the progress between them."""
    printed = run(name, *options, cwd=cwd).replace("\r", "\n")
    return [line for line in printed.splitlines() if line.startswith("|")]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpus of two demonstrations, and a tiny checkpoint."""
    out = tmp_path_factory.mktemp("recordings")
    gather(out, "demonstrations", {"doom-room": 2}, 1, ignore_progress, workers=1)
    save_small(SmallModel(SmallConfig(**SIZES)), out / "tiny")
    return out


def test_train_speed(tmp_path: Path) -> None:
    options = ["--seconds", "0.1", "--frames", "32", "--episodes", "2", "--texts", "4", "--rounds", "1", "--json"]
    report = json.loads(run("train_speed", *options, cwd=tmp_path))
    assert report["texts/s"]["small"][0] > 0
    assert report["texts/s"]["Trainer"][0] > 0


def test_both_trainers_learn_the_same_texts(recordings: Path) -> None:
    """The loss of a packed frame's texts is that of the same texts, each in a row with its prompt and its frame."""
    batch: Batch = lessons_of(recordings, 1).at(3)
    assert batch.texts > 1
    torch.manual_seed(0)
    model = SmallModel(SmallConfig(**SIZES)).eval()
    rows = collate([single(batch, number) for number in range(batch.texts)])
    from agent.small.model import PromptBatch

    with torch.no_grad():
        hidden = model.write(model.encode(batch.frames, batch.prompt), batch.tokens, batch.order, batch.pack)
        packed = model.logits(hidden[batch.rows, batch.columns])
        names = ("table", "meanings", "ids", "places", "pack", "past", "ages")
        prompt = PromptBatch(**{name: rows[name] for name in names})
        tokens = rows["input_ids"]
        order = torch.arange(tokens.shape[1]).expand_as(tokens)
        hidden = model.write(model.encode(rows["pixel_values"], prompt), tokens, order, torch.zeros_like(tokens))
        logits = model.logits(hidden)
    learned = rows["labels"] != -100
    assert rows["labels"][learned].tolist() == batch.targets.tolist()
    torch.testing.assert_close(logits[:, :-1][learned[:, 1:]], packed, atol=1e-4, rtol=1e-4)


def test_overfit(tmp_path: Path) -> None:
    options = ["--episodes", "1", "--models", "idefics3", "--epochs", "1", "--width", "32", "--layers", "1"]
    lines = run("overfit", *options, cwd=tmp_path).splitlines()
    assert lines[-1].startswith("| push | idefics3")
    assert "of 1" in lines[-1]


def test_ablations(recordings: Path, tmp_path: Path) -> None:
    few = {"doom-room": 2}
    short = {"frames": 8, "rate": 1e-3}
    recipe = SmallRecipe.model_validate(
        {"workers": 1, "model": SIZES, "batch": 8, "demonstrations": few, "corrections": few, "views": few}
        | {"judged": few}
        | dict.fromkeys(MODES, short)
    )
    made = tmp_path / "run"
    made.mkdir()
    (made / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json")))
    for name in ("demonstrations", "views", "corrections", "corrections-2"):
        (made / name).symlink_to(recordings / "demonstrations")
    judged(made / "judged")
    options = ["--run", str(made), "--start", str(recordings / "tiny"), "--frames", "16", "--episodes", "1"]
    options += ["--rows", "before", "without corrections", "--suites", "doom-room"]
    for _ in range(2):  # the second time it only prints what is there
        table = rows("ablations", *options, cwd=tmp_path)
        assert [line.split("|")[1].strip() for line in table[-2:]] == ["before", "without corrections"]
    assert set(json.loads((tmp_path / "ablations.json").read_text())) == {
        "before, doom-room", "without corrections, doom-room",
    }  # fmt: skip


def test_small_parts(recordings: Path, tmp_path: Path) -> None:
    tiny = str(recordings / "tiny")
    options = ["--policy", tiny, "--before", tiny, "--episodes", "1", "--workers", "1", "--suites", "doom-basic"]
    for _ in range(2):  # the second time it only prints what is there
        table = run("small_parts", *options, cwd=tmp_path).splitlines()
        named = [line.split("|")[1].strip() for line in table[-5:]]
        assert named == ["all of it", "no meanings of words", "no past decisions", "no thoughts", "before"]
    assert len(json.loads((tmp_path / "small_parts.json").read_text())) == 5


def judged(folder: Path) -> None:
    """What the judge learns from: two black clips."""
    import numpy as np

    folder.mkdir()
    np.save(folder / "frames.npy", np.zeros((2, 8, 120, 160, 3), np.uint8))
    line = {"instruction": "go to the red key", "success": False, "reason": "nothing was done"}
    (folder / "episodes.jsonl").write_text(f"{json.dumps(line)}\n" * 2)


def test_worlds(recordings: Path, tmp_path: Path) -> None:
    made = tmp_path / "run"
    made.mkdir()
    (made / "doom").symlink_to(recordings / "demonstrations")
    recipe = JointRecipe.model_validate(
        {"workers": 1, "batch": 8, "worlds": {"doom": {"demonstrations": {"doom-room": 2}}}}
        | {"rounds": [{"frames": 16, "rate": 1e-4}]}
    )
    (made / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json")))
    options = ["--run", str(made), "--start", str(recordings / "tiny"), "--frames", "16", "--episodes", "1"]
    table = rows("worlds", *options, "--rows", "doom alone", cwd=tmp_path)
    assert [line.split("|")[1].strip() for line in table[-2:]] == ["before", "doom alone"]


@pytest.mark.timeout(600)
def test_workers_of_a_ray_cluster_play_what_one_process_plays(tmp_path: Path) -> None:
    said = run("ray_scale", "--workers", "1", "2", "--levels", "3", "--time-limit", "12", cwd=tmp_path)
    rows = json.loads((tmp_path / "runs" / "ray-scale" / "scale.json").read_text())
    assert [row["count"] for row in rows] == [1, 1, 2]
    assert all(row["same"] and row["steps_per_second"] > 0 and 0 <= row["idle"] < 1 for row in rows)
    assert "| ray 2 |" in said

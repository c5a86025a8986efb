"""Checkpoints go to the hub and come back as they were; what is code, or a pickle, goes neither way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, constants

from agent import cli
from agent.cli.compose import load_policy
from agent.hub.card import results_in
from agent.hub.push import CLIP, SMALL, kind_of, push_checkpoint, stage
from agent.hub_download import folder_of
from agent.lineage import content_hash
from agent.policy import Context
from agent.small import SmallPolicy
from agent.small.checkpoint import SHIPPED
from envs.errors import UserError
from rewards import clip
from tests.support.hub import TOKEN, Hub, hub
from tests.support.sources import ROOT
from tests.support.tiny_small import tiny_small

FRAME = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def results(path: Path, **more: Any) -> Path:
    path.write_text(json.dumps({"suite": "doom-basic", "policy": "small", "seed": 11, "think": "auto", "success": 0.952,
                                "ci": [0.93, 0.967], "episodes": 500, **more}))  # fmt: skip
    return path


def test_small_goes_to_the_hub_and_plays_from_there(
    stand_in: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny_small(tmp_path / "tiny")
    (folder / "optimizer.pt").write_bytes(b"a pickle")
    (folder / "extra.py").write_text("raise SystemExit")
    assert cli.run(["push", str(folder), "me/tiny", "--results", str(results(tmp_path / "basic.json"))]) == 0
    said = capsys.readouterr().out
    assert f"Pushed:   small, {stand_in.url}/me/tiny" in said
    assert "Left out: extra.py, optimizer.pt" in said
    repository = stand_in.repositories["me/tiny"]
    assert repository.private
    assert set(repository.commits[-1]) == {
        "README.md", "config.json", "generation_config.json", "manifest.json", "model.safetensors",
        "modeling_ludens_small.py", "processor_config.json",
    }  # fmt: skip

    policy, here = load_policy("hf:me/tiny", "off"), load_policy(str(folder), "off")
    assert isinstance(policy, SmallPolicy)
    contexts = [Context((FRAME,), "go to the red key")]
    assert policy.act(contexts) == here.act(contexts)
    assert policy.nouns == {"lantern": "lamp"}
    assert not [name for name in stand_in.fetched if name.endswith((".py", ".pt"))]
    assert content_hash(folder_of("me/tiny")) == content_hash(folder)
    out = ["--no-page", "--time-limit", "0.3", "--out", str(tmp_path / "run")]
    assert cli.run(["play", "look up", "--policy", "hf:me/tiny", "--seed", "1", *out]) == 0


def test_the_card_says_what_was_measured_where_the_hub_reads_it(tmp_path: Path) -> None:
    folder = tiny_small(tmp_path / "tiny")
    (folder / "README.md").write_text("---\nlanguage: en\ntags: [old]\n---\n# Mine\n\nAbout it.\n")
    several = tmp_path / "several.json"
    judge = {"suite": "doom-judge", "policy": "small", "auroc": 0.97, "auroc_ci": [0.96, 0.98], "episodes": 1000}
    several.write_text(json.dumps({"a": json.loads(results(tmp_path / "a").read_text()), "judge": judge, "x": 1}))
    (tmp_path / "staged").mkdir()
    stage(folder, tmp_path / "staged", results=results_in([several], folder), license="mit")
    card = ModelCard.load(tmp_path / "staged" / "README.md")
    assert (card.data.license, card.data.language, card.data.library_name) == ("mit", "en", "ludens")
    first, second = card.data.eval_results or ()
    assert (first.dataset_name, first.metric_name, first.metric_value) == ("doom-basic", "success rate", 0.952)
    assert first.dataset_args == {"seed": 11, "think": "auto", "count": 500}
    assert first.metric_args == {"confidence_interval_95": [0.93, 0.967]}
    assert (second.dataset_name, second.metric_type, second.metric_value) == ("doom-judge", "auroc", 0.97)
    assert card.text.strip() == "# Mine\n\nAbout it."
    assert "model-index" in yaml.safe_load((tmp_path / "staged" / "README.md").read_text().split("---")[1])


def test_the_shipped_weights_can_be_pushed_with_the_results_that_are_measured(tmp_path: Path) -> None:
    kind, left = stage(SHIPPED, tmp_path, results=results_in([ROOT / "benchmarks" / "results.json"], SHIPPED))
    assert (kind, left) == (SMALL, [])
    card = ModelCard.load(tmp_path / "README.md")
    found = {(r.dataset_name, r.metric_type): r.metric_value for r in card.data.eval_results or ()}
    measured = json.loads((ROOT / "benchmarks" / "results.json").read_text())
    assert found["doom-basic", "success"] == measured["doom-basic"]["success"]
    assert found["doom-answers", "exact"] == measured["doom-answers"]["exact"]
    assert card.data.license == "apache-2.0"
    assert content_hash(tmp_path) == content_hash(SHIPPED)


def test_results_of_another_checkpoint_or_of_none_are_refused(tmp_path: Path) -> None:
    one, other = tiny_small(tmp_path / "one"), tiny_small(tmp_path / "other", seed=1)
    assert results_in([results(tmp_path / "r", policy=str(one))], one)
    with pytest.raises(UserError, match=r"these are of .*other, another checkpoint than .*one"):
        results_in([results(tmp_path / "r", policy=str(other))], one)
    for content in ("{}", "[1]", '{"suite": "doom-basic"}', "no json"):
        (tmp_path / "r").write_text(content)
        with pytest.raises(UserError, match="--results"):
            results_in([tmp_path / "r"], one)


BY_TRANSFORMERS = """
import sys
import numpy as np
{imports}
from transformers import AutoModelForImageTextToText, AutoProcessor, pipeline
how = {how}
model = AutoModelForImageTextToText.from_pretrained("me/small", **how)
processor = AutoProcessor.from_pretrained("me/small", **how)
frame = np.load(sys.argv[1])
inputs = processor(images=[frame, frame], text=["go to the red torch", "look up"])
print(processor.batch_decode(model.generate(**inputs)))
print(processor.batch_decode(model.generate(**processor(images=frame, role="caption"))))
from PIL import Image
ask = pipeline("image-text-to-text", model=model, processor=processor)
told = ask(images=Image.fromarray(frame), text="go to the red torch", return_full_text=False)
print([told[0]["generated_text"]])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("imports", "how"), [("import agent.small.hf", {}), ("", {"trust_remote_code": True})], ids=["import", "auto_map"]
)
def test_transformers_loads_it_by_its_name(stand_in: Hub, tmp_path: Path, imports: str, how: dict[str, bool]) -> None:
    push_checkpoint(SHIPPED, "me/small", public=True)
    np.save(tmp_path / "frame.npy", FRAME)
    script = BY_TRANSFORMERS.format(imports=imports, how=how)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "frame.npy")], capture_output=True, text=True, check=False,
        cwd=tmp_path, env={**os.environ, "HF_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    acted, caption, piped = done.stdout.splitlines()[-3:]
    small = load_policy("small")
    assert caption == str(small.caption([FRAME]))
    (decision,) = small.act([Context((FRAME,), "go to the red torch")])
    assert f"think: {decision.thought}\\nact: look 32 0" in acted
    assert acted.startswith(piped[:-1])
    assert ("modeling_ludens_small.py" in stand_in.fetched) == bool(how)


def test_without_consent_no_code_of_a_repository_is_run(stand_in: Hub, tmp_path: Path) -> None:
    push_checkpoint(tiny_small(tmp_path / "tiny"), "me/tiny")
    files = stand_in.repositories["me/tiny"].commits[-1]
    files["modeling_ludens_small.py"] = b"raise SystemExit('ran')"
    files["config.json"] = files["config.json"].replace(b"ludens-small", b"ludens-other")
    with pytest.raises(UserError, match="policy 'hf:me/tiny'"):
        load_policy("hf:me/tiny")
    assert "modeling_ludens_small.py" not in stand_in.fetched
    files["config.json"] = json.dumps({"model_type": "idefics3", "attn_implementation": "some/kernel"}).encode()
    with pytest.raises(UserError, match=r"config\.json: attn_implementation has transformers download code"):
        load_policy("hf:me/tiny")


def test_a_revision_can_be_named(stand_in: Hub, tmp_path: Path) -> None:
    push_checkpoint(tiny_small(tmp_path / "one"), "me/tiny")
    first = stand_in.repositories["me/tiny"].sha()
    push_checkpoint(tiny_small(tmp_path / "two", seed=1), "me/tiny")
    hashes = [content_hash(folder_of(name)) for name in (f"me/tiny@{first}", "me/tiny")]
    assert hashes == [content_hash(tmp_path / "one"), content_hash(tmp_path / "two")]
    with pytest.raises(UserError, match="me/tiny has no revision 'gone' on"):
        folder_of("me/tiny@gone")


def test_what_can_not_be_had_is_told(stand_in: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=rf"me/none: no folder here, and no such repository on {stand_in.url}"):
        load_policy("hf:me/none")
    for name in ("../up", "a/b/c", "me/na me"):
        with pytest.raises(UserError, match="no name of the hub"):
            load_policy(f"hf:{name}")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(UserError, match=r"me/none can't be had from http://127\.0\.0\.1:1"):
        load_policy("hf:me/none")


def test_what_can_not_be_pushed_is_told(stand_in: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_small(tmp_path / "tiny")
    for name in ("tiny", "a/b/c", "me/ti ny"):
        with pytest.raises(UserError, match="no name of the hub; expected USER/NAME"):
            push_checkpoint(folder, name)
    with pytest.raises(UserError, match="no folder there"):
        push_checkpoint(tmp_path / "none", "me/tiny")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no safetensors"):
        push_checkpoint(tmp_path / "bare", "me/tiny")
    lora = tmp_path / "lora"
    lora.mkdir()
    shutil.copy(folder / "model.safetensors", lora / "adapter_model.safetensors")
    with pytest.raises(UserError, match="expected a checkpoint of agent train"):
        push_checkpoint(lora, "me/tiny")
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(UserError, match="is it cut off"):
        push_checkpoint(folder, "me/tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"refuses me/tiny: log in with 'hf auth login'"):
        push_checkpoint(tiny_small(tmp_path / "good"), "me/tiny")
    assert not stand_in.repositories


def test_a_clip_model_goes_to_the_hub_and_is_a_reward_from_there(stand_in: Hub, tmp_path: Path) -> None:
    assert kind_of(clip.SHIPPED) is CLIP
    push_checkpoint(clip.SHIPPED, "me/clip")
    there, here = clip.Clip.load("hf:me/clip"), clip.Clip.load(str(clip.SHIPPED))
    assert there.settings == here.settings
    frames = np.stack([FRAME, FRAME[::-1]])
    assert (there.encoder.images(frames) == here.encoder.images(frames)).all()

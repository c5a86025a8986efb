"""Checkpoints of small: damage is told in one line and at once, and a checkpoint knows where it comes from."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from agent import lineage
from agent.checkpoint import written_whole
from agent.cli import run
from agent.family import family, find_checkpoints
from agent.lineage import Data, Lineage, Parent, content_hash, recipe_hash
from agent.small import CheckpointError
from agent.small.checkpoint import SHIPPED, load_model, read_manifest, save_small
from agent.small.model import SmallConfig, SmallModel

TINY = SmallConfig(width=32, heads=2, layers=2, text_layers=1, channels=(16, 32))
SECONDS = 5.0  # a broken checkpoint is refused within this time, on a busy machine too

Change = Callable[[Path], Any]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "model"
    save_small(SmallModel(TINY), folder, trained={"stage": "first", "frames": 10})
    return folder


def says(**fields: Any) -> Change:
    """The manifest says something else."""

    def change(folder: Path) -> None:
        file = folder / "manifest.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | fields))

    return change


def sized(**sizes: Any) -> Change:
    """The manifest's config has other sizes."""

    def change(folder: Path) -> None:
        config = json.loads((folder / "manifest.json").read_text())["config"]
        says(config=config | sizes)(folder)

    return change


def manifest(data: bytes) -> Change:
    return lambda folder: (folder / "manifest.json").write_bytes(data)


def weights(edit: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """Some tensors are different."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors")

    return change


def raw(edit: Callable[[bytes], bytes]) -> Change:
    """The bytes of the weights' file are different."""

    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        file.write_bytes(edit(file.read_bytes()))

    return change


def piped(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def header(edit: Callable[[dict[str, Any]], Any]) -> Change:
    """The header of the weights' file tells something else."""

    def rewritten(data: bytes) -> bytes:
        (length,) = struct.unpack("<Q", data[:8])
        told = json.loads(data[8 : 8 + length])
        edit(told)
        text = json.dumps(told).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return raw(rewritten)


NAME = "small.head.bias"
DAMAGE: dict[str, tuple[Change, str]] = {
    # the manifest
    "gone": (lambda f: (f / "manifest.json").unlink(), "agent train small"),
    "a list": (manifest(b"[]"), r"object, got \[\]"),
    "null": (manifest(b"null"), "object, got None"),
    "a number": (manifest(b"3"), "object, got 3"),
    "a text": (manifest(b'"config"'), "object, got 'config'"),
    "empty": (manifest(b""), "no JSON"),
    "cut off": (manifest(b'{"format": 2, "mod'), "no JSON"),
    "not UTF-8": (manifest(b'{"format": "\xff\xfe"}'), "not UTF-8"),
    "UTF-16": (manifest('{"format": 2}'.encode("utf-16")), "not UTF-8"),
    "nested": (manifest(b"[" * 100_000), "nested too deeply"),
    "a huge number": (manifest(b'{"format": ' + b"9" * 5000 + b"}"), "no JSON"),
    "huge": (manifest(b" " * 2**21), "2,097,152 bytes"),
    "a folder": (lambda f: ((f / "manifest.json").unlink(), (f / "manifest.json").mkdir()), "no checkpoint there"),
    "a pipe": (piped("manifest.json"), "no checkpoint there"),
    "no format": (says(format=None), "format None"),
    "another codec": (says(codec="x" * 10_000), "codec 'xxx"),
    "another size of frames": (says(frame_size=[240, 320]), r"frame_size \[240, 320\]"),
    "nouns that are numbers": (says(nouns={"key": 3}), "nouns"),
    "nouns in a list": (says(nouns=["key"]), "nouns"),
    "a training that is no object": (says(trained="long"), "trained"),
    "a parent that is a number": (says(parent=3), "parent"),
    "data without counts": (says(data=[{"name": "rooms"}]), "parent or data"),
    "data with a text for a count": (says(data=[{"name": "rooms", "count": "many"}]), "counts"),
    # its sizes
    "no config": (says(config=None), "config: expected an object"),
    "a size that nobody knows": (sized(depth=3), "unknown sizes 'depth'"),
    "no heads": (sized(heads=0), "heads must be 1 to 128"),
    "negative heads": (sized(heads=-4), "heads must be"),
    "true heads": (sized(heads=True), "heads must be"),
    "heads that do not fit": (sized(heads=3), "split over 3 heads"),
    "ten million layers": (sized(layers=10**7), "layers must be 1 to 128"),
    "a hundred layers": (sized(layers=100), "do not fit"),
    "a wide model": (sized(width=4096, layers=128), "do not fit"),
    "half a width": (sized(width=32.5), "width must be"),
    "a width in words": (sized(width="wide"), "width must be"),
    "three channels": (sized(channels=[16, 32, 64]), "channels must be"),
    "channels that no group fits": (sized(channels=[12, 32]), "channels must be"),
    "a trillion kinds": (sized(kinds=10**12), "kinds must be"),
    # the weights
    "weights gone": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "a pipe of weights": (piped("model.safetensors"), "no weights"),
    "empty weights": (raw(lambda data: b""), "cut off"),
    "half of the weights": (raw(lambda data: data[: len(data) // 2]), "cut off"),
    "a byte too few": (raw(lambda data: data[:-1]), "cut off"),
    "a header that is cut off": (raw(lambda data: data[:100]), "cut off"),
    "another table of meanings": (says(meanings="0" * 64), "another table of meanings"),
    "a header of 2**60 bytes": (raw(lambda data: struct.pack("<Q", 2**60) + data[8:]), "cut off"),
    "no safetensors": (raw(lambda data: b"PK\x03\x04" + data), "cut off"),
    "a shape that is not there": (header(lambda told: told[NAME].update(shape=[10**12])), "cut off"),
    "a tensor too few": (weights(lambda found: found.pop(NAME)), "head.bias is missing"),
    "a tensor too many": (weights(lambda found: found.update(more=torch.zeros(1))), "'more' is not of this model"),
    "another shape": (weights(lambda found: found.update({NAME: torch.zeros(3)})), r"head.bias is \[3\]"),
    "whole numbers": (weights(lambda found: found.update({NAME: found[NAME].long()})), "head.bias is I64"),
    "NaN": (weights(lambda found: found[NAME].fill_(float("nan"))), "head.bias are not all finite"),
    "one infinity": (weights(lambda found: found[NAME][3:4].fill_(float("inf"))), "not all finite"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_in_one_line_and_at_once(sound: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sound, folder)
    change, said = DAMAGE[damage]
    change(folder)
    start = time.process_time()
    with pytest.raises(CheckpointError, match=said) as error:
        load_model(folder)
    assert time.process_time() - start < SECONDS
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400 + len(str(folder))


def test_there_are_enough_kinds_of_damage(sound: Path) -> None:
    assert len(DAMAGE) >= 40
    load_model(sound)


def test_every_way_of_loading_refuses_damage(sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agent.models import load_model as load_chat
    from agent.small import load_small
    from agent.small.hf import load_generated
    from envs.errors import UserError

    folder = tmp_path / "model"
    shutil.copytree(sound, folder)
    DAMAGE["NaN"][0](folder)
    for load in (load_small, load_generated):
        with pytest.raises(CheckpointError, match="finite"):
            load(folder)
    with pytest.raises(UserError, match="finite"):
        load_chat(f"small:{folder}")
    assert run(["doctor", str(folder)]) == 1
    told = capsys.readouterr().out
    assert "finite" in told
    assert told.count("\n") == 1


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "model"
    save_small(SmallModel(TINY), out)
    before = content_hash(out)

    def broken() -> None:
        with written_whole(out) as part:
            (part / "manifest.json").write_text("half")
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        broken()
    assert content_hash(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_checkpoint_names_its_parent_its_data_its_recipe_and_the_commit(tmp_path: Path) -> None:
    model, first, second = SmallModel(TINY), tmp_path / "first", tmp_path / "second"
    save_small(model, first)
    data = [Data("demonstrations/corpus", 1200), Data("run/judged", 30, "episodes")]
    save_small(model, second, parent=first, data=data, recipe={"rate": 0.1, "corpus": Path("/a/run/corpus")})
    found = Lineage.from_json(read_manifest(second))
    assert found.parent == Parent("first", content_hash(first))
    assert found.data == tuple(data)
    assert found.recipe == recipe_hash({"corpus": Path("/elsewhere/run/corpus"), "rate": 0.1}) != recipe_hash({})
    assert Lineage.from_json(read_manifest(first)).parent is None
    git = ["git", "-C", str(Path(lineage.__file__).parents[2]), "rev-parse", "--short=7", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    assert (done.stdout.strip() if done.returncode == 0 else "") in found.commit


def test_outside_of_a_clone_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "_ROOT", tmp_path)
    assert lineage.commit() == ""
    (tmp_path / ".git").mkdir()  # something that is no repository
    assert lineage.commit() == ""
    monkeypatch.setenv("PATH", str(tmp_path))  # no git
    assert lineage.commit() == ""


def test_a_hash_is_of_what_plays(tmp_path: Path) -> None:
    out = tmp_path / "model"
    save_small(SmallModel(TINY), out)
    before = content_hash(out)
    (out / "README.md").write_text("# A model")
    (out / "judge.json").write_text("{}")
    shutil.copytree(out, tmp_path / "copy")
    assert content_hash(out) == content_hash(tmp_path / "copy") == before
    says(nouns={"key": "key"})(out)
    assert content_hash(out) != before


def test_older_manifests_are_read(tmp_path: Path) -> None:
    assert Lineage.from_json(read_manifest(SHIPPED)).parent is not None
    save_small(SmallModel(TINY), tmp_path / "made")
    file = tmp_path / "made" / "manifest.json"
    old = {k: v for k, v in json.loads(file.read_text()).items() if k not in ("parent", "data", "recipe", "commit")}
    file.write_text(json.dumps(old))
    assert Lineage.from_json(read_manifest(tmp_path / "made")) == Lineage()
    load_model(tmp_path / "made")
    file.write_text(json.dumps(old | {"parent": "model"}))  # the fourth generation names its parent so
    assert Lineage.from_json(read_manifest(tmp_path / "made")) == Lineage(Parent("model"))


@pytest.fixture(scope="module")
def relatives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grandmother with two daughters, a granddaughter in another run, a stranger, and one that is broken."""
    runs = tmp_path_factory.mktemp("runs")
    model = SmallModel(TINY)
    save_small(model, runs / "a" / "vision", trained={"stage": "vision", "frames": 2000})
    save_small(model, runs / "a" / "cloning", parent=runs / "a" / "vision", data=[Data("rooms/corpus", 700)])
    save_small(model, runs / "a" / "talking", parent=runs / "a" / "vision", recipe={"talks": True})
    save_small(model, runs / "b" / "model", parent=runs / "a" / "cloning")
    save_small(model, runs / "c" / "model", parent=SHIPPED)
    save_small(model, runs / "d" / "model")
    (runs / "d" / "model" / "manifest.json").write_text("[]")
    return runs


def test_a_family_tree(relatives: Path) -> None:
    tree = family(find_checkpoints([relatives]))
    names = [(str(member.folder.relative_to(relatives)), member.depth) for member in tree]
    assert names == [
        ("a/vision", 0), ("a/cloning", 1), ("b/model", 2), ("a/talking", 1), ("c/model", 0), ("d/model", 0),
    ]  # fmt: skip
    assert "object, got []" in tree[-1].broken
    shipped = family(find_checkpoints([SHIPPED, relatives, relatives]))
    assert [member.depth for member in shipped if "c/model" in str(member.folder)] == [1]
    assert len(shipped) == 7


def test_the_command_line_shows_the_family(relatives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "checkpoints", str(relatives)]) == 0
    told = capsys.readouterr().out
    assert "        " + str(relatives / "b" / "model") in told
    assert "rooms/corpus: 700 frames" in told
    assert "from random weights; vision, 2,000 frames" in told
    assert f"from weights {content_hash(SHIPPED)[:12]} (not here)" in told
    assert "broken: " in told
    assert run(["list", "checkpoints", str(relatives / "a"), str(SHIPPED), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {Path(row["folder"]).name for row in found} == {"vision", "cloning", "talking", "weights"}

    assert run(["doctor", str(relatives / "a" / "cloning"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(row["folder"]).relative_to(relatives).parts for row in found["family"]] == [
        ("a", "vision"), ("a", "cloning"), ("b", "model"),
    ]  # fmt: skip
    assert run(["doctor", str(relatives / "c" / "model")]) == 0
    assert str(SHIPPED) in capsys.readouterr().out
    assert run(["list", "checkpoints", str(relatives / "nowhere")]) == 2
    assert run(["list", "worlds", str(relatives)]) == 2
    assert "agent list checkpoints" in capsys.readouterr().err

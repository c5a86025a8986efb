"""`agent train bc` on recordings of several games at once: one checkpoint, which plays each by the keys that it has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from agent import cli
from agent.cli.compose import load_policy, make_player
from agent.loop.runtime import play
from agent.vlm.checkpoint import Manifest
from agent.vlm.policy import load_hf
from envs.world import World
from tasks.task import Task
from tests.support.components import needs
from tests.support.tiny_vlm import tiny
from tests.support.worlds import SquareWorld
from training.data.episodes import Episode, Recorder, read_episode
from training.data.examples import Examples

PAGES = Path(__file__).parents[2] / "support" / "pages"
KEYS = {"arrows": {"ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"}, "square": {"KeyW", "KeyA", "KeyS", "KeyD"}}
DECISIONS = 6


@pytest.fixture
def games(tmp_path: Path) -> Iterator[dict[str, World]]:
    """A web page at 30 ticks a second that listens to the arrow keys, and a world at 50 with W A S D, the left button
    and a view that turns; their pictures differ in size and shape."""
    pytest.importorskip("playwright")
    from envs.browser.world import BrowserWorld

    page = {
        "page": str(PAGES / "arrows_lockstep.html"), "pointer_lock": False, "size": "48x48", "tick_hz": 30,
        "keys": sorted(KEYS["arrows"]), "controls": {"ArrowUp": "up"},
    }  # fmt: skip
    (tmp_path / "arrows.yaml").write_text(yaml.safe_dump(page))
    made: dict[str, World] = {"arrows": BrowserWorld(str(tmp_path / "arrows.yaml")), "square": SquareWorld(10**6)}
    yield made
    for world in made.values():
        world.close()


def played(world: World, policy: Any, folder: Path, decisions: int = DECISIONS) -> Episode:
    """The record of a policy, of the time that so many decisions usually take."""
    player = make_player(policy, Task("t", "go on", folder.name), world, "lockstep")
    recorder, ticks = Recorder(folder, policy="someone", durable=False), decisions * player.spec.chunk
    play(world, player, "go on", seed=1, time_limit=ticks, subscribers=[recorder], observe="decision")
    player.close()
    return read_episode(folder)


@needs("chromium")
@pytest.mark.parametrize("form", ["tokens", "text"])
def test_one_model_learns_two_games_and_plays_each_by_its_own_keys(
    games: dict[str, World], form: str, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    data = [tmp_path / "data" / name for name in games]
    for folder, world in zip(data, games.values(), strict=True):
        played(world, load_policy("random"), folder)
    examples = Examples(data, history=4)
    settings = [example.setting for example in map(examples.__getitem__, range(len(examples)))]
    heard = [set(setting.codec.keys) for setting in settings]
    assert heard == [KEYS["arrows"]] * DECISIONS + [KEYS["square"]] * DECISIONS
    assert {setting.tick_hz for setting in settings} == {30.0, 50.0}

    model, processor = tiny("idefics3")
    for part in (model, processor):
        part.save_pretrained(tmp_path / "tiny")
    options = f"--epochs 1 --batch {DECISIONS} --lr 1e-2 --history 4 --form {form} --out {tmp_path / 'run'}".split()
    folders = [word for folder in data for word in ("--data", str(folder))]
    assert cli.run(["train", "bc", "--model", str(tmp_path / "tiny"), *folders, *options]) == 0
    policy = load_hf(tmp_path / "run" / "model", temperature=1.0)
    manifest = Manifest.read(tmp_path / "run" / "model")
    assert manifest.trained["decisions"] == 2 * DECISIONS  # two steps, with every decision of both games
    assert [(of.count, of.unit) for of in manifest.lineage.data] == [(1, "episodes")] * 2

    for name, world in games.items():
        episode = played(world, policy, tmp_path / "played" / name, 10)
        pressed = {key for action in episode.actions() for key in action.keys}
        assert pressed <= KEYS[name]
        assert pressed, "nearly untrained, it presses anything that the world has"

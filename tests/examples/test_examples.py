"""The examples do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agent import cli
from agent.doom_codec import CHUNK
from agent.policy import Context
from agent.serve.server import PolicyServer
from examples import (
    any_gymnasium_environment,
    evaluate,
    play_a_world,
    remote_client,
    train,
    write_a_policy,
    write_a_reward,
)
from rewards.score import Failure, Score
from tasks.task import Task
from tests.support.sources import ROOT
from training.data.dataset import EpisodeDataset

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_world_is_played_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    play_a_world.main(tmp_path / "view.png")
    printed = capsys.readouterr().out
    assert "35 ticks a second, frames (120, 160, 3)" in printed
    assert re.search(r"after 40 ticks; .*view\.png", printed)
    assert (tmp_path / "view.png").stat().st_size > 1000


def test_the_own_policy_finds_what_is_red_and_is_found_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    write_a_policy.main(episodes=8)
    won = int(re.findall(r"^(\d+) of 8$", capsys.readouterr().out, re.MULTILINE)[0])
    assert won >= 4
    play = ["play", "go to the red torch", "--policy", "examples.write_a_policy:Reddest", "--seed", "3"]
    assert cli.run([*play, "--time-limit", "1", "--no-page", "--out", "run"]) == 0
    assert list(Path("run").glob("episode-*"))


def test_a_game_without_ludens_plays_with_a_served_policy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    served = PolicyServer(write_a_policy.Reddest(), "reddest")
    try:
        monkeypatch.setenv("LUDENS_TOKEN", served.token)
        monkeypatch.setattr(sys, "argv", ["remote_client.py", served.address])
        remote_client.main()
    finally:
        served.close()
    assert len(capsys.readouterr().out.splitlines()) == 3 * served.policy.spec.chunk


class Footage:
    success = True
    why = "told"

    def __init__(self, frames: int) -> None:
        self._frames = torch.stack([torch.full((24, 32, 3), 40 * i, dtype=torch.uint8) for i in range(frames)]).numpy()

    def decision_frames(self) -> object:
        return self._frames


def test_the_own_reward_scores_what_changed_and_fails_on_one_frame() -> None:
    task = Task("t", "look around", "square")
    long, short = write_a_reward.Change().score(task, [Footage(5), Footage(1)])  # type: ignore[list-item]
    assert isinstance(long, Score)
    assert long.value == pytest.approx(100 * 100 / 255)
    assert long.success
    assert isinstance(short, Failure)


def test_the_own_reward_is_called_by_its_name_on_recorded_episodes(capsys: pytest.CaptureFixture[str]) -> None:
    record = ["record", "--suite", "doom-basic", "--policy", "random", "--episodes", "2", "--out", "episodes"]
    assert cli.run([*record, "--workers", "1"]) == 0
    capsys.readouterr()
    write_a_reward.main("episodes")
    assert capsys.readouterr().out.count("of the picture changed") == 2
    assert cli.run(["rewards", "score", "--reward", "examples.write_a_reward:Change", "--episodes", "episodes"]) == 0


def test_a_gymnasium_environment_is_played_with_keys(capsys: pytest.CaptureFixture[str]) -> None:
    any_gymnasium_environment.main(episodes=2)
    printed = capsys.readouterr().out
    assert "keys: ['Digit0', 'Digit1'" in printed
    assert printed.count("the return 15") + printed.count("ended the episode") == 2


def test_a_model_learns_to_turn_as_the_expert_does(tmp_path: Path) -> None:
    train.record(tmp_path / "episodes", 6)
    model, losses = train.train(tmp_path / "episodes", epochs=4)
    assert losses[-1] < 0.9 * losses[0]
    policy = train.TurnerPolicy(model)
    dataset = EpisodeDataset(tmp_path / "episodes")
    frames = [dataset[0].frame, dataset[len(dataset) - 1].frame]
    first, last = policy.act([Context((frame,), "go to the red torch") for frame in (frames[0], frames[-1])])
    assert len(first.actions) == len(last.actions) == CHUNK


@pytest.mark.slow
def test_policies_are_measured_with_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.main(episodes=4)
    policy, expert = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"policy +\d+\.\d % \(\d+\.\d to \d+\.\d\) of 4", policy)
    assert re.match(r"expert +(75|100)\.0 %", expert)


LONGEST = {"cleanrl_ppo": 160, "remote_policy": 140}  # an algorithm in one file, as CleanRL's are; a whole server


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_call_it(path: Path) -> None:
    text = path.read_text()
    assert f"python examples/{path.name}" in text.split('"""')[1]
    assert len(text.splitlines()) <= LONGEST.get(path.stem, 110)


def test_an_example_runs_as_a_script() -> None:
    script = [sys.executable, ROOT / "examples" / "play_a_world.py"]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path("doom.png").exists()

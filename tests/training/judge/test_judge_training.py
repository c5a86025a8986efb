"""A judge of its own: it learns from the expert's episodes and from tries, and its eyes stay as they are."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.small.checkpoint import SHIPPED, load_model
from agent.small.judge_view import JUDGE_FRAMES
from agent.small.policy import load_small
from agent.small.vocabulary import VOCABULARY
from rewards.calibration import Calibration
from tests.support.components import needs
from tests.support.thread_workers import THREADS, no_processes
from training.judge import plays
from training.judge.plays import play
from training.judge.train import JudgeRecipe, train_judge, without_deed
from training.recipe import Progress

RECIPE = {
    "seed": 3, "workers": 1, "batch": 10, "epochs": 8, "keep": 0.0, "spoiled": 0.1,
    "shown": {"seed": 5, "suites": {"doom-room": 18}},
    "tried": {"seed": 6, "suites": {"doom-room": 16}, "time_limit": 120, "held_out": 0.3},
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    out, news = tmp_path_factory.mktemp("judge"), list[Progress]()
    with pytest.MonkeyPatch.context() as patch:
        no_processes(patch)
        train_judge(JudgeRecipe.of({**RECIPE, "rate": 1e-3}), out, news.append)
    return out, news


def test_it_learns_and_sees_as_before(trained: tuple[Path, list[Progress]]) -> None:
    out, _ = trained
    before, after = load_model(SHIPPED), load_model(out / "model")
    assert all(torch.equal(a, b) for a, b in zip(before.vision.parameters(), after.vision.parameters(), strict=True))
    frames = np.load(out / "tried" / "frames.npy")
    lines = [json.loads(line) for line in (out / "tried" / "episodes.jsonl").read_text().splitlines()]
    truth = np.array([line["success"] for line in lines])
    errors = []
    for folder in (SHIPPED, out / "model"):
        said = load_small(folder).judge([line["instruction"] for line in lines], frames)
        errors.append(np.abs(np.array([value for value, _ in said]) / 100.0 - truth).mean())
    assert errors[1] < min(errors[0], 0.2)


def test_its_progress_is_measured(trained: tuple[Path, list[Progress]]) -> None:
    out, _ = trained
    measured = Calibration.load(out / "model").progress
    assert measured is not None
    assert -1.0 <= measured <= 1.0
    assert any(news.stage == "progress" for news in trained[1])


def test_tries_are_a_players_own(trained: tuple[Path, list[Progress]]) -> None:
    out, _ = trained
    lines = [json.loads(line) for line in (out / "tried" / "episodes.jsonl").read_text().splitlines()]
    assert {line["success"] for line in lines} == {True, False}
    assert {line["source"] for line in lines} == {"tried"}
    assert len({line["verb"] for line in lines}) > 2
    frames = np.load(out / "tried" / "frames.npy", mmap_mode="r")
    assert all(len(np.unique(row[-1])) > 20 for row in frames)


def test_a_run_that_is_done_is_left_alone(trained: tuple[Path, list[Progress]]) -> None:
    out, _ = trained
    news: list[Progress] = []
    assert train_judge(JudgeRecipe.of({**RECIPE, "rate": 1e-3}), out, news.append) == out / "model"
    assert not news
    with pytest.raises(ValueError, match="another"):
        train_judge(JudgeRecipe.of({**RECIPE, "rate": 2e-3}), out)


def test_a_success_is_shown_without_the_deed() -> None:
    rng = np.random.default_rng(0)
    shown = np.array([without_deed(rng) for _ in range(300)])
    assert shown.shape == (300, JUDGE_FRAMES)
    still = np.array([len(set(row)) == 1 for row in shown.tolist()])
    assert 150 < still.sum() < 250
    assert set(shown[still][:, 0]) == set(range(1, JUDGE_FRAMES)), "the end, or a moment on the way"
    assert shown[~still].max() < JUDGE_FRAMES - 1, "who swings never gets there"
    assert set(shown[~still][:, 0]) == {0}
    assert shown.min() >= 0


@needs("mujoco-drawing")
def test_tries_of_another_world(tmp_path: Path) -> None:
    folder = play(tmp_path / "tried", {"playroom-basic": 6, "doom-room": 2}, seed=6, time_limit=60, workers=THREADS)
    lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    assert [line["suite"] for line in lines] == ["playroom-basic"] * 6 + ["doom-room"] * 2
    assert {line["verb"] for line in lines[:6]} <= {"look_at", "go_to", "lift"}
    for line in lines[:6]:
        assert line["reason"].startswith("did " if line["success"] else "did not ")
        assert set(line["reason"].split()) <= set(VOCABULARY), "a judge can write it"
    frames = np.load(folder / "frames.npy", mmap_mode="r")
    assert all(len(np.unique(row[-1])) > 20 for row in frames)


def test_tries_go_on_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plays, "_PORTION", 2)
    short = partial(play, counts={"doom-room": 4}, seed=6, time_limit=60, workers=THREADS)
    short(tmp_path / "whole")

    def stop(news: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        short(tmp_path / "cut", on_progress=stop)
    assert not (tmp_path / "cut" / "episodes.jsonl").exists()
    news: list[int] = []
    short(tmp_path / "cut", on_progress=lambda one: news.append(one.done))
    assert news == [4]
    for name in ("frames.npy", "episodes.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_is_held_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="doom-vault"):
        JudgeRecipe.of({**RECIPE, "tried": {"suites": {"doom-vault": 5}}})
    with pytest.raises(ValueError, match="playroom-themes"):
        JudgeRecipe.of({**RECIPE, "tried": {"suites": {"playroom-themes": 5}}})
    with pytest.raises(ValueError, match="playroom-basic"):
        JudgeRecipe.of({**RECIPE, "shown": {"suites": {"playroom-basic": 5}}})
    with pytest.raises(ValueError, match="at least one suite"):
        JudgeRecipe.of({**RECIPE, "shown": {"suites": {}}})
    with pytest.raises(ValueError, match="no tries"):
        play(tmp_path / "none", {}, 1)

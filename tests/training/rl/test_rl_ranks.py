"""Processes that learn together, as torchrun starts them, learn what one process learns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch

from agent.small import load_small
from tests.support import lamp_world
from tests.support.lamp_rewards import Up
from tests.support.tiny_small import tiny_small
from training.ranks import Ranks, launch
from training.recipe import OnProgress, ignore_progress
from training.rl.collect import pay_of, starts_of
from training.rl.learner import Learner
from training.rl.load import load_learnable
from training.rl.recipe import RlRecipe
from training.rl.rollouts import Collector, Rollout, sampler
from training.rl.train import MODEL, SUMMARY, train_rl


def _recipe(tiny: Path) -> RlRecipe:
    # The distance to the parent is a mean over tokens, so its mean over processes is nearly, not fully, that of all.
    return RlRecipe.of({
        "policy": str(tiny), "suite": "lamp-basic", "reward": "tests.support.lamp_rewards:Up", "think": "off",
        "tasks": 3, "group": 3, "worlds": 4, "time_limit": 8, "batch": 7, "rate": 3e-3, "epochs": 2, "kl": 0.0,
    })  # fmt: skip


def _learn(
    tiny: Path, rollouts: Sequence[Rollout], out: Path, ranks: Ranks, on_progress: OnProgress = ignore_progress
) -> None:
    torch.manual_seed(0)
    learnable = load_learnable(str(tiny), think="off")
    Learner(learnable, _recipe(tiny), ranks).learn(rollouts, 0)
    torch.save(learnable.state(), out / f"{ranks.count}-{ranks.rank}.pt")
    ranks.close()


def test_two_processes_take_the_steps_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lamp_world.register(monkeypatch)
    tiny = tiny_small(tmp_path / "tiny")
    wanted, before = _recipe(tiny), load_learnable(str(tiny), think="off")
    collector = Collector(lamp_world.LampWorld, wanted.worlds, Up(), pay_of(wanted))
    rollouts = collector.collect(before.spec, sampler(before, 1.0, 1), starts_of(wanted, Up(), 0)).rollouts
    decisions = sum(len(one.decisions) for one in rollouts)
    assert decisions % 7 in range(1, 7), "the last step is smaller than the others"
    _learn(tiny, rollouts, tmp_path, Ranks())
    launch(partial(_learn, tiny, rollouts, tmp_path), 2, tmp_path / "meeting", ignore_progress)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    apart = changed = 0.0
    for name, weight in alone.items():
        assert torch.equal(first[name], second[name])
        apart += float((first[name] - weight).abs().sum())
        changed += float((weight - before.state()[name]).abs().sum())
    assert changed > 1.0
    assert apart < 0.01 * changed, "sums in another order alone"


def test_there_are_tasks_for_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lamp_world.register(monkeypatch)
    ranks = Ranks()
    ranks.count = 4
    with pytest.raises(ValueError, match="3 tasks a round are fewer than 4 processes"):
        train_rl(_recipe(tiny_small(tmp_path / "tiny")), tmp_path / "run", ranks=ranks)


@pytest.mark.slow
def test_torchrun_starts_them(tmp_path: Path) -> None:
    command = (
        "agent train rl --suite doom-room --reward judge --iterations 2 --tasks 3 --group 2 --worlds 3 --time-limit 24 "
        f"--trust-reward --seed 3 --json --out {tmp_path / 'run'}"
    )
    torchrun = "torch.distributed.run --standalone --nproc-per-node 2 -m"
    done = subprocess.run(
        [sys.executable, "-m", *torchrun.split(), *command.split()], capture_output=True, text=True, check=False,
        cwd=tmp_path, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["checkpoint"] == str(tmp_path / "run" / MODEL), "told once"
    rounds = json.loads((tmp_path / "run" / SUMMARY).read_text())["rounds"]
    assert [one["episodes"] for one in rounds] == [6.0, 6.0]
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    load_small(tmp_path / "run" / MODEL)

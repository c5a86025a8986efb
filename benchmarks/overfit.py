"""Fine-tuning with real architectures: each tiny model learns a few episodes by heart and plays them from pixels.

    python benchmarks/overfit.py
    python benchmarks/overfit.py --episodes 2 --models idefics3 --epochs 100

Records short episodes of the expert in doom-basic, fine-tunes tiny models with random weights
(tests/support/tiny_vlm.py) on them with `training.vlm.train`, and plays the same tasks in lockstep. It makes weights,
tokenizers and processors itself and downloads nothing. The table says how many of the tasks each model fulfils, beside
the same model untrained.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from agent.loop.players import InStep, ScriptedPlayer
from agent.policy import Policy
from agent.vlm.policy import VlmPolicy, load_hf, load_model
from envs.doom.world import DoomWorld
from tasks.doom import suites
from tasks.expert_policy import ExpertPolicy
from tasks.play import play_task
from tasks.task import Task
from tests.support.tiny_vlm import TINY, tiny
from training.data.episodes import Recorder
from training.data.examples import Examples
from training.recipe import Progress
from training.vlm.train import BcRecipe, train_bc

LONGEST = 8  # decisions of an episode that counts as short


def record(world: DoomWorld, out: Path, episodes: int, seed: int) -> list[Task]:
    """Short successful episodes of the expert in `out`; their tasks."""
    tasks: list[Task] = []
    for task in suites.training("doom-basic").tasks(seed, 20 * episodes, evaluation=False):
        recorder = Recorder(out / f"{len(tasks)}", task=task, policy="expert", durable=False)
        player = ScriptedPlayer(ExpertPolicy().start(task))
        outcome = play_task(world, player, task, subscribers=[recorder], observe="decision")
        if outcome.success and outcome.decisions <= LONGEST:
            tasks.append(task)
        else:
            shutil.rmtree(recorder.path)
        if len(tasks) == episodes:
            return tasks
    raise RuntimeError(f"only {len(tasks)} short episodes in {20 * episodes}")


def successes(world: DoomWorld, policy: Policy, tasks: Sequence[Task]) -> int:
    return sum(bool(play_task(world, InStep(policy), task, observe="decision").success) for task in tasks)


def _note(losses: list[float], news: Progress) -> None:
    losses.append(news.figures["loss"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--models", nargs="+", choices=list(TINY), default=["qwen3_vl", "idefics3", "gemma3", "llava"])
    parser.add_argument("--epochs", type=float, default=120)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--history", type=int, default=1)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root, world = Path(folder), DoomWorld()
        tasks = record(world, root / "data", args.episodes, args.seed)
        decisions = len(Examples([root / "data"], history=args.history))
        print(f"{len(tasks)} episodes, {decisions} decisions, {args.epochs:g} epochs of batches of 16", flush=True)
        print("model        parameters  loss at the end  training s  untrained  successes", flush=True)
        for name in args.models:
            model, processor = tiny(name, width=args.width, layers=args.layers)
            size = sum(p.numel() for p in model.parameters())
            model.save_pretrained(root / name)
            processor.save_pretrained(root / name)
            # An untrained model plays until the time is up, so a few tasks do.
            before = successes(world, VlmPolicy(*load_model(root / name)), tasks[:3])
            recipe = BcRecipe(
                str(root / name), (str(root / "data"),), epochs=args.epochs, batch=16, rate=args.rate,
                history=args.history, seed=args.seed,
            )  # fmt: skip
            start, losses = time.perf_counter(), [0.0]
            checkpoint = train_bc(recipe, root / f"{name}-run", on_progress=partial(_note, losses))
            seconds = time.perf_counter() - start
            right = successes(world, load_hf(checkpoint), tasks)
            counts = f"{before:4d} of {len(tasks[:3])}  {right:6d} of {len(tasks)}"
            print(f"{name:12s} {size / 1e6:8.2f} M  {losses[-1]:15.4f}  {seconds:10.0f}  {counts}", flush=True)
        world.close()


if __name__ == "__main__":
    main()

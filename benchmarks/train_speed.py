"""How fast `small` learns: its own trainer against the Trainer of transformers, same model, same data, in one run.

    python benchmarks/train_speed.py --seconds 60

Counts texts (a decision, an answer, a caption, a proposal: each with its prompt) a second. Our trainer packs all texts
of a frame into one row, so that they share its picture, and runs a process on each core; the Trainer gets every text
with its frame, in batches of as many texts, and both cores. The two take turns twice, so that what else the machine
does meets both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.corpus import Corpus
from training.lessons import Lessons
from training.small import SmallRecipe, StageSection, gather, run_stage

ROOT = Path(__file__).resolve().parents[1]


def recipe(frames: int) -> SmallRecipe:
    made = SmallRecipe.load(ROOT / "training" / "small.yaml")
    few = {"demonstrations": {"doom-room": 120, "doom-compounds": 20}}
    return made.model_copy(update={**few, "cloning": StageSection(frames=frames, rate=1e-4)})


def ours(out: Path, frames: int) -> float:
    """Texts a second of `agent train small`'s cloning stage, without its start."""
    rates: list[float] = []
    run_stage(recipe(frames), out, "cloning", None, lambda news: rates.append(news.figures["frames/s"]))
    lessons = Lessons([Corpus.open(out / "demonstrations" / "corpus")], [32], 1, 0, goals_only=True)
    texts = np.mean([lessons.at(step).texts / 32 for step in range(10)])
    return float(rates[-1] * texts)


def theirs(out: Path, seconds: float) -> float:
    """Texts a second of transformers' Trainer; in a process of its own, with all cores."""
    done = subprocess.run(
        [sys.executable, __file__, "--trainer", str(out), "--seconds", str(seconds)],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return float(done.stdout.strip().splitlines()[-1])


def trainer(out: Path, seconds: float) -> None:
    """What `theirs` starts: prints texts a second."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from agent.small.hf import SmallForImageTextToText, SmallHfConfig
    from agent.small.prompt import pack

    lessons = Lessons([Corpus.open(out / "demonstrations" / "corpus")], [1], 1, 0, goals_only=True)
    words = lessons._instructions[0]

    class Texts(torch.utils.data.Dataset[Any]):
        """Single texts with their frames, decoded once as ours are."""

        def __len__(self) -> int:
            return 10**6

        def __getitem__(self, index: int) -> Any:
            rng = np.random.default_rng(index)
            row = int(rng.integers(len(lessons.corpora[0])))
            prompts, texts, _ = lessons._frame(rng, lessons.corpora[0], words, row)
            number = int(rng.integers(len(texts)))
            return lessons.corpora[0].frames[row], prompts[number], texts[number]

    def collate(items: Sequence[Any]) -> dict[str, Any]:
        length = max(len(text.tokens) for _, _, text in items)
        ids = torch.zeros(len(items), length, dtype=torch.long)
        labels = torch.full((len(items), length), -100)
        for i, (_, _, text) in enumerate(items):
            ids[i, : len(text.tokens)] = torch.tensor(text.tokens)
            labels[i, 1 : len(text.tokens)] = ids[i, 1 : len(text.tokens)]
        prompt = {k: v for k, v in vars(pack([[prompt] for _, prompt, _ in items])).items() if v is not None}
        frames = torch.from_numpy(np.stack([frame for frame, _, _ in items])).permute(0, 3, 1, 2)
        return {"input_ids": ids, "labels": labels, "pixel_values": frames, **prompt}

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.began, self.steps = 0.0, 0

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == 3:  # warm
                self.began = time.perf_counter()
            elif state.global_step > 3:
                self.steps += 1
                if time.perf_counter() - self.began > seconds:
                    self.rate = self.steps * args.per_device_train_batch_size / (time.perf_counter() - self.began)
                    control.should_training_stop = True

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=160, max_steps=10**6, learning_rate=1e-4, report_to=[],
            remove_unused_columns=False, save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        Trainer(
            SmallForImageTextToText(SmallHfConfig()), arguments, data_collator=collate, train_dataset=Texts(),
            callbacks=[clock],
        ).train()  # fmt: skip
    print(clock.rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="of training, each time")
    parser.add_argument("--frames", type=int, default=3200, help="that our trainer takes, each time")
    parser.add_argument("--trainer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.trainer:
        trainer(args.trainer, args.seconds)
        return
    rates: dict[str, list[float]] = {"small": [], "Trainer": []}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        gather(out, "demonstrations", recipe(args.frames).demonstrations, 1, lambda _: None)
        for _ in range(2):
            rates["small"].append(ours(out, args.frames))
            rates["Trainer"].append(theirs(out, args.seconds))
            for left in out.glob("cloning*"):
                subprocess.run(["rm", "-r", str(left)], check=True)
    ratios = [a / b for a, b in zip(rates["small"], rates["Trainer"], strict=True)]
    report = {"texts/s": rates, "ratios": ratios, "cores": os.cpu_count()}
    print(json.dumps(report, indent=2) if args.json else report)


if __name__ == "__main__":
    main()

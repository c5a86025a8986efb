"""How fast `small` learns: its own trainer beside the Trainer of transformers, with the same model and the same data.

    python benchmarks/train_speed.py --seconds 60

Counts texts a second. A text is a decision or another output, with its prompt. Our trainer packs all texts of a frame
into one row, so that they share the frame's tokens, and runs a process on each core. The Trainer gets every text with
its frame, in batches of as many texts as ours have, and all cores. The two take turns, so that other work on the
machine slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.recipe import Progress, ignore_progress
from training.small.batches import Batch
from training.small.corpus import Corpus
from training.small.lessons import Lessons
from training.small.recipe import SmallRecipe, StageSection, gather, run_stage

ROOT = Path(__file__).resolve().parents[1]
WARM = 3  # steps of the Trainer before its time counts


def recipe(frames: int, episodes: int) -> SmallRecipe:
    """The recipe of `agent train small` with few demonstrations and one short stage."""
    made = SmallRecipe.load(ROOT / "training" / "small" / "recipes" / "small.yaml")
    few = {"demonstrations": {"doom-room": episodes, "doom-compounds": -(-episodes // 6)}}
    return made.model_copy(update={**few, "cloning": StageSection(frames=frames, rate=1e-4)})


def lessons_of(out: Path, frames: int) -> Lessons:
    """What the cloning stage learns, in batches of some frames."""
    return Lessons([Corpus.open(out / "demonstrations" / "corpus")], [frames], 1, 0, goals_only=True)


def ours(out: Path, made: SmallRecipe) -> float:
    """Texts a second of the cloning stage, without its start."""
    rates: list[float] = []

    def note(news: Progress) -> None:
        rates.append(news.figures["frames/s"])

    run_stage(made, out, "cloning", None, note)
    shutil.rmtree(out / "cloning")
    lessons = lessons_of(out, made.batch)
    texts = np.mean([lessons.at(step).texts / made.batch for step in range(10)])
    return float(rates[-1] * texts)


def theirs(out: Path, seconds: float, texts: int) -> float:
    """Texts a second of transformers' Trainer, in a process of its own that may use all cores."""
    done = subprocess.run(
        [sys.executable, __file__, "--trainer", str(out), "--seconds", str(seconds), "--texts", str(texts)],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return float(done.stdout.strip().splitlines()[-1])


@dataclass(frozen=True)
class Text:
    """One text with its frame. `frame` uint8 (3, H, W); `tokens` (L,), with the role; the rest as in PromptBatch, of
    one prompt."""

    frame: Tensor
    tokens: Tensor
    table: Tensor
    meanings: Tensor
    ids: Tensor
    places: Tensor
    past: Tensor
    ages: Tensor


def single(batch: Batch, number: int) -> Text:
    """Text `number` of a batch of one frame."""
    prompt, written = batch.prompt, batch.pack[0, batch.columns] == number
    read = prompt.pack[0] == number
    words, remembered = read[: prompt.ids.shape[1]], read[prompt.ids.shape[1] :]
    return Text(
        frame=batch.frames[0],
        tokens=torch.cat([batch.tokens[0, batch.columns[written]], batch.targets[written][-1:]]),
        table=prompt.table,
        meanings=prompt.meanings,
        ids=prompt.ids[0][words],
        places=prompt.places[0][words],
        past=prompt.past[0][remembered],
        ages=prompt.ages[0][remembered],
    )


class Texts(torch.utils.data.Dataset[Text]):
    """Random texts of random frames, decoded once as ours are."""

    def __init__(self, lessons: Lessons) -> None:
        self._lessons = lessons

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> Text:
        batch = self._lessons.at(index)
        return single(batch, index % batch.texts)


def collate(texts: Sequence[Text]) -> dict[str, Tensor]:
    """What the model of transformers takes: a row for each text."""
    ends = np.cumsum([len(text.table) for text in texts])
    rows = [text.ids + int(end) - len(text.table) for text, end in zip(texts, ends, strict=True)]
    ids, past = _padded(rows, 0), _padded([text.past for text in texts], 0)
    remembered = _padded([torch.zeros_like(text.ages) for text in texts], -1)
    read = _padded([torch.zeros_like(text.ids) for text in texts], -1)
    tokens = _padded([text.tokens for text in texts], 0)
    labels = _padded([text.tokens for text in texts], -100)
    labels[:, 0] = -100  # the role is given
    return {
        "input_ids": tokens,
        "labels": labels,
        "pixel_values": torch.stack([text.frame for text in texts]),
        "table": torch.cat([text.table for text in texts]),
        "meanings": torch.cat([text.meanings for text in texts]),
        "ids": ids,
        "places": _padded([text.places for text in texts], 0),
        "pack": torch.cat([read, remembered], 1),
        "past": past,
        "ages": _padded([text.ages for text in texts], 0),
    }


def _padded(rows: Sequence[Tensor], empty: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=empty)


def trainer(out: Path, seconds: float, texts: int) -> None:
    """What `theirs` starts: prints texts a second."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from agent.small.hf import SmallForImageTextToText, SmallHfConfig

    class Clock(TrainerCallback):
        """Stops the training when its time is over."""

        began, rate = 0.0, 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            if state.global_step == WARM:
                self.began = time.perf_counter()
            elif state.global_step > WARM and (spent := time.perf_counter() - self.began) > seconds:
                self.rate = (state.global_step - WARM) * texts / spent
                control.should_training_stop = True

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, per_device_train_batch_size=texts, max_steps=10**6, learning_rate=1e-4, report_to=[],
            remove_unused_columns=False, save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True,
        )  # fmt: skip
        Trainer(
            SmallForImageTextToText(SmallHfConfig()), arguments, data_collator=collate,
            train_dataset=Texts(lessons_of(out, 1)), callbacks=[clock],
        ).train()  # fmt: skip
    print(clock.rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0, help="of the Trainer's training, each time")
    parser.add_argument("--frames", type=int, default=3200, help="that our trainer takes, each time")
    parser.add_argument("--episodes", type=int, default=120, help="of doom-room; a sixth as many of doom-compounds")
    parser.add_argument("--texts", type=int, default=160, help="in a step of the Trainer")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--trainer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.trainer:
        trainer(args.trainer, args.seconds, args.texts)
        return
    rates: dict[str, list[float]] = {"small": [], "Trainer": []}
    made = recipe(args.frames, args.episodes)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        gather(out, "demonstrations", made.demonstrations, 1, ignore_progress)
        for _ in range(args.rounds):
            rates["small"].append(ours(out, made))
            rates["Trainer"].append(theirs(out, args.seconds, args.texts))
    ratios = [a / b for a, b in zip(rates["small"], rates["Trainer"], strict=True)]
    report = {"texts/s": rates, "ratios": ratios, "cores": os.cpu_count()}
    print(json.dumps(report, indent=2) if args.json else report)


if __name__ == "__main__":
    main()

"""`Clips`: episodes in eight frames, as the judge learns from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.small.output_grammar import SCORING
from agent.small.prompt import Prompt
from agent.small.token_ids import JUDGE, SCORE_IDS, spell
from agent.small.word_hashing import split
from training.small.batches import Batch, assemble, words_of
from training.small.phrase_bank import mistyped


@dataclass
class Clips:
    """What the judge learns from: `frames` uint8 (N, JUDGE_FRAMES, H, W, 3), and for each episode the instruction,
    whether it was carried out, and why."""

    frames: npt.NDArray[np.uint8]
    instructions: list[list[str]]
    successes: list[bool]
    reasons: list[list[int]]

    @classmethod
    def open(cls, folder: Path) -> Clips:
        """What training.small.judge_episodes.collect wrote."""
        lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
        return cls(
            np.load(folder / "frames.npy", mmap_mode="r"),
            [split(line["instruction"]) for line in lines],
            [line["success"] for line in lines],
            [spell(line["reason"]) for line in lines],
        )

    def at(self, step: int, rank: int, size: int, seed: int) -> Batch:
        """Batch number `step`, `size` episodes."""
        rng = np.random.default_rng([seed, step, rank, 7])
        return self.batch(np.sort(rng.integers(len(self.frames), size=size)), rng)

    def batch(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """The episodes of some rows, their instructions mistyped now and then."""
        asked = [[Prompt(mistyped(rng, self.instructions[row]))] for row in rows]
        texts = [
            [words_of(JUDGE, [SCORE_IDS[-1 if self.successes[row] else 0], *self.reasons[row]], SCORING)]
            for row in rows
        ]
        frames = self.frames[rows]
        return assemble(frames.reshape(-1, *frames.shape[2:]), asked, texts)

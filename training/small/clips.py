"""`Clips`: episodes in eight frames, as the judge learns from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agent.small.judge_view import HOW_FAR
from agent.small.output_grammar import SCORING
from agent.small.prompt import Prompt
from agent.small.token_ids import JUDGE, SCORE_IDS, spell
from agent.small.word_hashing import split
from training.small.batches import Batch, Text, assemble, words_of
from training.small.phrase_bank import mistyped


@dataclass
class Clips:
    """What the judge learns from: `frames` uint8 (N, JUDGE_FRAMES, H, W, 3), and for each episode the instruction,
    whether it was carried out, why, and how far it came, from 0 to 1 or None."""

    frames: npt.NDArray[np.uint8]
    instructions: list[list[str]]
    successes: list[bool]
    reasons: list[list[int]]
    progress: list[float | None]

    @classmethod
    def open(cls, folder: Path) -> Clips:
        """What training.small.judge_episodes.collect wrote."""
        lines = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
        return cls(
            np.load(folder / "frames.npy", mmap_mode="r"),
            [split(line["instruction"]) for line in lines],
            [line["success"] for line in lines],
            [spell(line["reason"]) for line in lines],
            [1.0 if line["success"] else line.get("progress") for line in lines],
        )

    def at(self, step: int, rank: int, size: int, seed: int) -> Batch:
        """Batch number `step`, `size` episodes."""
        rng = np.random.default_rng([seed, step, rank, 7])
        return self.batch(np.sort(rng.integers(len(self.frames), size=size)), rng)

    def batch(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """The episodes of some rows, their instructions mistyped now and then."""
        asked: list[list[Prompt]] = []
        texts: list[list[Text]] = []
        for row in rows:
            words = mistyped(rng, self.instructions[row])
            score = SCORE_IDS[-1 if self.successes[row] else 0]
            asked.append([Prompt(words)])
            texts.append([words_of(JUDGE, [score, *self.reasons[row]], SCORING)])
            if (share := self.progress[row]) is not None:
                asked[-1].append(Prompt([*HOW_FAR, *words]))
                texts[-1].append(words_of(JUDGE, [SCORE_IDS[round(share * (len(SCORE_IDS) - 1))]], SCORING))
        frames = self.frames[rows]
        return assemble(frames.reshape(-1, *frames.shape[2:]), asked, texts)

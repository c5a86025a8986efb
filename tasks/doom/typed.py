"""From a typed instruction to a task: a level that holds what was asked for, and the verifier that tells."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from envs.doom.levels import TRAINING_THEMES, generate
from tasks.doom.build import level_for
from tasks.doom.language import read
from tasks.doom.suites import EVALUATION_SEEDS
from tasks.task import Task

TIME_LIMIT = 700  # ticks


def task_from_instruction(
    text: str, seed: int = 0, *, themes: Sequence[str] = TRAINING_THEMES, time_limit: int = TIME_LIMIT
) -> Task:
    """A task for an instruction as a person would type it; the same text and seed give the same task.

    Where the grammar does not know the sentence, or no such thing exists, the level is a random room and the
    verifier is None: the agent can try, and nobody can tell. Levels are never those of training. `time_limit`: ticks
    for a single room; what needs several rooms or steps gets more.
    """
    text = text.strip()
    rng = np.random.default_rng([zlib.crc32(text.lower().encode()), seed])
    level_seed = EVALUATION_SEEDS + int(rng.integers(EVALUATION_SEEDS))
    meaning = read(text)
    made = level_for(rng, meaning, level_seed, themes) if meaning is not None else None
    if made is None:
        options = {"level": generate(level_seed, themes=themes, panels=1).to_json()}
        return Task(f"typed/{seed}", text, "doom", level_seed, options, time_limit)
    (level, verifier), verb = made
    limit = time_limit * (2 if len(level.rooms) > 1 or verifier.name == "sequence" else 1)
    return Task(f"typed/{seed}", text, "doom", level_seed, {"level": level.to_json()}, limit, verifier, verb)

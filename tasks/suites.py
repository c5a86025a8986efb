"""Suites: families of tasks, and the splits that keep training and evaluation apart.

Every suite turns a seed and an index into a task, always the same one. Levels for training and for evaluation come
from disjoint halves of the seed space. `training(name)` gives only suites that demonstrations may use; what is held
out is reached by `evaluation(name)` alone, by its own name.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from envs.doom.levels import HELD_OUT_THEMES, TRAINING_THEMES, generate
from tasks.goals import HELD_OUT_PAIRS, Pair, distractors, goal_text, name_of, room_goal, targets_of
from tasks.language import Phrasing
from tasks.task import Task

__all__ = [
    "HELD_OUT_PAIRS", "SUITES", "Pair", "Suite", "distractors", "evaluation", "goal_text", "name_of", "room_goal",
    "targets_of", "training",
]  # fmt: skip

EVALUATION_SEEDS = 2**30  # level seeds from here on are for evaluation only
BASIC = ("go_to", "face", "pick_up", "shoot", "look")
ROOM = (*BASIC, "touch", "press", "stand_still")


@dataclass(frozen=True)
class Suite:
    """A family of tasks.

    `verbs` come in turn. `pairs`: "training" (never a held-out pair as target), "held_out" (only those), "all".
    `synonyms`: held-out words for things and colours. `held_out`: evaluation only.
    """

    name: str
    about: str
    verbs: tuple[str, ...] = BASIC
    themes: tuple[str, ...] = TRAINING_THEMES
    pairs: str = "training"
    phrasing: Phrasing = "training"
    synonyms: bool = False
    held_out: bool = False
    time_limit: int = 525
    generator: dict[str, Any] = field(default_factory=dict)

    def task(self, seed: int, index: int, *, evaluation: bool = True) -> Task:
        """Task number `index` of the suite under `seed`."""
        if self.held_out and not evaluation:
            raise ValueError(f"suite {self.name!r} is held out from training")
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), seed, index, int(evaluation)])
        for _ in range(20):
            level_seed = int(rng.integers(EVALUATION_SEEDS)) + (EVALUATION_SEEDS if evaluation else 0)
            verb = self.verbs[index % len(self.verbs)]
            try:
                return _room_task(self, rng, verb, level_seed, f"{self.name}/{seed}/{index}")
            except ValueError:
                continue  # the room was too small for what it has to hold; the next seed makes another
        raise ValueError(f"suite {self.name!r}: no level for task {index} of seed {seed}")

    def tasks(self, seed: int, n: int, *, evaluation: bool = True) -> Iterator[Task]:
        return (self.task(seed, index, evaluation=evaluation) for index in range(n))


def _room_task(suite: Suite, rng: np.random.Generator, verb: str, level_seed: int, task_id: str) -> Task:
    # held-out pairs exist for verbs with a target only
    pairs = suite.pairs if targets_of(verb, suite.pairs) else "all"
    things, options = room_goal(rng, verb, pairs)
    level = generate(level_seed, things=things, themes=suite.themes, **{**suite.generator, **options})
    text, verifier = goal_text(rng, verb, level, suite.phrasing, synonyms=suite.synonyms)
    return Task(task_id, text, "doom", level_seed, {"level": level.to_json()}, suite.time_limit, verifier, verb)


_TARGETED = ("go_to", "face", "pick_up", "shoot")

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("doom-basic", "one room: go to, face, pick up, shoot, look"),
        Suite("doom-room", "one room, all its verbs: doom-basic and touch, press, stand still", verbs=ROOM),
        Suite(
            "doom-pairs", "doom-basic with (kind, colour) pairs that no training instruction names",
            verbs=_TARGETED, pairs="held_out", held_out=True,
        ),
        Suite("doom-themes", "doom-basic with textures never trained on", themes=HELD_OUT_THEMES, held_out=True),
        Suite("doom-phrasings", "doom-basic in sentences never trained on", phrasing="held_out", held_out=True),
        Suite(
            "doom-synonyms", "doom-basic with words for things and colours never trained on",
            verbs=_TARGETED, synonyms=True, held_out=True,
        ),
    )
}  # fmt: skip


def evaluation(name: str) -> Suite:
    """A suite by name, held out or not. Raises LookupError for an unknown name."""
    if name not in SUITES:
        raise LookupError(f"unknown suite {name!r}; known: {', '.join(SUITES)}")
    return SUITES[name]


def training(name: str) -> Suite:
    """A suite that training may use. Raises ValueError for one that is held out."""
    suite = evaluation(name)
    if suite.held_out:
        raise ValueError(f"suite {name!r} is held out: training code can't use it")
    return suite

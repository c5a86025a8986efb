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

from envs.doom.level import Level
from envs.doom.levels import HELD_OUT_THEMES, TRAINING_THEMES, generate
from envs.doom.things import ACTORS, KINDS
from tasks.language import Phrasing, noun_phrase, phrase
from tasks.task import Task, VerifierSpec

Pair = tuple[str, str | None]

# (kind, colour) pairs that no training instruction names; each kind and each colour is known from other pairs.
HELD_OUT_PAIRS: frozenset[Pair] = frozenset(
    {
        ("key", "yellow"), ("bush", "yellow"), ("skull", "green"), ("map", "green"),
        ("armor", "blue"), ("torch", "blue"), ("column", "red"), ("demon", "red"),
    }
)  # fmt: skip

_EVALUATION_SEEDS = 2**30  # level seeds from here on are for evaluation only
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
            level_seed = int(rng.integers(_EVALUATION_SEEDS)) + (_EVALUATION_SEEDS if evaluation else 0)
            verb = self.verbs[index % len(self.verbs)]
            try:
                return _room_task(self, rng, verb, level_seed, f"{self.name}/{seed}/{index}")
            except ValueError:
                continue  # the room was too small for what it has to hold; the next seed makes another
        raise ValueError(f"suite {self.name!r}: no level for task {index} of seed {seed}")

    def tasks(self, seed: int, n: int, *, evaluation: bool = True) -> Iterator[Task]:
        return (self.task(seed, index, evaluation=evaluation) for index in range(n))


def targets_of(verb: str, pairs: str = "all") -> list[Pair]:
    """The (kind, colour) pairs that a verb can be asked for, within a split."""
    roles = {"pick_up": {"pickup"}, "shoot": {"monster"}, "touch": {"solid", "monster"}}.get(verb)
    found = [p for p in ACTORS if roles is None or KINDS[p[0]].role in roles]
    if pairs == "training":
        found = [p for p in found if p not in HELD_OUT_PAIRS]
    elif pairs == "held_out":
        found = [p for p in found if p in HELD_OUT_PAIRS]
    return found


def distractors(rng: np.random.Generator, target: Pair, verb: str) -> list[Pair]:
    """Things that are easily taken for the target: its kind in another colour, its colour on another kind."""
    kind, colour = target
    others = []
    if colour is not None:
        others.append((kind, str(rng.choice([c for c in KINDS[kind].colours if c and c != colour]))))
        same = [p for p in targets_of(verb) if p[1] == colour and p[0] != kind]
        if same:
            others.append(same[rng.integers(len(same))])
    alike = [p for p in targets_of(verb) if p != target and p not in others]
    if alike:
        others.append(alike[rng.integers(len(alike))])
    return others


def name_of(rng: np.random.Generator, level: Level, index: int, *, synonyms: bool = False) -> str:
    """Words that tell thing number `index` from all others in its level."""
    thing = level.things[index]
    unique = sum(t.kind == thing.kind for t in level.things) == 1
    return noun_phrase(rng, thing.kind, thing.colour, unique_kind=unique and not synonyms, synonyms=synonyms)


def room_goal(rng: np.random.Generator, verb: str, pairs: str = "training") -> tuple[list[Pair], dict[str, Any]]:
    """What a single room must hold for a verb: things, the target first, and generator options."""
    if verb in ("look", "stand_still"):
        return [], {}
    if verb == "press":
        return [], {"panels": 1}
    targets = targets_of(verb, pairs)
    target = targets[rng.integers(len(targets))]
    return [target, *distractors(rng, target, verb)], {}


def goal_text(
    rng: np.random.Generator, verb: str, level: Level, phrasing: Phrasing = "training", *, synonyms: bool = False
) -> tuple[str, VerifierSpec]:
    """An instruction for `verb` in a level whose first thing is the target, and its verifier."""
    if verb == "look":
        direction = str(rng.choice(["up", "down"]))
        return phrase(rng, f"look_{direction}", phrasing=phrasing), VerifierSpec("look", {"direction": direction})
    if verb == "stand_still":
        return phrase(rng, verb, phrasing=phrasing), VerifierSpec(verb)
    if verb == "press":
        return phrase(rng, verb, noun_phrase(rng, "panel", None), phrasing=phrasing), VerifierSpec(verb, {"panel": 0})
    name = name_of(rng, level, 0, synonyms=synonyms)
    return phrase(rng, verb, name, phrasing=phrasing), VerifierSpec(verb, {"targets": [0]})


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
        Suite("doom-themes", "doom-basic in rooms with textures never trained on", themes=HELD_OUT_THEMES, held_out=True),
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

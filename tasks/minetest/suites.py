"""Suites of Minetest, and tasks from typed sentences. The splits are those of tasks.suite."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from envs.minetest.level import SITES, Level, generate
from envs.minetest.things import COLOURS, HELD_OUT_THEMES, KINDS, TRAINING_THEMES
from tasks.minetest.language import NUMBERS, Meaning, kinds_for, phrase, read
from tasks.suite import EVALUATION_SEEDS, Suite, level_seed
from tasks.task import Task, VerifierSpec

Pair = tuple[str, str]

# (kind, colour) pairs that no training instruction names; each kind and each colour is known from other pairs.
HELD_OUT_PAIRS: frozenset[Pair] = frozenset(
    {
        ("block", "green"), ("pillar", "red"), ("pyramid", "yellow"), ("cross", "purple"), ("wall", "blue"),
        ("chest", "white"), ("house", "red"), ("pillar", "white"), ("block", "purple"), ("cross", "green"),
    }
)  # fmt: skip
BASIC = ("look_at", "go_to", "dig")
TIME_LIMIT = 700  # ticks


@dataclass(frozen=True)
class MinetestSuite(Suite):
    """A family of tasks in Minetest. `natural`: in natural terrain."""

    world = "minetest"
    verbs: tuple[str, ...] = BASIC
    themes: tuple[str, ...] = TRAINING_THEMES
    time_limit: int = TIME_LIMIT
    natural: bool = False

    def make(self, rng: np.random.Generator, task_id: str, verb: str, evaluation: bool) -> Task:
        pairs = [
            (kind, colour)
            for kind in KINDS
            for colour in COLOURS
            if kind in kinds_for(verb) and ((kind, colour) in HELD_OUT_PAIRS) == (self.pairs == "held_out")
        ]
        if self.natural:
            pairs = [pair for pair in pairs if pair[0] != "house"]
        count = int(rng.choice(list(NUMBERS))) if verb == "collect" else 1
        meaning = Meaning(verb, *pairs[rng.integers(len(pairs))], count)
        seed = level_seed(rng, evaluation)
        level, spec = make(rng, meaning, seed, self.themes, natural=self.natural)
        text = phrase(rng, meaning, self.phrasing)
        return Task(task_id, text, "minetest", seed, {"level": level.to_json()}, self.time_limit, spec, verb)


def make(
    rng: np.random.Generator, meaning: Meaning, seed: int, themes: Sequence[str] = TRAINING_THEMES, *,
    natural: bool = False,
) -> tuple[Level, VerifierSpec]:  # fmt: skip
    """A level in which it can be done and is not done yet, and the verifier. Raises ValueError."""
    colour = meaning.colour or str(rng.choice(list(COLOURS)))
    other_colour = str(rng.choice([name for name in COLOURS if name != colour]))
    other_kind = str(rng.choice([name for name in KINDS if name not in (meaning.kind, "house")]))
    # what is easily taken for it: the same colour on another kind, and, where it was named, its kind in another colour
    things = [(meaning.kind, colour)] * meaning.count + [(other_kind, colour)]
    if meaning.colour is not None:
        things.append((meaning.kind, other_colour))
    items = [("block", str(rng.choice(list(COLOURS))), 1)] if meaning.verb == "place_on" else []
    half = len(SITES) // 2
    sites = range(half, len(SITES)) if seed >= EVALUATION_SEEDS else range(half)
    most = max(6, len(things) + 2)
    for attempt in range(20):
        try:
            level = generate(
                seed ^ attempt, things=things, n_things=(len(things), most), themes=themes, natural=natural,
                sites=sites, items=items,
            )  # fmt: skip
        except ValueError:
            continue
        named = [i for i, t in enumerate(level.things) if t.kind == meaning.kind and meaning.colour in (None, t.colour)]
        args: dict[str, Any] = {"targets": named}
        if meaning.count > 1:
            args["count"] = meaning.count
        return level, VerifierSpec(f"minetest.{'dig' if meaning.verb == 'collect' else meaning.verb}", args)
    raise ValueError(f"no level in which one can {meaning.verb} the {meaning.kind}")


def task_from_instruction(text: str, seed: int = 0) -> Task:
    """A task for a typed instruction; without a verifier where the grammar does not know it."""
    rng = np.random.default_rng([zlib.crc32(text.lower().encode()), seed])
    level_seed = EVALUATION_SEEDS + int(rng.integers(EVALUATION_SEEDS))
    meaning = read(text)
    if meaning is None:
        level, spec, verb = generate(level_seed), None, ""
    else:
        (level, spec), verb = make(rng, meaning, level_seed), meaning.verb
    return Task(f"typed/{seed}", text, "minetest", level_seed, {"level": level.to_json()}, TIME_LIMIT, spec, verb)


SUITES: dict[str, MinetestSuite] = {
    suite.name: suite
    for suite in (
        MinetestSuite("minetest-basic", "Minetest, in an arena: look at, go to, dig"),
        MinetestSuite(
            "minetest-build", "Minetest, in an arena: collect several, put a block on", ("collect", "place_on"),
            time_limit=1050,
        ),
        MinetestSuite("minetest-house", "Minetest, in an arena: open the chest, enter the house", ("open", "enter")),
        MinetestSuite("minetest-terrain", "minetest-basic in natural terrain", natural=True, time_limit=1050),
        MinetestSuite(
            "minetest-pairs", "minetest-basic with (kind, colour) pairs that no training instruction names",
            pairs="held_out", held_out=True,
        ),
        MinetestSuite(
            "minetest-themes", "minetest-basic in arenas of themes never trained on", themes=HELD_OUT_THEMES,
            held_out=True,
        ),
        MinetestSuite(
            "minetest-phrasings", "minetest-basic in sentences never trained on", phrasing="held_out", held_out=True
        ),
    )
}  # fmt: skip

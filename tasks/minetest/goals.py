"""What can be asked for in a level of Minetest, and where things are in the picture: ground truth that players learn
from."""

from __future__ import annotations

import math

import numpy as np

from envs.minetest.level import Level
from envs.minetest.state import MinetestState
from envs.minetest.things import COLOURS, KINDS
from tasks.minetest.expert import choose
from tasks.minetest.language import Meaning, kinds_for, phrase
from tasks.minetest.suites import HELD_OUT_PAIRS
from tasks.task import Phrasing, Query, Task, VerifierSpec

__all__ = ["CLASSES", "VERBS", "choose", "other_words", "possible", "sights", "spec_of", "verbs_for", "wanted", "words"]

VERBS = ("look_at", "go_to", "dig", "open", "enter")
CLASSES = {pair: 1 + i for i, pair in enumerate((kind, colour) for kind in KINDS for colour in COLOURS)}
_PAIRS = {number: pair for pair, number in CLASSES.items()}
_ASPECT = 0.75  # height of a frame by its width, which is 90 degrees


def possible(state: MinetestState) -> list[Query]:
    """All that can be asked for here, never a held-out pair."""
    left = [thing for i, thing in enumerate(state.level.things) if i not in state.dug]
    kinds = [thing.kind for thing in left]
    pairs = {(thing.kind, thing.colour) for thing in left} - HELD_OUT_PAIRS
    return [
        (number, CLASSES[pair], int(kinds.count(pair[0]) == 1))
        for pair in sorted(pairs)
        for number, verb in enumerate(VERBS)
        if pair[0] in kinds_for(verb)
    ]


def verbs_for(number: int) -> list[int]:
    """Verbs by which a class can be asked for in training; none for what is never named there."""
    pair = _PAIRS[number]
    return [i for i, verb in enumerate(VERBS) if pair not in HELD_OUT_PAIRS and pair[0] in kinds_for(verb)]


def spec_of(state: MinetestState, query: Query) -> VerifierSpec:
    """The verifier of a query in a level that holds its thing."""
    targets = [i for i, t in enumerate(state.level.things) if (t.kind, t.colour) == _PAIRS[query[1]]]
    return VerifierSpec(f"minetest.{VERBS[query[0]]}", {"targets": targets})


def words(rng: np.random.Generator, query: Query, phrasing: Phrasing = "training") -> str:
    """An instruction that means a query; without the colour now and then, where the kind alone tells the thing."""
    kind, colour = _PAIRS[query[1]]
    named = None if query[2] and rng.random() < 0.5 else colour
    return phrase(rng, Meaning(VERBS[query[0]], kind, named), phrasing)


def other_words(rng: np.random.Generator, task: Task) -> str | None:
    """An instruction for the same with another thing of the level; None where the verb has nothing to exchange."""
    spec = task.verifier
    if spec is None or task.verb not in VERBS:
        return None
    things = Level.from_json(task.options["level"]).things
    meant = {(things[i].kind, things[i].colour) for i in spec.args["targets"]}
    others = {(thing.kind, thing.colour) for thing in things if thing.kind in kinds_for(task.verb)}
    left = sorted(others - meant)
    return phrase(rng, Meaning(task.verb, *left[int(rng.integers(len(left)))])) if left else None


def sights(state: MinetestState) -> dict[int, tuple[float, float]]:
    """Classes of what is before the eyes, with the column of its middle and the row of its foot, both in [0, 1]. What
    hides what is not known; of several of a class the nearest counts."""
    found = {}
    left = [i for i in range(len(state.level.things)) if i not in state.dug]
    for thing in sorted(left, key=state.distance, reverse=True):
        item = state.level.things[thing]
        column, _ = _project(state, *state.centre(thing))
        _, row = _project(state, item.x, float(state.base[thing]), item.z)
        if 0.0 <= column < 1.0 and row >= 0.0:
            found[CLASSES[item.kind, item.colour]] = column, min(row, 1.0)
    return found


def _project(state: MinetestState, x: float, y: float, z: float) -> tuple[float, float]:
    """The column and row of a point; (-1, -1) for what is behind."""
    yaw, pitch = math.radians(state.yaw), math.radians(state.pitch)
    east, up, north = x - state.x, y - state.eye, z - state.z
    level = -east * math.sin(yaw) + north * math.cos(yaw)
    depth = level * math.cos(pitch) + up * math.sin(pitch)
    if depth < 0.1:
        return -1.0, -1.0
    right = east * math.cos(yaw) + north * math.sin(yaw)
    above = up * math.cos(pitch) - level * math.sin(pitch)
    return 0.5 + 0.5 * right / depth, 0.5 - 0.5 * above / depth / _ASPECT


def wanted(state: MinetestState, spec: VerifierSpec) -> int:
    """The class of what one has to look for now."""
    targets = [thing for thing in spec.args["targets"] if thing not in state.dug] or spec.args["targets"]
    nearest = state.level.things[min(targets, key=state.distance)]
    return CLASSES[nearest.kind, nearest.colour]

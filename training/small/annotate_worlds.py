"""Worlds other than doom: their expert as a teacher that says when it is done, and the annotations of their frames.

A world's part is tasks.NAME.goals. Nobody thinks aloud there: what is taught is where the wanted thing is, what the
expert does for it and for other goals in the same frame, and the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agent.sight import bins
from tasks import world_tasks
from tasks.doom.scene import SCENE_ROWS
from tasks.task import Query
from tasks.teacher import Advice, place_of
from training.small.annotate import CELL, NO_GOAL, SEEN, UNKNOWN, word_ids

HEIGHT, WIDTH = 120 // CELL, 160 // CELL  # of the cells


def annotate(
    rng: np.random.Generator, world: str, state: Any, advice: Advice, count: int = 5
) -> dict[str, npt.NDArray[Any]]:
    """What training needs to know of one frame, as training.small.annotate has it. Classes and verbs are those of the
    world's goals; of the scene the places alone are told, and what is in the cells only where the state has labels."""
    goals = world_tasks.of(world).goals
    assert goals is not None
    sights = goals.sights(state)
    chosen = queries(rng, goals.possible(state), sights, count)
    specs = [goals.spec_of(state, query) for query in chosen]
    scene = np.zeros((SCENE_ROWS, 5), np.uint8)
    for i, (number, at) in enumerate(list(sights.items())[-SCENE_ROWS:]):
        scene[i, :3] = number, *bins(at)
    asked = np.zeros((3, count, 4), np.uint8)
    asked[0] = NO_GOAL
    for i, (query, spec) in enumerate(zip(chosen, specs, strict=True)):
        asked[0, i, :3], asked[1, i, :2] = query, place_of(goals, state, spec, sights)
        asked[2, i] = goals.choose(state, spec)
    return {
        "cells": _cells(getattr(state, "labels", None)),
        "scene": scene,
        "advice": np.array([*advice.place, *advice.tokens], np.uint8),
        "thought": word_ids(""),
        "speech": word_ids(advice.speech),
        "queries": asked[0, :, :3],
        "places": asked[1, :, :2],
        "tokens": asked[2],
    }


def queries(
    rng: np.random.Generator, possible: list[Query], sights: dict[int, tuple[float, float]], count: int
) -> list[Query]:
    """`count` of the possible goals, most of them for things in view; fewer where there are fewer."""
    near = [query for query in possible if query[1] in sights] or possible
    order = [*(near[i] for i in rng.permutation(len(near))), *(possible[i] for i in rng.permutation(len(possible)))]
    first = [query for query in order if rng.random() < SEEN or query not in near]
    unique = list(dict.fromkeys([*first, *order]))
    return unique[:count]


def _cells(labels: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    """The class in the middle of every cell."""
    if labels is None:
        return np.full((HEIGHT, WIDTH), UNKNOWN, np.uint8)
    rows = (np.arange(HEIGHT) + 0.5) * labels.shape[0] / HEIGHT
    columns = (np.arange(WIDTH) + 0.5) * labels.shape[1] / WIDTH
    return np.ascontiguousarray(labels[rows.astype(int)][:, columns.astype(int)])

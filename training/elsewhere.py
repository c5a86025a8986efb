"""Worlds other than doom: their expert as a teacher that says when it is done, and the annotations of their frames.

A world's part is tasks.NAME.goals. Nobody thinks aloud there: what is taught is where the wanted thing is, what the
expert does for it and for other goals in the same frame, and the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agent import codec
from agent.small.layout import COLUMNS, NOWHERE, ROWS
from tasks import verify, worlds
from tasks.confirming import confirmation
from tasks.goals import Query
from tasks.guide import Advice
from tasks.scene import SCENE_ROWS
from tasks.task import Task, VerifierSpec
from training.annotate import CELL, NO_GOAL, SEEN, UNKNOWN, word_ids

HEIGHT, WIDTH = 120 // CELL, 160 // CELL  # of the cells
DONE = codec.tokens_of(hand="done")


class Coach:
    """The expert of one episode; once its task is fulfilled it says so. Raises ValueError for a task without a
    verifier."""

    def __init__(self, task: Task) -> None:
        if task.verifier is None:
            raise ValueError(f"task {task.id} has no verifier")
        self._spec, self._verifier = task.verifier, verify.make_verifier(task.verifier)
        self._goals = worlds.part(task.world, "goals")
        self._done = False
        self._confirmation = confirmation(task.instruction, task.world)

    def advise(self, state: Any, thought: str | None = None) -> Advice:
        """What to do in a state; to be asked once in every decision. What is thought makes no difference to it."""
        if not self._done:
            verdict = self._verifier.update(state)
            self._done = verdict is not None and verdict.success
        place = _place(self._goals, state, self._spec, self._goals.sights(state))
        if self._done:
            return Advice(DONE, place, speech="done", done=True)
        speech, self._confirmation = self._confirmation, ""
        return Advice(self._goals.choose(state, self._spec), place, speech=speech)


def annotate(
    rng: np.random.Generator, world: str, state: Any, advice: Advice, count: int = 5
) -> dict[str, npt.NDArray[Any]]:
    """What training needs to know of one frame, as training.annotate has it. Classes and verbs are those of the world's
    goals; of the scene the places alone are told, and what is in the cells only where the state has labels."""
    goals = worlds.part(world, "goals")
    sights = goals.sights(state)
    chosen = queries(rng, goals.possible(state), sights, count)
    specs = [goals.spec_of(state, query) for query in chosen]
    scene = np.zeros((SCENE_ROWS, 5), np.uint8)
    for i, (number, at) in enumerate(list(sights.items())[-SCENE_ROWS:]):
        scene[i, :3] = number, *_bins(at)
    asked = np.zeros((3, count, 4), np.uint8)
    asked[0] = NO_GOAL
    for i, (query, spec) in enumerate(zip(chosen, specs, strict=True)):
        asked[0, i, :3], asked[1, i, :2] = query, _place(goals, state, spec, sights)
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


def _place(goals: Any, state: Any, spec: VerifierSpec, sights: dict[int, tuple[float, float]]) -> tuple[int, int]:
    at = sights.get(goals.wanted(state, spec))
    return NOWHERE if at is None else _bins(at)


def _bins(at: tuple[float, float]) -> tuple[int, int]:
    column, row = at
    return min(int(column * COLUMNS), COLUMNS - 1), min(int(row * ROWS), ROWS - 1)

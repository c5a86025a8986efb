"""`LessonWorld`: what a world is to training: how its frames are annotated, and what is taught about them.

`of` finds a world's own one, which `tasks.world_tasks.WorldTasks.lessons` names; any other world is taught by the
generic one. That needs nothing but the goals of the world's tasks: where the wanted thing is, what the expert does for
it and for other goals in the same frame, and when the task is done.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.sight import COLUMNS, NOWHERE, ROWS, bins
from agent.small.model import FRAME_SIZE
from agent.small.prompt import Prompt
from agent.small.token_ids import PLACE, WORD_ID, spell
from envs import plugins
from envs.errors import UserError
from tasks import world_tasks
from tasks.doom.scene import SCENE_ROWS
from tasks.task import Query
from tasks.teacher import Advice, Goals, place_of
from training.small.batches import Text
from training.small.classes import CELL, UNKNOWN
from training.small.mix import Mix

WORDS = 12  # the most words of a thought or a speech
NO_GOAL = 255  # stands for a verb where there is no further goal
SEEN = 0.75  # share of goals for things in view, where there are any
_IN_VIEW = 0.7  # of what is pointed at
_CELLS = (FRAME_SIZE[0] // CELL, FRAME_SIZE[1] // CELL)

GoalAdvice = tuple[Query, list[int], list[int]]  # what is wanted, its place, and what the expert does


@dataclass(frozen=True)
class Moment:
    """An annotated frame and what came before it.

    `scene` uint8 (SCENE_ROWS, 5): what is in view. `acted` int64 (h, 6): place and actions of the last h decisions.
    `scenes` uint8 (h, SCENE_ROWS, 5): what was in view at each of them.
    """

    scene: npt.NDArray[np.uint8]
    acted: npt.NDArray[np.int64]
    scenes: npt.NDArray[np.uint8]

    def looking_for(self, thing: int, *, foot: bool = True) -> npt.NDArray[np.int64]:
        """What was done (h, 6), as if a thing had been wanted. `foot`: as in `places`."""
        past = self.acted.copy()
        past[:, :PLACE] = places(self.scenes, thing, foot=foot)
        return past


class LessonWorld:
    """How a world is taught, from the goals that its tasks bring. A world of which more is known has a subclass.

    Raises UserError for a world whose tasks bring no goals.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.tasks = world_tasks.of(name)
        self.language = self.tasks.language
        self.verbs = self._verbs_by_class()

    def _verbs_by_class(self) -> dict[int, list[int]]:
        """The classes that may be named, each with the verbs that go with it."""
        goals = self.goals
        return {number: verbs for number in goals.CLASSES.values() if (verbs := goals.verbs_for(number))}

    @property
    def goals(self) -> Goals:
        """What can be asked for in a state of the world."""
        if self.tasks.goals is None:
            raise UserError(f"world {self.name!r} can't be taught: its tasks bring no goals; see docs/own-tasks.md")
        return self.tasks.goals

    # How frames are annotated, while they are played.

    def annotate(
        self, rng: np.random.Generator, state: Any, advice: Advice, count: int = 5
    ) -> dict[str, npt.NDArray[Any]]:
        """What training needs to know of one frame.

        `cells` uint8 (30, 40): the class in every 4 x 4 pixels, UNKNOWN where the state has no labels. `scene` uint8
        (SCENE_ROWS, 5): class, column and foot row of what is in view. `advice` uint8 (6,): place and action tokens
        for the episode's own goal. `thought`, `speech` uint16 (WORDS,): ids of the words that belong to it, 0 behind
        the last. `queries` uint8 (count, 3): other goals, NO_GOAL where there are no more. `places` uint8 (count, 2):
        where their things are. `tokens` uint8 (count, 4): what the expert does for each.
        """
        goals = self.goals
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
            "speech": word_ids(_written(advice.speech)),
            "queries": asked[0, :, :3],
            "places": asked[1, :, :2],
            "tokens": asked[2],
        }

    # What lessons make of an annotated frame.

    def cells(self, cells: npt.NDArray[np.uint8], scene: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """What is in the cells of a frame, in the numbers of training.small.classes. None of those is a class of a
        world that the model's list of classes does not have."""
        return np.full_like(cells, UNKNOWN)

    def phrase(self, rng: np.random.Generator, query: Query) -> str:
        """An instruction that means a query, in a training phrasing."""
        return self.goals.words(rng, query)

    def read(self, text: str) -> Any:
        """What an instruction means, None where it is not read."""
        return None if self.language is None else self.language.read(text)

    def reworded(self, rng: np.random.Generator, meaning: Any) -> str:
        """What is meant in other words, in a training phrasing."""
        assert self.language is not None
        return self.language.sentence(rng, meaning)

    def confirmation(self, text: str, query: Query | None = None) -> list[int]:
        """Ids of the words that confirm an instruction, at most WORDS; none where it is not read, or where it takes
        words that the model does not write. `query`: what it means, where that is known."""
        return spell(_written(self.tasks.confirmation(text)))[:WORDS]

    def has_foot(self, thing: int) -> bool:
        """Whether a thing has a foot in the picture, whose row belongs to its place."""
        return True

    def settles(self, query: Query, meaning: Any) -> bool:
        """Whether a goal may be fulfilled where an instruction of this meaning was just carried out. Here nothing else
        is known of the state, so every goal may be."""
        return True

    def named(self, rng: np.random.Generator, mix: Mix, moment: Moment, query: Query, place: Sequence[int]) -> Query:
        """The query as an instruction names it: its thing may be told by less than its name."""
        return query

    def pointed(self, rng: np.random.Generator, mix: Mix, moment: Moment) -> list[tuple[Query | str, list[int]]]:
        """Things that are only to be found, by a query or an instruction, and where they are: here those of
        `mix.points` goals, in view mostly, where something is that may be named."""
        seen = [number for number in moment.scene[:, 0].tolist() if number in self.verbs]
        unseen = sorted(self.verbs.keys() - set(seen))
        found: list[tuple[Query | str, list[int]]] = []
        for _ in range(mix.points):
            pool = seen if seen and rng.random() < _IN_VIEW else unseen or seen
            if not pool:
                break
            number = pool[int(rng.integers(len(pool)))]
            verb = self.verbs[number][int(rng.integers(len(self.verbs[number])))]
            found.append(((verb, number, 0), places(moment.scene[None], number)[0].tolist()))
        return found

    def roles(
        self, rng: np.random.Generator, mix: Mix, moment: Moment, goals: Sequence[GoalAdvice]
    ) -> Iterator[tuple[Prompt, Text]]:
        """What else is taught about a frame: steps of one instruction, questions, a caption, a proposal. Here that is
        nothing, since nobody says what is true of the frame."""
        yield from ()

    def pictured(self, query: Query) -> Query | None:
        """The query that shows a picture of its thing instead of naming it; None where it has none."""
        return None


@functools.lru_cache(maxsize=64)
def of(world: str) -> LessonWorld:
    """How a world is taught. Raises UserError for a world that can't be, and BrokenPluginError."""
    own = world_tasks.of(world).lessons
    make: type[LessonWorld] = plugins.load("tasks", own) if own else LessonWorld
    return make(world)


def queries(
    rng: np.random.Generator, possible: list[Query], sights: dict[int, tuple[float, float]], count: int
) -> list[Query]:
    """`count` of the possible goals, most of them for things in view; fewer where there are fewer."""
    near = [query for query in possible if query[1] in sights] or possible
    order = [*(near[i] for i in rng.permutation(len(near))), *(possible[i] for i in rng.permutation(len(possible)))]
    first = [query for query in order if rng.random() < SEEN or query not in near]
    unique = list(dict.fromkeys([*first, *order]))
    return unique[:count]


def places(scenes: npt.NDArray[np.uint8], thing: int, *, foot: bool = True) -> npt.NDArray[np.int64]:
    """Where a thing was in each of some scenes (h, SCENE_ROWS, 5), as (h, 2) bins; NOWHERE where it was not in view.
    `foot`: whether it has a foot in the picture, else its row is ROWS."""
    out = np.full((len(scenes), PLACE), NOWHERE, np.int64)
    if thing == 0:
        return out
    there = scenes[:, :, 0] == thing
    index = there.argmax(1)
    seen = there.any(1)
    chosen = scenes[np.arange(len(scenes)), index]
    out[seen, 0] = np.minimum(chosen[seen, 1], COLUMNS - 1)
    out[seen, 1] = np.minimum(chosen[seen, 2], ROWS - 1) if foot else ROWS
    return out


def word_ids(text: str) -> npt.NDArray[np.uint16]:
    """Ids of a text's words, (WORDS,), 0 behind the last. Raises KeyError for a word that can't be written."""
    ids = np.zeros(WORDS, np.uint16)
    spelled = spell(text)[:WORDS]
    ids[: len(spelled)] = spelled
    return ids


def _written(text: str) -> str:
    """The text where the model can write all of its words, else nothing."""
    return text if all(word in WORD_ID for word in text.split()) else ""


def _cells(labels: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    """The class in the middle of every cell."""
    height, width = _CELLS
    if labels is None:
        return np.full((height, width), UNKNOWN, np.uint8)
    rows = (np.arange(height) + 0.5) * labels.shape[0] / height
    columns = (np.arange(width) + 0.5) * labels.shape[1] / width
    return np.ascontiguousarray(labels[rows.astype(int)][:, columns.astype(int)])

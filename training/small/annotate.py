"""Annotations for training, from ground truth: what is where in a frame, and what the expert would do for other goals.

One frame serves many instructions. For each the expert says what it would do there, so that the same picture comes
with different words and different actions, and a model that ignores the words can't fit it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agent.sight import COLUMNS, ROWS, column_of
from agent.small.token_ids import spell
from envs.doom.level import Level
from envs.doom.things import CLASSES, COLOURS, KINDS
from envs.doom.world import DoomState
from envs.playroom import things as playroom
from tasks.doom import expert, suites
from tasks.doom.geometry import bearing
from tasks.doom.navigation import clear
from tasks.doom.scene import FIXTURES, pack, scene_of
from tasks.task import Query, VerifierSpec
from tasks.teacher import Advice

VERBS = ("go_to", "face", "pick_up", "shoot", "touch", "press", "look_up", "look_down", "stand_still")
PANEL_CLASS = 255  # stands for the panel where a thing's class is expected
SEEN = 0.75  # share of goals for things in view, where there are any
WORDS = 12  # the most words of a thought or a speech
CELL = 4  # pixels in a cell of the segmentation
NO_GOAL = 255  # stands for a verb where there is no further goal
UNKNOWN = 247  # stands in cells of which nobody says what they show

# Segmentation classes split into what and which colour: 0 is none. Those of the playroom stand behind doom's.
PLAYROOM = 256
FIXTURE_NAMES = ("doorway", "door", "gate")
_PLAYROOM_KINDS = list(dict.fromkeys(kind for kind, _ in playroom.CLASSES))
KIND_NAMES = ("none", *KINDS, *FIXTURE_NAMES, *(f"playroom {kind}" for kind in _PLAYROOM_KINDS))
COLOUR_NAMES = ("none", *dict.fromkeys((*COLOURS, *playroom.COLOURS)))
KIND_OF = np.zeros(2 * PLAYROOM, np.uint8)
COLOUR_OF = np.zeros(2 * PLAYROOM, np.uint8)
for (_kind, _colour), _class in CLASSES.items():
    KIND_OF[_class] = KIND_NAMES.index(_kind)
    COLOUR_OF[_class] = COLOUR_NAMES.index(_colour) if _colour else 0
for _class, (_kind, _) in FIXTURES.items():
    if _kind in FIXTURE_NAMES:
        KIND_OF[_class] = KIND_NAMES.index(_kind)
for (_kind, _colour), _class in playroom.CLASSES.items():
    KIND_OF[PLAYROOM + _class] = KIND_NAMES.index(f"playroom {_kind}")
    COLOUR_OF[PLAYROOM + _class] = COLOUR_NAMES.index(_colour) if _colour else 0
PAIR_OF = {number: pair for pair, number in CLASSES.items()}


def spec_of(level: Level, query: Query) -> VerifierSpec:
    """The verifier of a query in a level that holds its thing."""
    verb, thing, _ = query
    name = VERBS[verb]
    if name in ("look_up", "look_down"):
        return VerifierSpec("look", {"direction": name[5:]})
    if name == "stand_still":
        return VerifierSpec(name)
    if thing == PANEL_CLASS:
        return VerifierSpec(name, {"panel": 0})
    kind, colour = PAIR_OF[thing]
    targets = [i for i, t in enumerate(level.things) if (t.kind, t.colour) == (kind, colour)]
    return VerifierSpec(name, {"targets": targets})


def _alone(level: Level, kind: str) -> int:
    return int(sum(t.kind == kind for t in level.things) == 1)


def queries(rng: np.random.Generator, state: DoomState, count: int) -> list[Query]:
    """`count` goals for this state, as different as it allows; never a held-out pair."""
    level = state.level
    here = [(o.kind, o.colour) for o in state.objects if (o.kind, o.colour) not in suites.HELD_OUT_PAIRS]
    # what is in view teaches most: to search for the rest is always the same turn
    classes = set() if state.labels is None else set(np.unique(state.labels).tolist())
    seen = [pair for pair in here if CLASSES[pair] in classes]
    if len(level.rooms) > 1:  # what may be in another room is searched for in ways that need a memory
        here = seen
    found: list[Query] = []
    for _ in range(4 * count):
        if len(found) == count:
            break
        draw = rng.random()
        if draw < 0.1:
            verb = VERBS[int(rng.integers(6, 9))]
            query: Query = (VERBS.index(verb), 0, 0)
        elif draw < 0.18 and level.panels and len(level.rooms) == 1:
            query = (VERBS.index("press"), PANEL_CLASS, 0)
        elif here:
            among = seen if seen and rng.random() < SEEN else here
            kind, colour = among[int(rng.integers(len(among)))]
            verbs = ["go_to", "face"] + {
                "pickup": ["pick_up", "pick_up"],
                "solid": ["touch"],
                "monster": ["shoot", "shoot", "touch"],
            }[KINDS[kind].role]
            verb = verbs[int(rng.integers(len(verbs)))]
            query = (VERBS.index(verb), CLASSES[kind, colour], _alone(level, kind))
        else:
            continue
        if query not in found:
            found.append(query)
    while len(found) < count:  # a room with next to nothing in it
        found.append(found[0] if found else (VERBS.index("look_up"), 0, 0))
    return found


def place(state: DoomState, query: Query) -> tuple[int, int]:
    """Where a query's thing is in the picture, as (column bin, foot row bin); (COLUMNS, ROWS) where it is not."""
    assert state.labels is not None
    height, width = state.labels.shape
    if query[1] == PANEL_CLASS:
        return _panel_place(state), ROWS
    if query[1] == 0:
        return COLUMNS, ROWS
    rows, columns = np.nonzero(state.labels == query[1])
    if len(rows) < 3:
        return COLUMNS, ROWS
    return int(columns.mean() * COLUMNS / width), int(rows.max() * ROWS / height)


def _panel_place(state: DoomState) -> int:
    x, y = state.level.panels[0].centre
    off = bearing(state, x, y)
    # the panel's wall is seen unless a pillar hides it
    hidden = not clear(state, (state.x, state.y), (x, y), (), width=0.0)
    return COLUMNS if hidden else column_of(off)


def annotate(rng: np.random.Generator, state: DoomState, advice: Advice, count: int = 5) -> dict[str, npt.NDArray[Any]]:
    """What training needs to know of one frame.

    `cells` uint8 (30, 40): class in every 4 x 4 pixels. `scene` uint8 (SCENE_ROWS, 5): what is in view, as
    tasks.doom.scene packs it. `advice` uint8 (6): place and action tokens for the episode's own goal; `thought` and
    `speech` uint16 (WORDS,): ids of the words that belong to it, 0 behind the last. `queries` uint8 (count, 3): other
    goals, `places` uint8 (count, 2): where their things are, `tokens` uint8 (count, 4): what the expert does for each.
    """
    assert state.labels is not None
    goals = queries(rng, state, count)
    half = CELL // 2
    return {
        "cells": np.ascontiguousarray(state.labels[half::CELL, half::CELL]),
        "scene": pack(scene_of(state)),
        "advice": np.array([*advice.place, *advice.tokens], np.uint8),
        "thought": word_ids(advice.thought),
        "speech": word_ids(advice.speech),
        "queries": np.array(goals, np.uint8),
        "places": np.array([place(state, q) for q in goals], np.uint8),
        "tokens": np.array([expert.choose(state, spec_of(state.level, q)) for q in goals], np.uint8),
    }


def word_ids(text: str) -> npt.NDArray[np.uint16]:
    """Ids of a text's words, (WORDS,), 0 behind the last. Raises KeyError for a word that can't be written."""
    ids = np.zeros(WORDS, np.uint16)
    spelled = spell(text)[:WORDS]
    ids[: len(spelled)] = spelled
    return ids

"""`DoomLessons`: Doom is taught with thoughts, steps, questions, captions, proposals and pictures.

One frame serves many instructions. For each the expert says what it would do there, so that the same picture comes
with different words and different actions, and a model that ignores the words can't fit it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.capabilities import THEN
from agent.sight import COLUMNS, ROWS, column_of
from agent.small.prompt import Prompt
from agent.small.token_ids import ANSWER, CAPTION, PROPOSE, spell
from agent.small.vocabulary import PLAN
from agent.small.word_hashing import split
from envs.doom.level import Level
from envs.doom.things import CLASSES, COLOURS, KINDS
from envs.doom.world import DoomState
from tasks.doom import expert, plans, proposals, questions
from tasks.doom.dialogues import SHOWN, which
from tasks.doom.geometry import bearing
from tasks.doom.goals import HELD_OUT_PAIRS, spec_in
from tasks.doom.language import Meaning, colour_word, compound, core, noun_phrase, phrase, plain, plain_goal, sentence
from tasks.doom.navigation import clear
from tasks.doom.scene import FIXTURES, PRESSED, UNCLEAR, Scene, Seen, pack, scene_of, unpack
from tasks.task import Query
from tasks.teacher import Advice
from tasks.world_tasks import OK
from training.small.batches import Text, decision, ending, words_of
from training.small.classes import CELL, COLOUR_OF, FIXTURE_NAMES
from training.small.lesson_world import SEEN, WORDS, GoalAdvice, LessonWorld, Moment, places, word_ids
from training.small.mix import Mix
from training.small.phrase_bank import by_meaning, mistyped
from training.small.standing import by_standing, one_of_two

VERBS = ("go_to", "face", "pick_up", "shoot", "touch", "press", "look_up", "look_down", "stand_still")
PANEL_CLASS = 255  # stands for the panel where a thing's class is expected
PAIR_OF = {number: pair for pair, number in CLASSES.items()}
COLOURED = 240  # from here on for a thing that is told by its colour alone
PICTURED = 248  # stands for a thing that a picture shows, where a thing's class is expected
_ANYTHING = ["thing", "one", "object"]
_EXITS = split("where are the exits?")
_NO_EXITS = 0.05  # of the frames without an exit are asked for exits
_NO_SWITCH = 0.25  # of the frames without a switch are asked where it is, beside those with one
_LOOKS = 0.05  # of the proposals to look up or down that are taught
_BEGINS = 0.5  # of the first steps of two are the first decision
_BACKGROUND = [0, *FIXTURES]
_BEFORE_WAY = 24.0  # map units from a door under which one stands in it
_WAY_HEIGHT = 10000.0  # pixels that a door is tall from one map unit away, about
_UNIT_HEIGHT = 96.0  # pixels that a map unit is tall from one map unit away
_EYE = 41.0  # map units above the floor
_BUTTON_HEIGHT = (22.0, 60.0)  # of a switch: from where to where its button reaches, map units above the floor
_PAINTED = (*FIXTURE_NAMES, "switch")


class DoomLessons(LessonWorld):
    """How Doom is taught."""

    def _verbs_by_class(self) -> dict[int, list[int]]:
        return {}  # no thing is only pointed at: the expert acts on all that can be named

    def annotate(
        self, rng: np.random.Generator, state: DoomState, advice: Advice, count: int = 5
    ) -> dict[str, npt.NDArray[Any]]:
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
            "tokens": np.array([expert.choose(state, spec_in(state.level, meaning_of(q))) for q in goals], np.uint8),
        }

    def cells(self, cells: npt.NDArray[np.uint8], scene: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        return with_ways(cells, unpack(scene))

    def phrase(self, rng: np.random.Generator, query: Query) -> str:
        verb, thing, alone = query
        if thing == PICTURED:
            text = phrase(rng, VERBS[verb], "PICTURED", phrasing="wide")
            return re.sub("[Tt]he PICTURED", str(rng.choice(SHOWN)), text)
        return phrase(rng, VERBS[verb], _noun(rng, thing, alone), phrasing="wide")

    def reworded(self, rng: np.random.Generator, meaning: Meaning) -> str:
        return sentence(rng, meaning, "wide")

    def confirmation(self, text: str, query: Query | None = None) -> list[int]:
        spoken = self.tasks.confirmation(text)
        if not spoken and query is not None and COLOURED <= query[1] < PICTURED:
            spoken = OK + plain_goal(VERBS[query[0]], f"{COLOURS[query[1] - COLOURED]} thing")
        return spell(spoken)[:WORDS]

    def has_foot(self, thing: int) -> bool:
        return thing != PANEL_CLASS

    def settles(self, query: Query, meaning: Any) -> bool:
        return meaning is not None and meaning_of(query).kind in [step.kind for step in (meaning, *meaning.then)]

    def named(self, rng: np.random.Generator, mix: Mix, moment: Moment, query: Query, place: Sequence[int]) -> Query:
        """Now and then by the colour alone, where nothing else in view has it."""
        colour = int(COLOUR_OF[query[1]]) if query[1] in PAIR_OF else 0
        alone = (COLOUR_OF[moment.scene[:, 0]] == colour).sum() == 1
        if colour and place[0] < COLUMNS and alone and rng.random() < mix.colours:
            return query[0], COLOURED + colour - 1, 0
        return query

    def pointed(self, rng: np.random.Generator, mix: Mix, moment: Moment) -> list[tuple[Query | str, list[int]]]:
        scene = unpack(moment.scene)
        found: list[tuple[Query | str, list[int]]] = []
        for _ in range(mix.standing):
            if (told := by_standing(rng, scene)) is None:
                break
            meaning, seen = told
            found.append((sentence(rng, meaning, "wide"), [int(seen.column * COLUMNS), int(seen.row * ROWS)]))
        return [*found, *self._switch(rng, mix, moment, scene)]

    def _switch(
        self, rng: np.random.Generator, mix: Mix, moment: Moment, scene: Scene
    ) -> list[tuple[Query | str, list[int]]]:
        """Where the switch is, among doors, gates and doorways; now and then that it is not in view, where one of those
        is. Nothing is shown of what it does."""
        switches = [seen for seen in scene if seen.kind == "switch"]
        fixtures = [seen for seen in scene if seen.fixture]
        if not fixtures or rng.random() >= mix.switches * (1.0 if switches else _NO_SWITCH) or len(switches) > 1:
            return []
        if any(seen.pixels <= UNCLEAR for seen in switches) or any(seen.name_class == PRESSED for seen in switches):
            return []
        where = places(moment.scene[None], PANEL_CLASS, foot=False)[0].tolist()
        return [((VERBS.index("press"), PANEL_CLASS, 0), where)]

    def pictured(self, query: Query) -> Query | None:
        return None if query[1] in (0, PANEL_CLASS) else (query[0], PICTURED, 0)

    def roles(
        self, rng: np.random.Generator, mix: Mix, moment: Moment, goals: Sequence[GoalAdvice]
    ) -> Iterator[tuple[Prompt, Text]]:
        if rng.random() < mix.steps and (both := _two_goals(goals)) is not None:
            yield _step(rng, both, moment)
        scene = unpack(moment.scene)
        if mix.unclear and rng.random() < mix.unclear and (unclear := one_of_two(rng, scene)) is not None:
            meaning, colours = unclear
            words = mistyped(rng, split(sentence(rng, meaning, "wide")))
            yield Prompt(words), ending(which(str(meaning.kind), colours), silent=rng.random() < mix.silent)
        yield from _questions(rng, mix, scene)
        if mix.plans and rng.random() < mix.plans:
            planned = plans.draw(rng, "wide")
            words = [PLAN, *by_meaning(rng, mistyped(rng, split(planned.goal)), mix.meant)]
            yield (
                Prompt(words, memory=split(planned.memory, "memory")),
                words_of(ANSWER, spell(THEN.join(planned.steps))),
            )
        if rng.random() < mix.captions and (caption := questions.caption(scene)):
            yield Prompt(), words_of(CAPTION, spell(caption))
        if rng.random() < mix.proposals:
            proposal = proposals.propose(rng, scene)
            # frames with nothing to act on are many, and teach but one thing
            if not proposal.startswith("look ") or rng.random() < _LOOKS:
                yield Prompt(), words_of(PROPOSE, spell(proposal))


def _questions(rng: np.random.Generator, mix: Mix, scene: Scene) -> Iterator[tuple[Prompt, Text]]:
    """Questions about a frame or a memory, and where the exits are."""
    for _ in range(mix.questions):
        question = questions.ask(rng, scene, memory=mix.memory)
        if question is not None:
            words = mistyped(rng, split(question.text))
            yield (
                Prompt(words, memory=split(question.memory, "memory")),
                words_of(ANSWER, spell(question.answer)),
            )
    ways = questions.exits(scene)
    if rng.random() < (mix.exits if ways != "nothing" else _NO_EXITS):
        yield Prompt(_EXITS), words_of(ANSWER, spell(ways))


def _two_goals(goals: Sequence[GoalAdvice]) -> list[GoalAdvice] | None:
    """Two goals with different things; the thing of one of them at least is in view."""
    chosen: list[GoalAdvice] = []
    for goal in goals:
        if goal[0][1] and goal[0][1] not in [other[0][1] for other in chosen]:
            chosen.append(goal)
    chosen = chosen[:2]
    if len(chosen) < 2 or all(place[0] >= COLUMNS for _, place, _ in chosen):
        return None
    return chosen


def _step(rng: np.random.Generator, steps: Sequence[GoalAdvice], moment: Moment) -> tuple[Prompt, Text]:
    """Two goals as one instruction. The last thought tells which of them is followed now, or the first just begins."""
    visible = [i for i, (_, place, _) in enumerate(steps) if place[0] < COLUMNS]
    now = int(rng.choice(visible))
    query, place, tokens = steps[now]
    goals = [plain(meaning_of(one)) for one, *_ in steps]
    thought = f"step {now + 1} {goals[now]}"
    begins = now == 0 and rng.random() < _BEGINS
    prompt = Prompt(
        _compound(rng, [one for one, *_ in steps]),
        [] if begins else split(thought, "thought"),
        past=moment.acted[:0] if begins else moment.looking_for(query[1], foot=query[1] != PANEL_CLASS),
    )
    spoken = OK + " then ".join(goals) if begins else ""
    return prompt, decision((*place, *tokens), spell(thought), spell(spoken), silent=False)


def _compound(rng: np.random.Generator, steps: Sequence[Query]) -> list[str]:
    """The words of one instruction for several queries with things, one after the other."""
    texts = [core(rng, VERBS[verb], _noun(rng, thing, alone), "wide") for verb, thing, alone in steps]
    return mistyped(rng, split(compound(rng, texts, "wide")))


def _noun(rng: np.random.Generator, thing: int, alone: int) -> str:
    """Words for what a query wants."""
    if thing == PANEL_CLASS:
        return noun_phrase(rng, "panel", None, phrasing="wide")
    if thing >= COLOURED:
        return f"{colour_word(rng, COLOURS[thing - COLOURED], 'wide')} {rng.choice(_ANYTHING)}"
    return noun_phrase(rng, *PAIR_OF[thing], unique_kind=bool(alone), phrasing="wide") if thing else ""


def meaning_of(query: Query) -> Meaning:
    """What a query asks for."""
    verb, thing, _ = query
    return Meaning(VERBS[verb], *(("panel", None) if thing == PANEL_CLASS else PAIR_OF.get(thing, (None, None))))


def with_ways(cells: npt.NDArray[np.uint8], scene: Scene) -> npt.NDArray[np.uint8]:
    """Cells (30, 40) in which doorways, doors, gates and switches are painted as well, about where they are, behind
    things."""
    fixtures = [seen for seen in scene if seen.kind in _PAINTED and seen.distance >= _BEFORE_WAY]
    if not fixtures:
        return cells
    painted, (height, width) = cells.copy(), cells.shape
    for seen in sorted(fixtures, key=lambda seen: -seen.distance):
        top, foot = _rows(seen, height)
        wide = max(1.0, seen.pixels / CELL**2 / max(foot - top, 1.0))
        left = round(seen.column * width - wide / 2)
        area = painted[int(top) : max(math.ceil(foot), int(top) + 1), max(left, 0) : max(left + round(wide), 0)]
        area[np.isin(area, _BACKGROUND)] = seen.name_class
    return painted


def _rows(seen: Seen, height: int) -> tuple[float, float]:
    """From where to where a fixture reaches, in rows of cells. The foot of a near switch is below the picture: then it
    is taken to be seen straight ahead."""
    foot = seen.row * height
    if seen.kind != "switch":
        return max(0.0, foot - _WAY_HEIGHT / CELL / seen.distance), foot
    unit = _UNIT_HEIGHT / CELL / seen.distance
    floor = foot if seen.row < 1.0 else height / 2 + _EYE * unit
    top, bottom = (min(max(floor - up * unit, 0.0), float(height)) for up in reversed(_BUTTON_HEIGHT))
    return top, bottom


def _alone(level: Level, kind: str) -> int:
    return int(sum(t.kind == kind for t in level.things) == 1)


def queries(rng: np.random.Generator, state: DoomState, count: int) -> list[Query]:
    """`count` goals for this state, as different as it allows; never a held-out pair."""
    level = state.level
    every = [(o.kind, o.colour) for o in state.objects]
    # of two that are alike nobody can say which is meant
    here = [pair for pair in every if pair not in HELD_OUT_PAIRS and every.count(pair) == 1]
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
    return COLUMNS if hidden else column_of(off, state.level.fov)

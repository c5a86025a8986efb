"""Lessons: what `small` is asked about a frame and what it should write, packed into batches.

One frame carries many texts: the episode's own goal with thought and speech, other goals with what the expert would do
for them, questions, a caption, a proposal. They lie in one row and share the frame's tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from agent import codec
from agent.sight import COLUMNS, NOWHERE, ROWS
from agent.small.model import HISTORY
from agent.small.prompt import Prompt
from agent.small.token_ids import ANSWER, CAPTION, PLACE, PROPOSE, STARTS, WORD_ID, say, spell
from agent.small.word_hashing import split
from tasks import world_tasks
from tasks.confirmation import confirmation
from tasks.doom import proposals, questions
from tasks.doom.geometry import thing_name
from tasks.doom.language import plain_goal
from tasks.doom.scene import FIXTURES, Scene, unpack
from tasks.task import Query
from tasks.world_tasks import OK
from training.small.annotate import (
    CELL,
    COLOUR_OF,
    FIXTURE_NAMES,
    NO_GOAL,
    PAIR_OF,
    PANEL_CLASS,
    PLAYROOM,
    UNKNOWN,
    VERBS,
    WORDS,
)
from training.small.batches import Batch, Text, assemble, decision, pointing, words_of
from training.small.corpus import Corpus
from training.small.phrase_bank import COLOURED, PICTURED, PhraseBank, mistyped

Goal = tuple[Query, list[int], list[int]]  # what is wanted, its place, and what the expert does

_FIELDS = len(STARTS)
_EXITS = split("where are the exits?")
_NO_EXITS = 0.05  # of the frames without an exit are asked for exits
_LOOKS = 0.25  # of the proposals to look up or down that are taught
_AHEAD = 4  # batches that frames are fetched ahead of
_BEGINS = 0.5  # of the first steps of two are the first decision
_BEFORE, _BEHIND = 4, 2  # decisions around a turn that belong to it
_IN_VIEW = 0.7  # of what is pointed at
_NUMBERS = [number for word, number in WORD_ID.items() if word.isdigit()]
_BACKGROUND = [0, *FIXTURES]
_BEFORE_WAY = 24.0  # map units from a door under which one stands in it
_WAY_HEIGHT = 10000.0  # pixels that a door is tall from one map unit away, about
_CUT = 8  # pixels around a thing that a picture of it shows
_CUT_CELLS = 6  # cells that a thing has to cover for a picture of it


@dataclass(frozen=True)
class Mix:
    """How often a frame carries what, and with which weight its tokens count. A recipe's `mix`, too."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    goals: int = 4  # other goals of a frame
    points: int = 0  # things that are only to be found in the frame, of another world than doom
    steps: float = 0.25  # of the frames carry two of them as steps of one instruction
    colours: float = 0.1  # of the other goals tell the thing by its colour alone, where that is enough
    questions: int = 2
    memory: float = 0.15  # of the questions are about a memory
    exits: float = 1.0  # of the frames with exits are asked for them
    captions: float = 0.4
    proposals: float = 0.4
    own: float = 1.0  # the weight of the own goal's text
    starts: float = 0.12  # of the frames are the first of their episode: there nothing is left to copy
    turns: float = 0.3  # of the frames are about a change of what one does: few are, and all depends on them
    reworded: float = 0.5  # of the own goals come in other words than they were recorded with
    forgotten: float = 0.5  # of the own goals come once more, without the last thought
    silent: float = 0.25  # of the own goals come without thoughts
    fresh: float = 0.2  # of the other goals, and of own ones without thoughts, come without a past
    pictures: float = 0.04  # of the other goals show the thing
    deaf: float = 0.0  # of the frames come without any words of what is asked for
    gamma: float = 1.0  # the weight of an action that repeats the last one, to the power of how often it did


@dataclass
class Glances:
    """Random frames of which only what is in the cells is learned. `groups`: corpora that are drawn from as one, with
    how many frames each group gives to a batch."""

    groups: Sequence[tuple[Sequence[Corpus], int]]
    seed: int
    rank: int

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Frames (N, 3, H, W), uint8, and cells (N, 30, 40), int16, of batch number `step`."""
        for corpus, row in self._chosen(step + _AHEAD):
            corpus.fetch(np.array([row]))
        chosen = self._chosen(step)
        frames = np.stack([corpus.frames[row] for corpus, row in chosen])
        cells = np.stack([_cells(corpus, row) for corpus, row in chosen]).astype(np.int16)
        return torch.from_numpy(frames).permute(0, 3, 1, 2), torch.from_numpy(cells)

    def _chosen(self, step: int) -> list[tuple[Corpus, int]]:
        rng = np.random.default_rng([self.seed, step, self.rank, 2])
        chosen = []
        for corpora, count in self.groups:
            ends = np.cumsum([len(corpus) for corpus in corpora])
            for row in rng.integers(ends[-1], size=count).tolist():
                number = int(np.searchsorted(ends, row, side="right"))
                chosen.append((corpora[number], row - int(ends[number]) + len(corpora[number])))
        return chosen


@dataclass
class Lessons:
    """Random batches of frames with what is to be learned from them."""

    corpora: Sequence[Corpus]
    shares: Sequence[float]  # frames of each corpus in a batch, on average; their sum is the same in every batch
    seed: int
    rank: int
    mix: Mix = field(default_factory=Mix)
    goals_only: bool = False  # neither own goals nor other roles: how seeing and doing are begun

    def __post_init__(self) -> None:
        self._banks = {world: PhraseBank(self.seed, world=world) for world in {corpus.world for corpus in self.corpora}}
        self._instructions = [[split(text) for text in corpus.instructions] for corpus in self.corpora]
        self._verbs = {world: _verbs(world) for world in self._banks if world != "doom"}
        self._tongues = [_tongue(corpus.world) for corpus in self.corpora]
        self._meanings = [
            [read(text) for text in corpus.instructions]
            for corpus, (read, _) in zip(self.corpora, self._tongues, strict=True)
        ]
        self._confirmations = [[_spoken(text, corpus.world) for text in corpus.instructions] for corpus in self.corpora]
        self._turns = [_turns(corpus) for corpus in self.corpora]

    def at(self, step: int) -> Batch:
        """Batch number `step`: it follows from the seed and the rank."""
        for corpus, rows in zip(self.corpora, self._rows(step + _AHEAD), strict=True):
            corpus.fetch(rows)
        rng = np.random.default_rng([self.seed, step, self.rank])
        frames: list[npt.NDArray[np.uint8]] = []
        cells: list[npt.NDArray[Any]] = []
        asked: list[list[Prompt]] = []
        texts: list[list[Text]] = []
        goals: list[tuple[int, int, Query]] = []  # row, number of the prompt, what is wanted
        for number, (corpus, rows) in enumerate(zip(self.corpora, self._rows(step), strict=True)):
            for row in rows:
                prompts, answers, wanted = self._frame(rng, number, int(row))
                frames.append(corpus.frames[row])
                if corpus.world == "doom":
                    goals += [(len(frames) - 1, at, query) for at, query in wanted]
                cells.append(_cells(corpus, int(row)))
                asked.append(prompts)
                texts.append(answers)
        if self.mix.pictures and not self.goals_only:
            self._show(rng, frames, cells, asked, goals)
        return assemble(np.stack(frames), asked, texts, np.stack(cells).astype(np.int16))

    def _rows(self, step: int) -> list[npt.NDArray[np.int64]]:
        """The rows of every corpus that batch number `step` is about."""
        rng = np.random.default_rng([self.seed, step, self.rank, 1])
        ends = np.floor(np.cumsum(self.shares).round(6) + rng.random()).astype(int)
        chosen = []
        for corpus, share, turns in zip(self.corpora, np.diff(ends, prepend=0), self._turns, strict=True):
            rows = rng.integers(len(corpus), size=share)
            starts = rng.random(share) < self.mix.starts
            rows[starts] = corpus.start[rows[starts]]
            near = np.flatnonzero(rng.random(share) < self.mix.turns)
            if len(turns):
                rows[near] = _near(rng, corpus, rng.choice(turns, len(near)))
            chosen.append(np.sort(rows))
        return chosen

    def _frame(
        self, rng: np.random.Generator, number: int, row: int
    ) -> tuple[list[Prompt], list[Text], list[tuple[int, Query]]]:
        mix, corpus = self.mix, self.corpora[number]
        first = max(int(corpus.start[row]), row - HISTORY)
        acted = corpus.acted[first:row].astype(np.int64)
        asked: list[Prompt] = []
        texts: list[Text] = []

        deaf = mix.deaf > 0.0 and rng.random() < mix.deaf

        def add(prompt: Prompt, text: Text) -> None:
            asked.append(replace(prompt, request=()) if deaf else prompt)
            texts.append(text)

        if not self.goals_only and corpus.advised:
            add(*self._own(rng, number, row, acted))
            if rng.random() < mix.forgotten:
                add(*self._own(rng, number, row, acted, forgotten=True))
        scenes = corpus.scene[first:row]
        wanted = []
        goals = self._goals(rng, corpus, row)
        at_home = corpus.world == "doom"
        colours = COLOUR_OF[corpus.scene[row][:, 0]]
        if not self.goals_only:
            goals = [goal for goal in goals if not self._settled(goal[0], number, row)][: mix.goals]
        for query, place, tokens in goals:
            past = acted[:0] if rng.random() < mix.fresh else _looking_for(acted, scenes, query[1])
            wanted.append((len(asked), query))
            named, colour = query, COLOUR_OF[query[1]] if at_home and query[1] in PAIR_OF else 0
            if colour and place[0] < COLUMNS and (colours == colour).sum() == 1 and rng.random() < mix.colours:
                named = (query[0], COLOURED + int(colour) - 1, 0)
            bank = self._banks[corpus.world]
            text = bank.draw(rng, named)
            # who begins says first how he understands it
            spoken = [] if len(past) else bank.confirmation(text, named)
            add(Prompt(mistyped(rng, split(text)), past=past), decision((*place, *tokens), speech=spoken))
        if not at_home:
            for query, at in self._pointed(rng, corpus, row):
                text = self._banks[corpus.world].draw(rng, query)
                add(Prompt(mistyped(rng, split(text)), past=acted[:0]), pointing(at.tolist()))
        if self.goals_only or not at_home:
            return asked, texts, wanted
        if rng.random() < mix.steps and (both := _two_steps(rng, goals)) is not None:
            add(*self._step(rng, both, acted, scenes))
        scene = unpack(corpus.scene[row])
        for _ in range(mix.questions):
            question = questions.ask(rng, scene, memory=mix.memory)
            if question is not None:
                words = mistyped(rng, split(question.text))
                add(Prompt(words, memory=split(question.memory, "memory")), words_of(ANSWER, spell(question.answer)))
        ways = questions.exits(scene)
        if rng.random() < (mix.exits if ways != "nothing" else _NO_EXITS):
            add(Prompt(_EXITS), words_of(ANSWER, spell(ways)))
        if rng.random() < mix.captions and (caption := questions.caption(scene)):
            add(Prompt(), words_of(CAPTION, spell(caption)))
        if rng.random() < mix.proposals:
            proposal = proposals.propose(rng, scene)
            # frames with nothing to act on are many, and teach but one thing
            if not proposal.startswith("look ") or rng.random() < _LOOKS:
                add(Prompt(), words_of(PROPOSE, spell(proposal)))
        return asked, texts, wanted

    def _own(
        self,
        rng: np.random.Generator,
        number: int,
        row: int,
        acted: npt.NDArray[np.int64],
        *,
        forgotten: bool = False,
    ) -> tuple[Prompt, Text]:
        """The episode's own goal. `forgotten`: without the last thought, which is easily copied whatever is seen and
        asked."""
        corpus = self.corpora[number]
        silent = not forgotten and rng.random() < self.mix.silent
        thought: list[int] = []
        before = ""
        if not silent:
            thought = [int(t) for t in corpus.thought[row] if t]
            if row > corpus.start[row] and not forgotten:
                before = say(corpus.acted_thought[row - 1].tolist())
        speech = [int(t) for t in corpus.speech[row] if t]
        fields = corpus.advice[row]
        repeats = 0
        for fields_before in acted[::-1]:
            if (fields_before[PLACE:] != fields[PLACE:]).any():
                break
            repeats += 1
        weights = [1.0] * PLACE + [self.mix.gamma**repeats] * (_FIELDS - PLACE)
        if silent and rng.random() < self.mix.fresh:
            acted = acted[:0]
            speech = speech or self._confirmations[number][int(corpus.episode[row])]
        meaning = self._meanings[number][int(corpus.episode[row])]
        words = self._instructions[number][int(corpus.episode[row])]
        if meaning is not None and rng.random() < self.mix.reworded:
            words = split(self._tongues[number][1](rng, meaning))
        words = mistyped(rng, words)
        return (
            Prompt(words, split(before, "thought"), past=acted),
            decision(fields, thought, speech, silent, weights).times(self.mix.own),
        )

    def _goals(self, rng: np.random.Generator, corpus: Corpus, row: int) -> list[Goal]:
        """Other goals in a random order, without those that are there twice."""
        found = {}
        for i in rng.permutation(corpus.queries.shape[1]):
            verb, thing, alone = corpus.queries[row, i].tolist()
            if verb != NO_GOAL:
                found[verb, thing, alone] = (corpus.places[row, i].tolist(), corpus.tokens[row, i].tolist())
        return [(query, place, tokens) for query, (place, tokens) in found.items()]

    def _pointed(self, rng: np.random.Generator, corpus: Corpus, row: int) -> list[tuple[Query, npt.NDArray[np.int64]]]:
        """`mix.points` goals and where their things are: in view mostly, where something is that may be named."""
        verbs = self._verbs[corpus.world]
        scene = corpus.scene[row]
        seen = [number for number in scene[:, 0].tolist() if number in verbs]
        unseen = sorted(verbs.keys() - set(seen))
        pointed = []
        for _ in range(self.mix.points):
            pool = seen if seen and rng.random() < _IN_VIEW else unseen
            number = pool[int(rng.integers(len(pool)))]
            verb = verbs[number][int(rng.integers(len(verbs[number])))]
            pointed.append(((verb, number, 0), _places(scene[None], number)[0]))
        return pointed

    def _settled(self, query: Query, number: int, row: int) -> bool:
        """Whether a goal may be what was just done: the expert goes on standing there, but one should say so."""
        corpus = self.corpora[number]
        if not corpus.advised or corpus.advice[row, -1] != codec.HANDS.index("done"):
            return False
        if corpus.world != "doom":
            return True  # what else is fulfilled here is not known
        meaning = self._meanings[number][int(corpus.episode[row])]
        kind = PAIR_OF[query[1]][0] if query[1] in PAIR_OF else "panel" if query[1] else None
        return meaning is not None and kind in [step.kind for step in (meaning, *meaning.then)]

    def _step(
        self,
        rng: np.random.Generator,
        steps: Sequence[Goal],
        acted: npt.NDArray[np.int64],
        scenes: npt.NDArray[np.uint8],
    ) -> tuple[Prompt, Text]:
        """Two goals as one instruction: which of them is to be followed now is in the last thought, or it has just
        begun."""
        visible = [i for i, (_, place, _) in enumerate(steps) if place[0] < COLUMNS]
        now = int(rng.choice(visible))
        query, place, tokens = steps[now]
        thought = f"step {now + 1} {plain_goal(VERBS[query[0]], _plain_name(query[1]))}"
        begins = now == 0 and rng.random() < _BEGINS
        asked = Prompt(
            PhraseBank.steps(rng, [step[0] for step in steps]),
            [] if begins else split(thought, "thought"),
            past=acted[:0] if begins else _looking_for(acted, scenes, query[1]),
        )
        spoken = ""
        if begins:
            goals = [plain_goal(VERBS[verb], _plain_name(thing)) for (verb, thing, _), *_ in steps]
            spoken = OK + " then ".join(goals)
        return asked, decision((*place, *tokens), spell(thought), spell(spoken), silent=False)

    def _show(
        self,
        rng: np.random.Generator,
        frames: list[npt.NDArray[np.uint8]],
        cells: list[npt.NDArray[np.uint8]],
        asked: list[list[Prompt]],
        goals: list[tuple[int, int, Query]],
    ) -> None:
        """Let some goals show a picture of the thing, cut from another frame, instead of naming it."""
        shown = set()
        for row, number, (verb, thing, _) in goals:
            if row in shown or thing in (0, PANEL_CLASS) or rng.random() >= self.mix.pictures:
                continue
            others = [i for i in range(len(frames)) if i != row and np.count_nonzero(cells[i] == thing) >= _CUT_CELLS]
            if not others:
                continue
            other = others[int(rng.integers(len(others)))]
            picture = cut_out(frames[other], cells[other] == thing)
            words = mistyped(rng, split(self._banks["doom"].draw(rng, (verb, PICTURED, 0))))
            asked[row][number] = replace(asked[row][number], request=words, picture=picture)
            shown.add(row)


def cut_out(frame: npt.NDArray[np.uint8], cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """What lies under some cells of a frame (H, W, 3), with some of what is around, at the frame's size."""
    rows, columns = np.nonzero(cells)
    y0, y1 = max(0, rows.min() * CELL - _CUT), min(frame.shape[0], (rows.max() + 1) * CELL + _CUT)
    x0, x1 = max(0, columns.min() * CELL - _CUT), min(frame.shape[1], (columns.max() + 1) * CELL + _CUT)
    cut = Image.fromarray(frame[y0:y1, x0:x1])
    return np.asarray(cut.resize((frame.shape[1], frame.shape[0]), Image.Resampling.BILINEAR))


def with_ways(cells: npt.NDArray[np.uint8], scene: Scene) -> npt.NDArray[np.uint8]:
    """Cells (30, 40) in which doorways, doors and gates are painted as well, about where they are, behind things."""
    ways = [seen for seen in scene if seen.kind in FIXTURE_NAMES and seen.distance >= _BEFORE_WAY]
    if not ways:
        return cells
    painted, (height, width) = cells.copy(), cells.shape
    for seen in sorted(ways, key=lambda seen: -seen.distance):
        foot = seen.row * height
        top = max(0.0, foot - _WAY_HEIGHT / CELL / seen.distance)
        wide = max(1.0, seen.pixels / CELL**2 / max(foot - top, 1.0))
        left = round(seen.column * width - wide / 2)
        area = painted[int(top) : max(math.ceil(foot), int(top) + 1), max(left, 0) : max(left + round(wide), 0)]
        area[np.isin(area, _BACKGROUND)] = seen.name_class
    return painted


def _cells(corpus: Corpus, row: int) -> npt.NDArray[Any]:
    """What is in the cells of a frame, in classes that tell the worlds apart."""
    cells = corpus.cells[row]
    if corpus.world == "doom":
        return with_ways(cells, unpack(corpus.scene[row]))
    return np.where(cells == UNKNOWN, UNKNOWN, cells + np.int16(PLAYROOM)) if corpus.world == "playroom" else cells


def _tongue(world: str) -> tuple[Callable[[str], Any], Callable[[np.random.Generator, Any], str]]:
    """How the instructions of a world are read, and what is meant said in other words."""
    language = world_tasks.of(world).language
    assert language is not None
    return language.read, language.sentence


def _verbs(world: str) -> dict[int, list[int]]:
    """The classes of a world that may be named, each with the verbs that go with it."""
    goals = world_tasks.of(world).goals
    assert goals is not None
    return {number: verbs for number in goals.CLASSES.values() if (verbs := goals.verbs_for(number))}


def _spoken(text: str, world: str) -> list[int]:
    """Ids of the words that confirm an instruction."""
    return spell(confirmation(text, world))[:WORDS]


def _two_steps(rng: np.random.Generator, goals: Sequence[Goal]) -> list[Goal] | None:
    """Two goals with different things, in a random order; the thing of one of them at least is in view."""
    chosen: list[Goal] = []
    for goal in goals:
        if goal[0][1] and goal[0][1] not in [other[0][1] for other in chosen]:
            chosen.append(goal)
    chosen = chosen[:2]
    if len(chosen) < 2 or all(place[0] >= COLUMNS for _, place, _ in chosen):
        return None
    return chosen


def _plain_name(thing: int) -> str:
    return "switch" if thing == PANEL_CLASS else thing_name(*PAIR_OF[thing])


def _turns(corpus: Corpus) -> npt.NDArray[np.int64]:
    """The rows in which the advice is of another kind than in the row before: another step, an exit or the thing has
    come into view, all is done. Numbers change all the time, but where an exit is tells that there is one."""
    thoughts = np.asarray(corpus.thought).astype(np.int64)
    thoughts[np.isin(thoughts, _NUMBERS)] = _NUMBERS[0]
    steps = thoughts[:, 0] == WORD_ID["step"]
    thoughts[steps, 1] = corpus.thought[steps, 1]
    return 1 + np.flatnonzero((np.diff(thoughts, axis=0) != 0).any(1) & (np.diff(corpus.start) == 0))


def _near(rng: np.random.Generator, corpus: Corpus, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows around some rows, evenly: so it is not said more often than it should be, only decided more often."""
    moved = np.clip(rows + rng.integers(-_BEFORE, _BEHIND + 1, len(rows)), 0, len(corpus) - 1)
    return np.where(corpus.start[moved] == corpus.start[rows], moved, rows)


def _looking_for(acted: npt.NDArray[np.int64], scenes: npt.NDArray[np.uint8], thing: int) -> npt.NDArray[np.int64]:
    """What was done (h, 6), as if a thing had been wanted."""
    past = acted.copy()
    past[:, :PLACE] = _places(scenes, thing)
    return past


def _places(scenes: npt.NDArray[np.uint8], thing: int) -> npt.NDArray[np.int64]:
    """Where a thing was in each of some scenes (h, SCENE_ROWS, 5), as (h, 2) bins."""
    out = np.full((len(scenes), PLACE), NOWHERE, np.int64)
    if thing == 0:
        return out
    there = scenes[:, :, 0] == thing
    index = there.argmax(1)
    seen = there.any(1)
    chosen = scenes[np.arange(len(scenes)), index]
    out[seen, 0] = np.minimum(chosen[seen, 1], COLUMNS - 1)
    out[seen, 1] = ROWS if thing == PANEL_CLASS else np.minimum(chosen[seen, 2], ROWS - 1)
    return out

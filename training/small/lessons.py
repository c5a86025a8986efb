"""Lessons: what `small` is asked about a frame and what it should write, packed into batches.

One frame carries many texts: the episode's own goal with thought and speech, other goals with what the expert would do
for them, and what else its world teaches (training.small.lesson_world). They lie in one row and share the frame's
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from agent import doom_codec as codec
from agent.sight import DIRECTIONS
from agent.small.model import HISTORY
from agent.small.prompt import Prompt, way_words
from agent.small.token_ids import PLACE, STARTS, WORD_ID, say
from agent.small.word_hashing import split
from tasks.speech import NOT_UNDERSTOOD
from tasks.task import Query
from training.small import lesson_world
from training.small.batches import Batch, Text, assemble, decision, ending, pointing
from training.small.classes import CELL
from training.small.corpus import AHEAD, Corpus
from training.small.lesson_world import NO_GOAL, GoalAdvice, LessonWorld, Moment
from training.small.mix import Mix
from training.small.nonsense import nonsense
from training.small.phrase_bank import PhraseBank, blurred, by_meaning, mistyped

_FIELDS = len(STARTS)
_DONE = codec.HANDS.index("done")
_BEFORE, _BEHIND = 4, 2  # decisions around a turn that belong to it
_NUMBERS = [number for word, number in WORD_ID.items() if word.isdigit()]
_CUT = 8  # pixels around a thing that a picture of it shows
_CUT_CELLS = 6  # cells that a thing has to cover for a picture of it


@dataclass
class Page:
    """What is taught about one frame: prompts with their texts. `wanted`: the goals among them, by the number of the
    prompt. `deaf`: no prompt has words of what is asked for."""

    deaf: bool
    prompts: list[Prompt] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    wanted: list[tuple[int, Query]] = field(default_factory=list)

    def add(self, prompt: Prompt, text: Text) -> None:
        self.prompts.append(replace(prompt, request=()) if self.deaf else prompt)
        self.texts.append(text)


class _Source:
    """A corpus with all that lessons read out of it once: its world, and the words and the meaning of every
    instruction."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.world = lesson_world.of(corpus.world)
        self.words = [split(text) for text in corpus.instructions]
        self.meanings = [self.world.read(text) for text in corpus.instructions]
        self.confirmations = [self.world.confirmation(text) for text in corpus.instructions]
        self.turns = _turns(corpus)

    def moment(self, row: int) -> Moment:
        """The frame in a row, and the decisions of its episode before it."""
        corpus = self.corpus
        first = max(int(corpus.start[row]), row - HISTORY)
        return Moment(corpus.scene[row], corpus.acted[first:row].astype(np.int64), corpus.scene[first:row])

    def settled(self, query: Query, row: int) -> bool:
        """Whether a goal may be what was just done: the expert goes on standing there, but one should say so."""
        if not self.corpus.advised or self.corpus.advice[row, -1] != _DONE:
            return False
        return self.world.settles(query, self.meanings[int(self.corpus.episode[row])])

    def cells(self, row: int) -> npt.NDArray[Any]:
        return self.world.cells(self.corpus.cells[row], self.corpus.scene[row])


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
        self._sources = [_Source(corpus) for corpus in self.corpora]
        worlds = {source.world.name: source.world for source in self._sources}
        self._banks = {name: PhraseBank(self.seed, world.phrase) for name, world in worlds.items()}

    def at(self, step: int) -> Batch:
        """Batch number `step`: it follows from the seed and the rank."""
        for corpus, rows in zip(self.corpora, self._rows(step + AHEAD), strict=True):
            corpus.fetch(rows)
        rng = np.random.default_rng([self.seed, step, self.rank])
        frames: list[npt.NDArray[np.uint8]] = []
        cells: list[npt.NDArray[Any]] = []
        pages: list[Page] = []
        pictured: list[tuple[int, int, Query, LessonWorld]] = []  # row, number of the prompt, what is wanted, where
        for number, (source, rows) in enumerate(zip(self._sources, self._rows(step), strict=True)):
            for row in rows.tolist():
                page = self.page(rng, number, row)
                pictured += [(len(frames), at, query, source.world) for at, query in page.wanted]
                frames.append(source.corpus.frames[row])
                cells.append(source.cells(row))
                pages.append(page)
        prompts = [page.prompts for page in pages]
        if self.mix.pictures and not self.goals_only:
            self._show(rng, frames, cells, prompts, pictured)
        texts = [page.texts for page in pages]
        batch = assemble(np.stack(frames), prompts, texts, np.stack(cells).astype(np.int16))
        if self.mix.blur:
            meanings = batch.prompt.meanings
            meanings.copy_(torch.from_numpy(blurred(rng, meanings.numpy(), self.mix.blur)))
        return batch

    def _rows(self, step: int) -> list[npt.NDArray[np.int64]]:
        """The rows of every corpus that batch number `step` is about."""
        rng = np.random.default_rng([self.seed, step, self.rank, 1])
        ends = np.floor(np.cumsum(self.shares).round(6) + rng.random()).astype(int)
        chosen = []
        for source, share in zip(self._sources, np.diff(ends, prepend=0), strict=True):
            corpus, turns = source.corpus, source.turns
            rows = rng.integers(len(corpus), size=share)
            starts = rng.random(share) < self.mix.starts
            rows[starts] = corpus.start[rows[starts]]
            near = np.flatnonzero(rng.random(share) < self.mix.turns)
            if len(turns):
                rows[near] = _near(rng, corpus, rng.choice(turns, len(near)))
            chosen.append(np.sort(rows))
        return chosen

    def page(self, rng: np.random.Generator, number: int, row: int) -> Page:
        """All that is taught about one frame: `row` of corpus `number`."""
        source = self._sources[number]
        mix, corpus, moment = self.mix, source.corpus, source.moment(row)
        page = Page(deaf=mix.deaf > 0.0 and rng.random() < mix.deaf)
        if not self.goals_only and corpus.advised:
            page.add(*self._own(rng, source, row, moment))
            if rng.random() < mix.forgotten:
                page.add(*self._own(rng, source, row, moment, forgotten=True))
        goals = _goals(rng, corpus, row)
        if not self.goals_only:
            goals = [goal for goal in goals if not source.settled(goal[0], row)][: mix.goals]
        for goal in goals:
            page.wanted.append((len(page.prompts), goal[0]))
            page.add(*self._goal(rng, source, moment, goal))
        if not self.goals_only and mix.unknown and rng.random() < mix.unknown:
            page.add(Prompt(self._typed(rng, nonsense().draw(rng))), ending(NOT_UNDERSTOOD, silent=rng.random() < 0.5))
        for asked, place in source.world.pointed(rng, mix, moment):
            said = asked if isinstance(asked, str) else self._banks[source.world.name].draw(rng, asked)
            words = mistyped(rng, split(said))
            page.add(Prompt(words, past=moment.acted[:0]), pointing(place))
        if not self.goals_only:
            for prompt, text in source.world.roles(rng, mix, moment, goals):
                page.add(prompt, text)
        return page

    def _typed(self, rng: np.random.Generator, words: Sequence[str]) -> list[str]:
        return by_meaning(rng, mistyped(rng, words), self.mix.meant)

    def _goal(self, rng: np.random.Generator, source: _Source, moment: Moment, goal: GoalAdvice) -> tuple[Prompt, Text]:
        """Another goal than the episode's own, and what the expert does for it."""
        query, place, tokens = goal
        fresh = rng.random() < self.mix.fresh
        past = moment.acted[:0] if fresh else moment.looking_for(query[1], foot=source.world.has_foot(query[1]))
        named = source.world.named(rng, self.mix, moment, query, place)
        text = self._banks[source.world.name].draw(rng, named)
        # an episode begins with a confirmation of the instruction
        spoken = [] if len(past) else source.world.confirmation(text, named)
        return Prompt(self._typed(rng, split(text)), past=past), decision((*place, *tokens), speech=spoken)

    def _own(
        self, rng: np.random.Generator, source: _Source, row: int, moment: Moment, *, forgotten: bool = False
    ) -> tuple[Prompt, Text]:
        """The episode's own goal. `forgotten`: without the last thought, which is easily copied whatever is seen and
        asked."""
        corpus, episode = source.corpus, int(source.corpus.episode[row])
        silent = not forgotten and rng.random() < self.mix.silent
        thought: list[int] = []
        before = ""
        if not silent:
            thought = [int(t) for t in corpus.thought[row] if t]
            if row > corpus.start[row] and not forgotten:
                before = say(corpus.acted_thought[row - 1].tolist())
        speech = [int(t) for t in corpus.speech[row] if t]
        fields, past = corpus.advice[row], moment.acted
        weights = [1.0] * PLACE + [self.mix.gamma ** _repeats(past, fields)] * (_FIELDS - PLACE)
        if silent and rng.random() < self.mix.fresh:
            past = past[:0]
            speech = speech or source.confirmations[episode]
        words, meaning = source.words[episode], source.meanings[episode]
        if meaning is not None and rng.random() < self.mix.reworded:
            words = split(source.world.reworded(rng, meaning))
        told = int(corpus.way[row, 0])
        memory = way_words(DIRECTIONS[told - 1]) if told else ()
        return (
            Prompt(self._typed(rng, words), split(before, "thought"), memory, past=past),
            decision(fields, thought, speech, silent, weights).times(self.mix.own),
        )

    def _show(
        self,
        rng: np.random.Generator,
        frames: list[npt.NDArray[np.uint8]],
        cells: list[npt.NDArray[Any]],
        asked: list[list[Prompt]],
        goals: list[tuple[int, int, Query, LessonWorld]],
    ) -> None:
        """Let some goals show a picture of the thing, cut from another frame, instead of naming it."""
        shown = set()
        for row, number, query, world in goals:
            instead = world.pictured(query)
            if row in shown or instead is None or rng.random() >= self.mix.pictures:
                continue
            thing = query[1]
            others = [i for i in range(len(frames)) if i != row and np.count_nonzero(cells[i] == thing) >= _CUT_CELLS]
            if not others:
                continue
            other = others[int(rng.integers(len(others)))]
            picture = cut_out(frames[other], cells[other] == thing)
            words = mistyped(rng, split(self._banks[world.name].draw(rng, instead)))
            asked[row][number] = replace(asked[row][number], request=words, picture=picture)
            shown.add(row)


def _goals(rng: np.random.Generator, corpus: Corpus, row: int) -> list[GoalAdvice]:
    """Other goals of a frame in a random order, each once."""
    found = {}
    for i in rng.permutation(corpus.queries.shape[1]):
        verb, thing, alone = corpus.queries[row, i].tolist()
        if verb != NO_GOAL:
            found[verb, thing, alone] = (corpus.places[row, i].tolist(), corpus.tokens[row, i].tolist())
    return [(query, place, tokens) for query, (place, tokens) in found.items()]


def _repeats(past: npt.NDArray[np.int64], fields: npt.NDArray[np.uint8]) -> int:
    """How many decisions in a row, up to the last one, had the same action as `fields`."""
    other = (past[::-1, PLACE:] != fields[PLACE:]).any(1)
    return int(other.argmax()) if other.any() else len(past)


def cut_out(frame: npt.NDArray[np.uint8], cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """What lies under some cells of a frame (H, W, 3), with some of what is around, at the frame's size."""
    rows, columns = np.nonzero(cells)
    y0, y1 = max(0, rows.min() * CELL - _CUT), min(frame.shape[0], (rows.max() + 1) * CELL + _CUT)
    x0, x1 = max(0, columns.min() * CELL - _CUT), min(frame.shape[1], (columns.max() + 1) * CELL + _CUT)
    cut = Image.fromarray(frame[y0:y1, x0:x1])
    return np.asarray(cut.resize((frame.shape[1], frame.shape[0]), Image.Resampling.BILINEAR))


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

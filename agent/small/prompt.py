"""`Prompt`: what `small` reads beside a frame. Training and play build it here, so that the two can't differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from agent import doom_codec as codec
from agent.memory import earlier_attempt, way_told, without_way
from agent.policy import Context
from agent.small import word_hashing
from agent.small.model import FRAME_SIZE, HISTORY, PromptBatch
from agent.small.place import read_place
from agent.small.token_ids import FIELDS
from agent.small.vocabulary import PLAN
from agent.small.word_hashing import split
from agent.view import fit

_FIRST = {part: word_hashing.first_place(part) for part in word_hashing.PARTS}
_NO_PAST = np.zeros((0, len(FIELDS)), np.int64)


@dataclass(frozen=True)
class Prompt:
    """One prompt.

    `request`: the words of the instruction or question. `thought`: the words of the last thought. `memory`: the words
    of what happened so far. All three come from agent.small.word_hashing.split. `past` int (h, 6): the fields of the
    last h <= HISTORY decisions, oldest first. `picture`: what the request shows, uint8 (120, 160, 3).
    """

    request: Sequence[str] = ()
    thought: Sequence[str] = ()
    memory: Sequence[str] = ()
    past: npt.NDArray[np.int64] = field(default_factory=lambda: _NO_PAST)
    picture: npt.NDArray[np.uint8] | None = None


def prompt_of(context: Context) -> Prompt:
    """The prompt of a context. Of `Context.memory` it has what an earlier attempt saw and did, which the acting role
    learns to read where it learns to correct itself, and where the way to what is wanted begins; no more."""
    count = min(HISTORY, len(context.actions))
    if context.since is not None:
        count = min(count, context.since)  # earlier decisions belong to another instruction
    past = np.zeros((count, len(FIELDS)), np.int64)
    thoughts = context.thoughts[len(context.thoughts) - count :] if count else ()
    for i, (chunk, thought) in enumerate(zip(context.actions[len(context.actions) - count :], thoughts, strict=True)):
        past[i] = (*read_place(thought)[1], *(codec.encode(chunk) if chunk else codec.NOOP))
    last = read_place(context.thoughts[-1])[0] if context.thoughts else ""
    picture = None if context.picture is None else fit(context.picture, FRAME_SIZE)
    before = split(earlier_attempt(context.memory), "memory")
    memory = [*before, *way_words(way_told(context.memory))][-word_hashing.PARTS["memory"] :]
    return Prompt(split(context.instruction), split(last, "thought"), memory, past=past, picture=picture)


def heard(contexts: Sequence[Context], *, ways: bool) -> list[Context]:
    """Contexts as a model reads them: one that was not taught to follow `ways` does not read of them."""
    return list(contexts) if ways else [replace(one, memory=without_way(one.memory)) for one in contexts]


def way_words(direction: str) -> list[str]:
    """The words of a memory that tell in which direction the way to what is wanted begins; none where that is ""."""
    return ["way", *direction.split()] if direction else []


def plan_prompt(goal: str, memory: str = "") -> Prompt:
    """What the planning role is asked: what has to be done for a goal, after what a memory tells."""
    return Prompt([PLAN, *split(goal)[1 - word_hashing.PARTS["request"] :]], memory=split(memory, "memory"))


def asked_for(context: Context, word: str) -> Context:
    """The context with a word behind its instruction: how an advantage-conditioned model is asked for a good decision
    (training.rl.conditioning). Without a word the same context."""
    return replace(context, instruction=f"{context.instruction} {word}") if word else context


def pack(rows: Sequence[Sequence[Prompt]], words: int = 0, decisions: int = 0) -> PromptBatch:
    """A batch of rows, one for each frame; a row holds all prompts of its frame. Rows are padded to the longest, and to
    at least `words` words and `decisions` remembered decisions."""
    table = word_hashing.Table()
    ids: list[list[int]] = []
    places: list[list[int]] = []
    owners: list[list[int]] = []
    pictures, holders = [], []
    lengths = [sum(len(prompt.past) for prompt in row) for row in rows]
    height = max(decisions, *lengths)
    past = np.zeros((len(rows), height, len(FIELDS)), np.int64)
    ages = np.zeros((len(rows), height), np.int64)
    past_owners = np.full((len(rows), height), -1, np.int64)
    for i, row in enumerate(rows):
        row_ids: list[int] = []
        row_places: list[int] = []
        row_owners: list[int] = []
        at = 0
        for number, prompt in enumerate(row):
            before = len(row_ids)
            for part, spelled in (("request", prompt.request), ("thought", prompt.thought), ("memory", prompt.memory)):
                row_ids += [table.row(word) for word in spelled]
                row_places += range(_FIRST[part], _FIRST[part] + len(spelled))
            if len(row_ids) == before:  # a prompt without words gets one empty word: attention needs a token to read
                row_ids.append(0)
                row_places.append(0)
            row_owners += [number] * (len(row_ids) - before)
            h = len(prompt.past)
            if h:
                past[i, at : at + h] = prompt.past
                ages[i, at : at + h] = np.arange(h - 1, -1, -1)
                past_owners[i, at : at + h] = number
                at += h
            if prompt.picture is not None:
                pictures.append(prompt.picture)
                holders.append((i, number))
        ids.append(row_ids)
        places.append(row_places)
        owners.append(row_owners)
    pack_of = np.concatenate([_padded(owners, -1, words), past_owners], 1)
    return PromptBatch(
        table=torch.from_numpy(table.array()),
        meanings=torch.from_numpy(table.meanings()),
        ids=torch.from_numpy(_padded(ids, 0, words)),
        places=torch.from_numpy(_padded(places, 0, words)),
        pack=torch.from_numpy(pack_of),
        past=torch.from_numpy(past),
        ages=torch.from_numpy(ages),
        pictures=torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) if pictures else None,
        holders=torch.tensor(holders) if pictures else None,
    )


def _padded(rows: Sequence[Sequence[int]], empty: int, width: int) -> npt.NDArray[np.int64]:
    """Lists as one array of at least `width` columns; short rows end in `empty`."""
    array = np.full((len(rows), max(width, *map(len, rows))), empty, np.int64)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array

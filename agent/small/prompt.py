"""Prompts for `small`: what training and play put before the model, built in one place so that they can't differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from agent.small import words
from agent.small.layout import FIELDS
from agent.small.model import Prompt

_FIRST = {part: words.first_place(part) for part in words.PARTS}
_NO_PAST = np.zeros((0, len(FIELDS)), np.int64)


@dataclass(frozen=True)
class Asked:
    """One prompt. `asked`, `thought` and `memory` are words (agent.small.words.split). `past` int (h, 6): the fields
    of the last h <= HISTORY decisions, oldest first. `picture`: uint8 (120, 160, 3)."""

    asked: Sequence[str] = ()
    thought: Sequence[str] = ()
    memory: Sequence[str] = ()
    past: npt.NDArray[np.int64] = field(default_factory=lambda: _NO_PAST)
    picture: npt.NDArray[np.uint8] | None = None


def pack(rows: Sequence[Sequence[Asked]]) -> Prompt:
    """A batch of rows, one for each frame, with all its prompts."""
    table = words.Table()
    ids: list[list[int]] = []
    places: list[list[int]] = []
    owners: list[list[int]] = []
    pictures, holders = [], []
    lengths = [sum(len(asked.past) for asked in row) for row in rows]
    height = max(lengths)
    past = np.zeros((len(rows), height, len(FIELDS)), np.int64)
    ages = np.zeros((len(rows), height), np.int64)
    past_owners = np.full((len(rows), height), -1, np.int64)
    for i, row in enumerate(rows):
        row_ids: list[int] = []
        row_places: list[int] = []
        row_owners: list[int] = []
        at = 0
        for number, asked in enumerate(row):
            before = len(row_ids)
            for part, text in (("asked", asked.asked), ("thought", asked.thought), ("memory", asked.memory)):
                row_ids += [table.row(word) for word in text]
                row_places += range(_FIRST[part], _FIRST[part] + len(text))
            if len(row_ids) == before:  # nothing is asked in words: one empty word, so that there is something to read
                row_ids.append(0)
                row_places.append(0)
            row_owners += [number] * (len(row_ids) - before)
            h = len(asked.past)
            if h:
                past[i, at : at + h] = asked.past
                ages[i, at : at + h] = np.arange(h - 1, -1, -1)
                past_owners[i, at : at + h] = number
                at += h
            if asked.picture is not None:
                pictures.append(asked.picture)
                holders.append((i, number))
        ids.append(row_ids)
        places.append(row_places)
        owners.append(row_owners)
    pack_of = np.concatenate([_filled(owners, -1), past_owners], 1)
    return Prompt(
        table=torch.from_numpy(table.array()),
        ids=torch.from_numpy(_filled(ids, 0)),
        places=torch.from_numpy(_filled(places, 0)),
        pack=torch.from_numpy(pack_of),
        past=torch.from_numpy(past),
        ages=torch.from_numpy(ages),
        pictures=torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) if pictures else None,
        holders=torch.tensor(holders) if pictures else None,
    )


def _filled(rows: Sequence[Sequence[int]], empty: int) -> npt.NDArray[np.int64]:
    """Lists as one array, filled up behind their ends."""
    array = np.full((len(rows), max(map(len, rows))), empty, np.int64)
    for i, row in enumerate(rows):
        array[i, : len(row)] = row
    return array

"""The rows of an episode: a column for each feature of `layout.features`, a row for each tick."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from agent.plan import STEP
from envs.action_vector import to_vectors
from rewards.score import Failure, Score
from training.data.episodes import Episode
from training.data.examples import DecisionRows, done_decisions, setting_of
from training.data.lerobot import language
from training.data.lerobot.layout import (
    ACTION,
    DONE,
    EVENTS,
    EXACT,
    PERSISTENT,
    REWARD,
    STATE,
    SUCCESS,
    score_column,
    verdict_column,
)

Columns = dict[str, Any]


def step_columns(episode: Episode, fps: int, scores: Mapping[str, Score | Failure | None]) -> Columns:
    """The columns of an episode without those that count over the dataset. `scores`: those of the rewards that judge
    the dataset, by their names. Raises DamagedEpisodeError."""
    steps, ticks = episode.steps.to_pydict(), len(episode.steps)
    times = (np.arange(ticks) / fps).astype(np.float32)
    memories = _in_force(steps["memory"])
    actions = episode.actions()
    success = np.zeros(ticks, bool)
    success[-1] = bool(episode.success)
    vectors = to_vectors(actions)
    columns: Columns = {
        STATE: np.concatenate([np.zeros_like(vectors[:1]), vectors[:-1]]),
        ACTION: vectors,
        EXACT: np.array([(*a.look, *(a.pointer or (0.0, 0.0)), a.wheel) for a in actions]),
        REWARD: np.array(steps["reward"]),
        DONE: np.arange(ticks) == ticks - 1,
        SUCCESS: success,
        EVENTS: language.events(steps["instruction"], steps["speech"]),
        PERSISTENT: [language.persistent(steps["instruction"], steps["thought"], memories, times.tolist())] * ticks,
        "ludens.action_text": action_texts(episode),
        "ludens.memory": memories,
        "ludens.tokens": [" ".join(map(str, tokens or ())) for tokens in steps["tokens"]],
        "ludens.time": [time or 0.0 for time in steps["time"]],
        **{f"ludens.{name}": steps[name] for name in ("actor", "thought", "speech", "frame", "decision", "asked")},
        "ludens.starved": steps["starved"],
        "timestamp": times,
        "frame_index": np.arange(ticks),
    }
    for judge, score in scores.items():
        given = score if isinstance(score, Score) else None
        columns[score_column(judge)] = [given.value if given else -1.0] * ticks
        columns[verdict_column(judge)] = [bool(given and given.success)] * ticks
    return columns


def _in_force(memory: list[str | None]) -> list[str]:
    """The memory that counts at every tick; the steps tell it where it changes."""
    found, now = [], ""
    for changed in memory:
        now = now if changed is None else changed
        found.append(now)
    return found


def action_texts(episode: Episode) -> list[str]:
    """What was done, in the action language of the world: at the tick whose frame a decision was made on, what was done
    until the next one, and in play without decisions at every STEP milliseconds. "" at all other ticks, and where the
    world's language has no words for what was done. Raises DamagedEpisodeError."""
    setting, actions = setting_of(episode), episode.actions()
    rows = DecisionRows(episode)
    done = done_decisions(episode.outcome, tuple(tuple(actions[a:b]) for a, b in rows.spans), rows.asked)
    spans = [(*span, said) for span, said in zip(rows.spans, done, strict=True)]
    spans += [(*span, False) for span in _by_hand(episode)]
    texts = [""] * len(actions)
    for begin, end, said_done in spans:
        try:
            texts[begin] = setting.codec.write(setting.plan_of(actions[begin:end], done=said_done))
        except ValueError:  # what a person held that no plan may
            continue
    return texts


def _by_hand(episode: Episode) -> list[tuple[int, int]]:
    """Stretches of at most STEP milliseconds of the ticks that belong to no decision."""
    decision = episode.steps["decision"].to_numpy()
    starved = episode.steps["starved"].to_numpy(zero_copy_only=False)
    free = np.flatnonzero((decision < 0) & ~starved)
    length = max(1, round(episode.tick_hz * STEP / 1000.0))
    runs = np.split(free, np.flatnonzero(np.diff(free) > 1) + 1) if len(free) else []
    return [
        (int(run[at]), int(run[min(at + length, len(run)) - 1]) + 1)
        for run in runs
        for at in range(0, len(run), length)
    ]


def table(columns: Columns, schema: pa.Schema) -> pa.Table:
    """Columns as a table with the columns of `schema`."""
    return pa.table([_array(columns[field.name], field.type) for field in schema], schema=schema)


def _array(values: Any, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(wanted):
        flat = np.ascontiguousarray(values).reshape(-1)
        return pa.FixedSizeListArray.from_arrays(pa.array(flat, wanted.value_type), wanted.list_size)
    return pa.array(values, wanted)

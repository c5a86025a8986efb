"""The language columns of lerobot 0.6: what is said, and what the player was told, thought and remembered.

`language_events` has what happens at one frame: a new instruction (role user, style interjection) and what the agent
says (role assistant, a call of the tool `say`). `language_persistent` has what holds from a time on, and LeRobot wants
all of an episode's rows of it in every row of the data: the instructions (style subtask), the thoughts (style plan) and
the memory (style memory). So only changes count there: of a thought those of its words, and the memory where one of
the two others changes; at most MOST rows. `ludens.thought` and `ludens.memory` have every one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MOST = 32  # rows of language_persistent in an episode: each is repeated in every row of the data

Row = dict[str, Any]


def events(instructions: Sequence[str], speech: Sequence[str]) -> list[list[Row]]:
    """`language_events` of an episode, from the instruction and the speech of every tick ("" where none begins)."""
    rows: list[list[Row]] = []
    for tick, (told, said) in enumerate(zip(instructions, speech, strict=True)):
        here = []
        if tick and told != instructions[tick - 1]:
            here.append(_row("user", told, "interjection"))
        if said:
            here.append(_row("assistant", None, None, [_say(said)]))
        rows.append(here)
    return rows


def persistent(
    instructions: Sequence[str], thoughts: Sequence[str], memories: Sequence[str], times: Sequence[float]
) -> list[Row]:
    """The rows of `language_persistent` of an episode. `memories`: the memory that counts at every tick. `times`:
    seconds."""
    rows: list[Row] = []
    told: str | None = None
    planned, remembered = "", ""
    for instruction, thought, memory, time in zip(instructions, thoughts, memories, times, strict=True):
        changes = []
        if instruction != told:
            told = instruction
            changes.append(("user", instruction, "subtask"))
        if _words(thought) not in ("", planned):
            planned = _words(thought)
            changes.append(("assistant", thought, "plan"))
        if changes and memory and memory != remembered:
            remembered = memory
            changes.append(("assistant", memory, "memory"))
        rows += [_row(role, content, style) | {"timestamp": time} for role, content, style in changes]
    return _thinned(rows)


def _thinned(rows: list[Row]) -> list[Row]:
    """All rows, or MOST of them, evenly over the episode."""
    if len(rows) <= MOST:
        return rows
    return [rows[round(i * (len(rows) - 1) / (MOST - 1))] for i in range(MOST)]


def _words(thought: str) -> str:
    """A thought without its numbers, which may be places in the picture and change at every decision."""
    return " ".join("".join(c if c.isalpha() else " " for c in thought).split())


def _row(role: str, content: str | None, style: str | None, calls: list[Row] | None = None) -> Row:
    return {"role": role, "content": content, "style": style, "camera": None, "tool_calls": calls}


def _say(text: str) -> Row:
    return {"type": "function", "function": {"name": "say", "arguments": {"text": text}}}

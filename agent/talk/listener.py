"""`Listener`: a chat model that understands what the user says, in any language, and answers by a schema.

What a listener reads is what the user and the agent said to each other, and the goals; no picture, no line of another
player. So nothing but the user's own words can become a goal.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args

from agent.models.base import BadReplyError, ChatModel, Message, Options, Reply

Kind = Literal["instruct", "correct", "add", "ask", "clarify", "stop", "wait", "go on"]
TELLS: tuple[Kind, ...] = ("instruct", "correct", "add", "clarify")  # those that say what to do

MOST_GOALS, GOAL = 6, 500  # in an answer, and characters of one
_LINE = 500  # characters of a line of dialogue, a goal or a view in a prompt
_MAX_TOKENS = 400  # of an answer
SECONDS = 10.0  # within which a message must be understood

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": list(get_args(Kind))},
        "text": {"type": "array", "items": {"type": "string", "maxLength": GOAL}, "maxItems": MOST_GOALS},
        "goal": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["kind", "text", "goal"],
    "additionalProperties": False,
}
_KIND = re.compile(rf'"kind"\s*:\s*"({"|".join(get_args(Kind))})"')
_RULES = """\
You listen for a player in a game, who does what his user says. Read what the user says now, in whatever language, and \
answer with JSON.
"kind":
  "instruct": he is to do something, in place of his goals;
  "add": he is to do something more, before or after his goals;
  "correct": one of his goals was meant otherwise, such as another thing;
  "clarify": the answer to a question of the player's;
  "ask": a question, and nothing to do in the game;
  "stop": he is to drop everything; "wait": to hold still for now; "go on": to go on after that.
"text": for the first four what is to be done now, one short instruction for each step, each complete in itself; for \
"ask" the question; otherwise nothing.
"goal": the number of the goal that is corrected or made clear; for "add" the number of the goal after which it comes, \
0 for before all of them; otherwise 0."""
_OWN_WORDS = "Keep the user's language and his own words."
_TAUGHT = 'Write instructions in plain English, as in "go to the red torch": the player was taught no other language.'


@dataclass(frozen=True)
class Said:
    """What the user says, and what is needed to understand it.

    `text`: his words. `goals`: what the player is to do, in order; the first one is under way. `question`: what the
    player asked and waits for. `dialogue`: (who, what) lines of the two, oldest first, without the new one. `view`:
    what is in view, in the words of a policy that describes frames. `controls`: what the keys of the world do.
    `picture`: he shows a picture of what he means. `english`: the player was taught English alone.
    """

    text: str
    goals: tuple[str, ...] = ()
    question: str = ""
    dialogue: tuple[tuple[str, str], ...] = ()
    view: str = ""
    controls: str = ""
    picture: bool = False
    english: bool = False


@dataclass(frozen=True)
class Heard:
    """What the user wants: see the schema. `goal`: the number of a goal, from 1, or 0."""

    kind: Kind
    text: tuple[str, ...] = ()
    goal: int = 0


class Listener(Protocol):
    """Understands what the user says."""

    def understand(self, said: Said, early: Callable[[Kind], None]) -> Heard:
        """What the user wants. `early` is told the kind as soon as it is known, so that an answer need not wait for the
        rest, which may be wrong still. Raises agent.models.base.ModelError where it can't tell."""


class ChatListener:
    """A chat model as a listener."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    def understand(self, said: Said, early: Callable[[Kind], None]) -> Heard:
        rules = f"{_RULES}\n{_TAUGHT if said.english else _OWN_WORDS}"
        talk = [Message("system", rules), *_EXAMPLES, Message("user", prompt(said))]
        end = time.monotonic() + SECONDS
        how: Options = {
            "schema": SCHEMA, "think": 0, "max_tokens": _MAX_TOKENS, "temperature": 0.0, "deadline": SECONDS,
        }  # fmt: skip
        text, data = "", {}
        try:
            for item in self._model.stream(talk, **how):
                if isinstance(item, Reply):
                    data = item.data
                elif not item.thought:
                    before, text = text, text + item.text
                    if (kind := _KIND.search(text)) and not _KIND.search(before):
                        early(cast(Kind, kind[1]))
        except BadReplyError:
            how["deadline"] = max(0.1, end - time.monotonic())
            data = self._model.chat(talk, **how).data  # which repairs JSON
        return read(data, len(said.goals))


def prompt(said: Said) -> str:
    """The situation in lines, one for each fact or speaker; the last one is what the user says now."""
    lines = [f"Controls: {_line(said.controls)}"] * bool(said.controls)
    lines += [f"{who}: {_line(what)}" for who, what in said.dialogue]
    lines += [f"Goal {number}: {_line(goal)}" for number, goal in enumerate(said.goals, 1)] or ["Goals: none"]
    lines += [f"In view: {_line(said.view)}"] * bool(said.view)
    lines += [f"The player asks: {_line(said.question)}"] * bool(said.question)
    lines += ["The user shows a picture of what he means."] * said.picture
    return "\n".join([*lines, f"The user says now: {said.text}"])


def read(data: dict[str, Any], goals: int) -> Heard:
    """What an answer that fits SCHEMA says. `goals`: how many there are. Raises BadReplyError where it says what can't
    be done."""
    kind: Kind = data["kind"]
    text = tuple(told for part in data["text"] if (told := _line(part)))
    if kind in TELLS and not text:
        raise BadReplyError(f"the model understands {kind!r}, and not what is to be done")
    return Heard(kind, text, data["goal"] if 0 < data["goal"] <= goals else 0)


def _line(text: str) -> str:
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:_LINE].strip()


def _example(said: Said, heard: Heard) -> Sequence[Message]:
    answer = {"kind": heard.kind, "text": list(heard.text), "goal": heard.goal}
    return Message("user", prompt(said)), Message("assistant", json.dumps(answer, ensure_ascii=False))


# Small models follow what they are shown rather than what they are told.
_EXAMPLES = (
    *_example(
        Said("now take the apple and then sit down please", ("walk to the tree",)),
        Heard("instruct", ("take the apple", "sit down")),
    ),
    *_example(Said("first wave", ("walk to the tree", "sit down")), Heard("add", ("wave",))),
    *_example(
        Said("no, the green ones", ("walk to the tree", "take the red apples")),
        Heard("correct", ("take the green apples",), 2),
    ),
    *_example(
        Said("the old one", ("walk to the tree",), "the old tree or the young one?"),
        Heard("clarify", ("walk to the old tree",), 1),
    ),
    *_example(Said("can you see the dog?", ("walk to the tree",)), Heard("ask", ("can you see the dog?",))),
    *_example(Said("that will do, leave it", ("walk to the tree",)), Heard("stop")),
)

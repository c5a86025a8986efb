"""The turns of models that are trained: the action language with a token for each of its parts.

A turn is an optional thought, the action in the vocabulary of agent/action_tokens.py and optional speech:

    <thought>the door is ahead<act><key_KeyW><key_Space><time_200><end_false><say>i jump

The token that ends a turn in the model's chat template ends it. Free text is bounded by a budget and holds neither
special tokens nor line breaks. What the action may be follows from the world that the grammar is made `for_world`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from agent import action_tokens
from agent.codec import Codec
from agent.prompted import USUAL, Turn
from agent.vlm.free_text import Form, Written, free_ids, ids_after

THOUGHT, ACT, SAY = "<thought>", "<act>", "<say>"
TOKENS = (THOUGHT, ACT, SAY, *action_tokens.token_names())

Place = Literal["begin", "thought", "action", "acted", "speech", "over"]


class State(NamedTuple):
    """How far a turn is: where in it, how many tokens of free text are there, and how far the action is."""

    place: Place = "begin"
    spent: int = 0
    action: action_tokens.State = action_tokens.State()


def add_action_tokens(tokenizer: Any) -> int:
    """Add the marks and the action tokens to a tokenizer, and return how many were new. The model's embeddings must
    grow by as many."""
    return int(tokenizer.add_tokens(list(TOKENS), special_tokens=True))


def form_of(tokenizer: Any) -> Form:
    """ "tokens" where the tokenizer has the action tokens, otherwise "text"."""
    return "tokens" if set(TOKENS) <= set(tokenizer.get_added_vocab()) else "text"


def turn_text(turn: Turn) -> str:
    """A turn as text, as prompts show it. Raises ValueError for a plan that tokens can't say."""
    names = action_tokens.token_names()
    action = "".join(names[token] for token in action_tokens.encode(action_tokens.fit(turn.plan)))
    thought, speech = f"{THOUGHT}{turn.thought}" * bool(turn.thought), f"{SAY}{turn.speech}" * bool(turn.speech)
    return f"{thought}{ACT}{action}{speech}"


class TurnGrammar:
    """The turns that a model with this `tokenizer`, which has the action tokens, may write.

    `end`: the id that ends a turn. `thought`, `speech`: the most tokens of each; 0 forbids it.
    """

    def __init__(self, tokenizer: Any, end: int, codec: Codec = USUAL, *, thought: int = 64, speech: int = 32) -> None:
        self.tokenizer, self.end, self.codec = tokenizer, end, codec
        self._budget = {"thought": thought, "speech": speech}
        ids = tokenizer.convert_tokens_to_ids(list(TOKENS))
        self._think, self._act, self._say = ids[:3]
        self._ids: list[int] = ids[3:]  # by the number of the action token
        self._numbers = {token: number for number, token in enumerate(self._ids)}
        self.free = free_ids(tokenizer)
        self._free = frozenset(self.free.tolist()) - {end}
        self.longest = thought + speech + 4 + 13 * action_tokens.MOST_STRETCHES + 1
        self._following: dict[action_tokens.State, list[int]] = {}

    def for_codec(self, codec: Codec) -> TurnGrammar:
        """The grammar of another world."""
        other = copy.copy(self)
        other.codec, other._following = codec, {}
        return other

    def begin(self) -> State:
        """The state before the first token of a turn."""
        return State()

    def edges(self, state: State) -> list[int]:
        """The ids that may follow besides free text; after a complete turn only its end."""
        if state.place == "begin":
            return [self._act, *[self._think] * bool(self._budget["thought"])]
        if state.place == "thought":
            return [self._act]
        if state.place == "action":
            if state.action not in self._following:
                allowed = state.action.allowed(self.codec).nonzero()[0]
                self._following[state.action] = [self._ids[number] for number in allowed]
            return self._following[state.action]
        return [self.end, *[self._say] * (state.place == "acted" and bool(self._budget["speech"]))]

    def roams(self, state: State) -> bool:
        """Whether free text may follow."""
        return state.place in self._budget and state.spent < self._budget[state.place]

    def allowed(self, state: State) -> list[int]:
        """All ids that may follow, ascending."""
        return sorted({*self.edges(state), *(self._free if self.roams(state) else ())})

    def step(self, state: State, token: int) -> State:
        """The state after one more token. Raises ValueError where the grammar does not allow it."""
        if state.place == "over":
            return state
        if token not in self.edges(state):
            if self.roams(state) and token in self._free:
                return state._replace(spent=state.spent + 1)
            raise ValueError(f"token {token} ({self.tokenizer.decode([token])!r}) can't stand at this place of a turn")
        if state.place == "action":
            action = state.action.after(self._numbers[token])
            return State("acted" if action.over else "action", 0, action)
        places: dict[int, Place] = {self._think: "thought", self._act: "action", self._say: "speech"}
        return State(places.get(token, "over"))

    def parse(self, ids: Sequence[int]) -> Turn:
        """The turn that ids stand for. What follows its end is ignored. Raises ValueError for an incomplete turn."""
        state, action = self.begin(), list[int]()
        said: dict[str, list[int]] = {"thought": [], "speech": []}
        for token in ids:
            before, state = state, self.step(state, token)
            if before.place == "action":
                action.append(self._numbers[token])
            elif state.spent > before.spent:
                said[state.place].append(token)
            if state.place == "over":
                thought, speech = (" ".join(self.tokenizer.decode(part).split()) for part in said.values())
                return Turn(action_tokens.decode(action), thought, speech)
        raise ValueError(f"the turn is not over: {self.tokenizer.decode(list(ids))!r}")

    def write(self, turn: Turn) -> Written:
        """The ids of a turn, with its end. Free text is cut to its budget and loses tokens that it may not hold; a plan
        is cut to what tokens can say. Raises ValueError for a plan with taps, drags or typed text."""
        thought, speech = self._text(turn.thought, "thought"), self._text(turn.speech, "speech")
        ids = [self._think, *thought] if thought else []
        action = [self._act, *(self._ids[number] for number in action_tokens.encode(action_tokens.fit(turn.plan)))]
        stands = slice(len(ids), len(ids) + len(action))
        return Written([*ids, *action, *((self._say, *speech) if speech else ()), self.end], stands)

    def _text(self, text: str, what: str) -> list[int]:
        words = " ".join(text.split())
        ids = ids_after(self.tokenizer, words, "x") if words else []
        return [i for i in ids if i in self._free][: self._budget[what]]

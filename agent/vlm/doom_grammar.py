"""The turns of models that were trained to speak doom4.1, as a state machine over token ids.

Models that are trained now speak the action language (agent/vlm/turn_grammar.py). A turn is an optional thought, the
action (`done` is one value of its field `hand`) and optional speech. It has two forms, as text:

    think: the key is to the left
    act: turn -16 look 0 forward
    say: i see it

or with a token for each mark and for each value of a field (`add_action_tokens`):

    <thought>the key is to the left<act><turn_2><look_2><move_3><hand_0><say>i see it

Both end with the token that ends a turn in the model's chat template. The grammar is a trie of all turns, with a loop
for free text. Free text is bounded by a budget and holds neither special tokens nor line breaks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from agent import doom_codec as codec
from agent.vlm.free_text import Form, Written, free_ids, ids_after

FIELDS = ("turn", "look", "move", "hand")
ACTION_TOKENS = tuple(f"<{name}_{i}>" for name, size in zip(FIELDS, codec.SIZES, strict=True) for i in range(size))
THOUGHT, ACT, SAY = "<thought>", "<act>", "<say>"
MARKS: dict[Form, tuple[str, str, str]] = {"text": ("think:", "act:", "say:"), "tokens": (THOUGHT, ACT, SAY)}


@dataclass(frozen=True)
class Turn:
    """What a model says in one turn: the action's `tokens`, and free text without line breaks."""

    tokens: codec.Tokens
    thought: str = ""
    speech: str = ""


@dataclass(eq=False, slots=True)
class Node:
    """A state of the grammar. `edges`: the next state for each token id.

    `free`: free text of that name may continue here. `tokens`: the action that ends here. `final`: a turn ends here.
    """

    edges: dict[int, Node] = field(default_factory=dict)
    free: Literal["", "thought", "speech"] = ""
    tokens: codec.Tokens | None = None
    final: bool = False


class State(NamedTuple):
    """How far a turn is: a node, and how many tokens of free text it has there."""

    node: Node
    spent: int = 0


def add_action_tokens(tokenizer: Any) -> int:
    """Add the marks and the action tokens to a tokenizer, and return how many were new. The model's embeddings must
    grow by as many."""
    return int(tokenizer.add_tokens([THOUGHT, ACT, SAY, *ACTION_TOKENS], special_tokens=True))


def form_of(tokenizer: Any) -> Form:
    """ "tokens" where the tokenizer has the action tokens, otherwise "text"."""
    return "tokens" if {ACT, *ACTION_TOKENS} <= set(tokenizer.get_added_vocab()) else "text"


def turn_text(form: Form, turn: Turn) -> str:
    """A turn as text, as prompts show it."""
    think, act, say = MARKS[form]
    if form == "text":
        lines = [f"{think} {turn.thought}"] * bool(turn.thought)
        lines += [f"{act} {codec.to_text(turn.tokens)}", *[f"{say} {turn.speech}"] * bool(turn.speech)]
        return "\n".join(lines)
    action = "".join(f"<{name}_{i}>" for name, i in zip(FIELDS, turn.tokens, strict=True))
    return (
        (f"{think}{turn.thought}" if turn.thought else "") + act + action + (f"{say}{turn.speech}" * bool(turn.speech))
    )


class Grammar:
    """The turns that a model with this `tokenizer` may write, in the form that the tokenizer knows.

    `end`: the id that ends a turn. `thought`, `speech`: the most tokens of each; 0 forbids it. Raises ValueError where
    the tokenizer merges parts of a turn, so that they can't be told apart.
    """

    def __init__(self, tokenizer: Any, end: int, *, thought: int = 64, speech: int = 32) -> None:
        self.tokenizer, self.end = tokenizer, end
        self.form = form_of(tokenizer)
        self._budget = {"thought": thought, "speech": speech}
        think, act, say = MARKS[self.form]
        # the tokens of a part depend on the text before it
        glue = "\n" if self.form == "text" else ""
        final = Node(final=True)
        spoken = Node({end: final}, free="speech")
        self._say = self._ids(glue + say, after="x")
        self._lines: dict[bool, dict[codec.Tokens, list[int]]] = {False: self._action_lines(act, "")}
        self.start = self._actions(self._lines[False], final, spoken)
        self._think: list[int] = []
        if thought:
            self._think = self._ids(think)
            self._lines[True] = self._action_lines(glue + act, "x")
            thinking = self._actions(self._lines[True], final, spoken)
            thinking.free = "thought"
            _join(self._insert(self.start, self._think[:-1]), self._think[-1], thinking)
            self.closing = set(thinking.edges) | {end}
        else:
            self.closing = {end}
        self.free = np.setdiff1d(free_ids(tokenizer), sorted(self.closing))
        self._free = frozenset(self.free.tolist())
        lines = [len(line) for of in self._lines.values() for line in of.values()]
        self.longest = len(self._think) + thought + max(lines) + len(self._say) + speech + 1

    def begin(self) -> State:
        """The state before the first token of a turn."""
        return State(self.start)

    def step(self, state: State, token: int) -> State:
        """The state after one more token. Raises ValueError where the grammar does not allow it."""
        node, spent = state
        if node.final:
            return state
        if token in node.edges:
            return State(node.edges[token])
        if node.free and spent < self._budget[node.free] and token in self._free:
            return State(node, spent + 1)
        raise ValueError(f"token {token} ({self.tokenizer.decode([token])!r}) can't stand at this place of a turn")

    def roams(self, state: State) -> bool:
        """Whether free text may follow, besides the edges of the node."""
        return bool(state.node.free) and state.spent < self._budget[state.node.free]

    def edges(self, state: State) -> list[int]:
        """The ids that may follow besides free text; after a complete turn only its end."""
        return list(state.node.edges) or [self.end]

    def allowed(self, state: State) -> list[int]:
        """The ids that may follow, ascending; after a complete turn only its end."""
        if state.node.final:
            return [self.end]
        return sorted({*state.node.edges, *(self._free if self.roams(state) else ())})

    def parse(self, ids: Sequence[int]) -> Turn:
        """The turn that ids stand for. What follows its end is ignored. Raises ValueError for an incomplete turn."""
        state, tokens = self.begin(), None
        said: dict[str, list[int]] = {"thought": [], "speech": []}
        for token in ids:
            before, state = state, self.step(state, token)
            if before.node is state.node and state.spent:
                said[state.node.free].append(token)
            tokens = tokens if state.node.tokens is None else state.node.tokens
            if state.node.final and tokens is not None:
                thought, speech = (" ".join(self.tokenizer.decode(part).split()) for part in said.values())
                return Turn(tokens, thought, speech)
        raise ValueError(f"the turn is not over: {self.tokenizer.decode(list(ids))!r}")

    def write(self, turn: Turn) -> Written:
        """The ids of a turn, with its end. Free text is cut to its budget and loses tokens that it may not hold."""
        space = " " if self.form == "text" else ""
        thought, speech = self._text(turn.thought, "thought", space), self._text(turn.speech, "speech", space)
        ids = [*self._think, *thought] if thought else []
        line = self._lines[bool(thought)][turn.tokens]
        action = slice(len(ids), len(ids) + len(line))
        return Written([*ids, *line, *((*self._say, *speech) if speech else ()), self.end], action)

    def _text(self, text: str, what: str, space: str) -> list[int]:
        words = " ".join(text.split())
        if not words:
            return []
        return [i for i in self._ids(space + words, after="x") if i in self._free][: self._budget[what]]

    def _ids(self, text: str, after: str = "") -> list[int]:
        return ids_after(self.tokenizer, text, after)

    def _action_lines(self, mark: str, after: str) -> dict[codec.Tokens, list[int]]:
        """The ids of every action, with its mark."""
        lines: dict[codec.Tokens, list[int]] = {}
        if self.form == "tokens":
            first, offset, table = self._ids(mark, after), 0, []
            for size in codec.SIZES:
                table.append(self.tokenizer.convert_tokens_to_ids(list(ACTION_TOKENS[offset : offset + size])))
                offset += size
            for tokens in itertools.product(*map(range, codec.SIZES)):
                lines[tokens] = [*first, *(ids[i] for ids, i in zip(table, tokens, strict=True))]  # type: ignore[index]
            return lines
        for tokens in itertools.product(*map(range, codec.SIZES)):
            lines[tokens] = self._ids(f"{mark} {codec.to_text(tokens)}", after)  # type: ignore[index]
        return lines

    def _actions(self, lines: dict[codec.Tokens, list[int]], final: Node, spoken: Node) -> Node:
        """The trie of actions, each followed by the end or by speech."""
        root = Node()
        for tokens, line in lines.items():
            node = self._insert(root, line)
            if node.tokens is not None:
                raise ValueError(f"the tokenizer writes {tokens} and {node.tokens} alike")
            node.tokens = tokens
            _join(node, self.end, final)
            if self._budget["speech"]:
                _join(self._insert(node, self._say[:-1]), self._say[-1], spoken)
        return root

    def _insert(self, node: Node, ids: Sequence[int]) -> Node:
        for i in ids:
            node = node.edges.setdefault(i, Node())
        return node


def _join(node: Node, token: int, to: Node) -> None:
    if node.edges.setdefault(token, to) is not to:
        raise ValueError(f"token {token} ends one part of a turn and goes on with another: the tokenizer merges them")

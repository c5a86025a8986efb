"""The rules of the greedy player, on top of the grammar: where the likeliest token is not the likeliest meaning.

Sampling (agent.small.sampling) has none of these rules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from agent.doom_codec import HANDS
from agent.policy import Context
from agent.sight import COLUMNS
from agent.small.output_grammar import CHOICES, FIELD, SILENT, THINKING, Output
from agent.small.token_ids import ACT, GO, PLACE, SAY, STARTS, WORD_ID
from agent.small.vocabulary import NUMBERS

# "Not in view" is one token, while a place in view is spread over many columns: the likeliest token does not tell which
# of the two is likelier. The same holds for "door" alone beside "door" with the place where it is seen.
NO_EXIT_CHANCE = 0.8  # fixed on training levels: a player that passes an exit by is lost
END_CHANCE = 0.5  # the player ends a task only where the end is at least so likely
PATIENCE = 6  # decisions that lead nowhere before the next one is drawn at random
STUCK_TEMPERATURE = 1.0  # a model that is sure of waiting goes on waiting; one that is not gets away
_LOST = 4.0  # degrees that the last decisions turned by, under which they led nowhere

_PLACES = range(STARTS[0], STARTS[0] + COLUMNS)
_NUMBERS = range(WORD_ID[NUMBERS[0]], WORD_ID[NUMBERS[-1]] + 1)
_DOOR = WORD_ID["door"]
_END_WORDS, _END_HAND = frozenset({WORD_ID["done"], SAY}), frozenset({STARTS[-1] + HANDS.index("done")})
Lone = tuple[int, range, float]  # a token, its rivals, and the share of both together that the token needs


@dataclass
class GreedyOutput(Output):
    """A decision that the greedy player writes.

    `avoided_end`: above 0 this decision may not end the task; the number is how likely an end would be if the wanted
    thing were not in view.
    """

    avoided_end: float = 0.0

    @property
    def lone(self) -> Lone | None:
        """A token that stands against many rivals which share one meaning."""
        choice = self.choice
        if choice == FIELD:
            # an even chance; of "not in view" only the part counts that does not end the task
            return _PLACES.stop, _PLACES, 1.0 / (2.0 - self.avoided_end)
        if choice == THINKING and self.tokens[-1] == _DOOR:
            return GO, _NUMBERS, NO_EXIT_CHANCE
        return None

    @property
    def barred(self) -> frozenset[int]:
        """Tokens that would end the task, where this decision may not."""
        if not self.avoided_end:
            return frozenset()
        if self.choice in (THINKING, SILENT):
            return _END_WORDS
        return _END_HAND if self.choice == len(CHOICES) - 1 else frozenset()

    @property
    def ends(self) -> bool:
        """Whether a complete decision says that the task is done."""
        return self.tokens[-1] in _END_HAND

    def excluded(self, ids: Sequence[int], logp: Tensor) -> list[int]:
        found = [ids.index(token) for token in self.barred if token in ids]
        if (lone := self.lone) is not None:
            token, rivals, least = lone
            first, at = ids.index(rivals.start), ids.index(token)
            others = logp[first : first + len(rivals)].exp().sum()
            if float(logp[at].exp()) < least * float(logp[at].exp() + others):
                found.append(at)
        return found


def without_unlikely_ends(
    outputs: Sequence[GreedyOutput], scores: Sequence[Sequence[float]]
) -> dict[int, GreedyOutput]:
    """Empty outputs to write in place of some complete ones, by their number: of those that end the task although to
    go on is likelier.

    There are many ways to go on, and each of them may be less likely than the end. `scores`: the log-probability of
    every token of every output.
    """
    found = {}
    for number, (output, of) in enumerate(zip(outputs, scores, strict=True)):
        if output.ends:
            end = math.exp(of[PLACE] + of[-1])  # the first word and the hand; what is between makes no difference
            if math.exp(sum(of[:PLACE])) * end < END_CHANCE:
                found[number] = GreedyOutput(ACT, output.think, avoided_end=max(end, 1e-6))
    return found


def is_stuck(context: Context) -> bool:
    """Whether the last PATIENCE decisions neither walked nor acted and turned nowhere. The greedy player answers the
    same frame in the same way for ever."""
    if len(context.actions) < PATIENCE:
        return False
    recent = [action for chunk in context.actions[-PATIENCE:] for action in chunk]
    if any(action.keys or action.buttons for action in recent):
        return False
    return all(abs(sum(action.look[axis] for action in recent)) < _LOST for axis in (0, 1))

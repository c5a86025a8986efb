"""The grammar of what `small` writes: which tokens may come next, so that every output can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agent import doom_codec as codec
from agent.policy import Decision
from agent.small.place import write_place
from agent.small.token_ids import (
    ACT,
    ANSWER,
    CAPTION,
    END,
    FIELDS,
    FIRST_WORD,
    GO,
    JUDGE,
    PLACE,
    PROPOSE,
    SAY,
    SCORE_IDS,
    SIZE,
    STARTS,
    say,
)
from agent.small.vocabulary import VOCABULARY

THINK = 12  # the most words of a thought, unless the user sets another budget
SPOKEN = 12  # the most words of a speech
MOST = {ANSWER: 16, CAPTION: 24, PROPOSE: 10, JUDGE: 10}  # the most words of an output in the other roles
Ranges = tuple[tuple[int, int], ...]  # of token ids: the first one and the one behind the last

_SCORES = (SCORE_IDS[0], SCORE_IDS[-1] + 1)
_WORDS: Ranges = ((FIRST_WORD, _SCORES[0]), (_SCORES[1], FIRST_WORD + len(VOCABULARY)))

# The kinds of choice that the next token can be, and for each kind the ids that the grammar allows.
SILENT, THINKING, SPEAKING, HUSHED, TALKING, SCORING, LAST_WORD, FIELD = range(8)
CHOICES: tuple[Ranges, ...] = (
    ((SAY, GO + 1),),
    (*_WORDS, (SAY, GO + 1)),
    (*_WORDS, (GO, GO + 1)),
    ((GO, GO + 1),),
    (*_WORDS, (END, END + 1)),
    (_SCORES,),
    ((END, END + 1),),
    *(((start, start + n),) for start, n in zip(STARTS, FIELDS, strict=True)),
)
ALLOWED_IDS = tuple(tuple(i for first, end in ranges for i in range(first, end)) for ranges in CHOICES)


def _mask() -> Tensor:
    table = torch.full((len(CHOICES), SIZE), -1e9)
    for kind, ids in enumerate(ALLOWED_IDS):
        table[kind, list(ids)] = 0.0
    return table


# What is added to the logits (len(CHOICES), SIZE): 0 where a kind of choice allows a token. Elsewhere a large negative
# number rather than -inf, which would make the entropy and its gradient NaN.
MASK = _mask()


@dataclass
class Output:
    """What one output has been so far and what may come next.

    `role`: ACT, ANSWER, CAPTION, PROPOSE or JUDGE. `think`: the most words of a thought. `tokens`: what was written,
    without the role. `done`: whether the output is complete. `said`, `went`: how many tokens came before `<say>` and
    `<go>`, -1 where there is none yet.
    """

    role: int
    think: int = 0
    tokens: list[int] = field(default_factory=list)
    done: bool = False
    said: int = -1
    went: int = -1

    @property
    def choice(self) -> int:
        """What kind of choice comes next, an index into CHOICES."""
        count = len(self.tokens)
        if self.role == JUDGE and count == 0:
            return SCORING
        if self.role != ACT:
            return LAST_WORD if count >= MOST[self.role] else TALKING
        if count < PLACE:
            return FIELD + count
        if self.went >= 0:
            return FIELD + PLACE + count - self.went - 1
        if self.said >= 0:
            return SPEAKING if count - self.said <= SPOKEN else HUSHED
        return THINKING if count < PLACE + self.think else SILENT

    def excluded(self, ids: Sequence[int], logp: Tensor) -> list[int]:
        """Positions in `ids` of tokens that may not come next although the grammar allows them.

        `ids`: what the grammar allows next. `logp` (len(ids),): their log-probabilities. The grammar excludes nothing;
        a subclass may.
        """
        return []

    def add(self, token: int) -> None:
        """Write a token, which the grammar must allow. The `<end>` of a role is not kept."""
        if token == END:
            self.done = True
            return
        if token == SAY:
            self.said = len(self.tokens)
        elif token == GO:
            self.went = len(self.tokens)
        self.tokens.append(token)
        self.done = self.went >= 0 and len(self.tokens) == self.went + 1 + len(FIELDS) - PLACE

    @property
    def fields(self) -> list[int]:
        """The six fields of a decision, each counted from 0."""
        tokens = (*self.tokens[:PLACE], *self.tokens[self.went + 1 :])
        return [token - start for token, start in zip(tokens, STARTS, strict=True)]

    @property
    def thought(self) -> list[int]:
        """Ids of the words that were thought."""
        end = self.said if self.said >= 0 else self.went
        return self.tokens[PLACE:end]

    @property
    def speech(self) -> list[int]:
        """Ids of the words that were said."""
        return self.tokens[self.said + 1 : self.went] if self.said >= 0 else []


def choices_of(tokens: Sequence[int], think: int, role: int = ACT) -> list[int]:
    """The kind of choice that each token of a decision was, or of what another role wrote, with its end. Raises
    ValueError where the tokens are no whole decision that a thought of at most `think` words allows."""
    output, choices = Output(role, think), []
    for token in tokens:
        if output.done or token not in ALLOWED_IDS[output.choice]:
            raise ValueError(f"token {token} can't be number {len(output.tokens)} of a decision with think={think}")
        choices.append(output.choice)
        output.add(token)
    if not output.done:
        raise ValueError(f"a decision of {len(output.tokens)} tokens is not complete")
    return choices


def decision_of(output: Output) -> Decision:
    """The decision that a complete output of the role ACT stands for."""
    fields = output.fields
    decision = codec.decode(fields[PLACE:])
    thought = write_place(say(output.thought), fields[:PLACE])
    return Decision(decision.actions, thought, say(output.speech), decision.done)

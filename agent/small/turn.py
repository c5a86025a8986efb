"""The grammar of what `small` writes: which tokens may come next, so that whatever it writes can be read."""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.codec import HANDS
from agent.small.layout import (
    ACT,
    ANSWER,
    CAPTION,
    COLUMNS,
    END,
    FIELDS,
    FIRST_WORD,
    GO,
    JUDGE,
    PLACE,
    PROPOSE,
    SAY,
    SCORE_IDS,
    STARTS,
    WORD_ID,
)
from agent.small.vocabulary import NUMBERS, VOCABULARY

SPOKEN = 12  # the most words of a speech
MOST = {ANSWER: 10, CAPTION: 24, PROPOSE: 10, JUDGE: 10}  # words that the other roles may write
Ranges = tuple[tuple[int, int], ...]  # of token ids, first and behind the last

_SCORES = (SCORE_IDS[0], SCORE_IDS[-1] + 1)
_WORDS: Ranges = ((FIRST_WORD, _SCORES[0]), (_SCORES[1], FIRST_WORD + len(VOCABULARY)))

# What kind of choice the next token is, and the ids that it is made among.
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


# "Not in view" is one token, a place is blurred over several: the likeliest token is no measure of which is likelier.
# So it is with "door" alone and "door" with where it is seen.
NO_EXIT_CHANCE = 0.8  # from training levels: who passes an exit by is lost
_PLACES = range(STARTS[0], STARTS[0] + COLUMNS)
_NUMBERS = range(WORD_ID[NUMBERS[0]], WORD_ID[NUMBERS[-1]] + 1)
_DOOR = WORD_ID["door"]
_END_WORDS, _END_HAND = frozenset({WORD_ID["done"], SAY}), frozenset({STARTS[-1] + HANDS.index("done")})
Lone = tuple[int, range, float]  # a token, its rivals, and how likely it has to be beside them to be written


@dataclass
class Turn:
    """What one output has been so far and what may come next.

    `role`: ACT, ANSWER, CAPTION, PROPOSE or JUDGE. `think`: the most words of a thought. `spared`: above 0 this turn
    may not end the task; it is how likely an end would be once the wanted thing is not in view. `tokens`: what was
    written, without the role.
    """

    role: int
    think: int = 0
    spared: float = 0.0
    tokens: list[int] = field(default_factory=list)
    done: bool = False
    said: int = -1  # how many tokens there were at <say>
    went: int = -1  # and at <go>

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

    @property
    def lone(self) -> Lone | None:
        """A token that stands against many that share what they say."""
        choice = self.choice
        if choice == FIELD:
            # one chance in two; of "not in view" only that part counts which does not end the task
            return _PLACES.stop, _PLACES, 1.0 / (2.0 - self.spared)
        if choice == THINKING and self.tokens[-1] == _DOOR:
            return GO, _NUMBERS, NO_EXIT_CHANCE
        return None

    @property
    def barred(self) -> frozenset[int]:
        """Tokens that may not come next although the grammar has them."""
        if not self.spared:
            return frozenset()
        if self.choice in (THINKING, SILENT):
            return _END_WORDS
        return _END_HAND if self.choice == len(CHOICES) - 1 else frozenset()

    @property
    def ends(self) -> bool:
        """Whether a finished decision says that the task is done."""
        return self.role == ACT and self.tokens[-1] in _END_HAND

    def add(self, token: int) -> None:
        """Write a token, which must be allowed. A role's `<end>` is not kept."""
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

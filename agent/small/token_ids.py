"""The token ids of `small`: roles and marks, the place, the codec's action fields, and words, in one vocabulary.

A decision is `<act> column row thought... <say> speech... <go> turn look move hand`; thought and speech may be empty.
The place of the wanted thing in the picture comes first: a model that thinks first repeats its last thought, whatever
there is to see. The other roles write words, then `<end>`.
"""

from __future__ import annotations

from agent import doom_codec as codec
from agent.sight import COLUMNS, ROWS
from agent.small.vocabulary import SCORES, VOCABULARY

FIELDS = (COLUMNS + 1, ROWS + 1, *codec.SIZES)
PLACE = 2  # how many of the fields tell the place

MARKS = ("<pad>", "<act>", "<answer>", "<caption>", "<propose>", "<judge>", "<say>", "<go>", "<end>")
PAD, ACT, ANSWER, CAPTION, PROPOSE, JUDGE, SAY, GO, END = range(len(MARKS))

STARTS = tuple(len(MARKS) + sum(FIELDS[:i]) for i in range(len(FIELDS)))  # the first id of each field
FIRST_WORD = len(MARKS) + sum(FIELDS)
MOST_WORDS = 384  # the table has room for words to come
SIZE = FIRST_WORD + MOST_WORDS

WORD_ID = {word: FIRST_WORD + i for i, word in enumerate(VOCABULARY)}
SCORE_IDS = tuple(WORD_ID[score] for score in SCORES)


def spell(text: str) -> list[int]:
    """Ids of a text's words. Raises KeyError for a word that can't be written."""
    return [WORD_ID[word] for word in text.split()]


def say(ids: list[int]) -> str:
    """The text of word ids; marks and fields are left out."""
    return " ".join(VOCABULARY[i - FIRST_WORD] for i in ids if FIRST_WORD <= i < FIRST_WORD + len(VOCABULARY))


def name(token: int) -> str:
    """A token as people read it: "<go>", "column 40", "turn 8", "torch"."""
    if token < len(MARKS):
        return MARKS[token]
    if token >= FIRST_WORD:
        return VOCABULARY[token - FIRST_WORD] if token - FIRST_WORD < len(VOCABULARY) else "<unused>"
    field = max(i for i, start in enumerate(STARTS) if token >= start)
    return f"<{('column', 'row', 'turn', 'look', 'move', 'hand')[field]} {token - STARTS[field]}>"

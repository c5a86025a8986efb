"""`Summary`: what happened, written down every so many turns and compressed again later, in few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

EVERY = 20  # turns whose lines become one part of the summary
AGAIN = 5  # parts that become one
WORDS = 120  # at most in a part

Condense = Callable[[Sequence[str], int], str]  # lines, and the most words of what they become


def condense(lines: Sequence[str], words: int) -> str:
    """The lines without repetitions, each with how often it came, the newest that fit in `words` words, oldest
    first."""
    counts = Counter(lines)
    newest = list(dict.fromkeys(reversed(lines)))
    kept: list[str] = []
    for line in newest:
        text = line if counts[line] == 1 else f"{line} (x{counts[line]})"
        words -= len(text.split())
        if words < 0:
            break
        kept.append(text)
    return "; ".join(reversed(kept))


class Summary:
    """Lines of the last turns, parts made of EVERY turns each, and one part made of every AGAIN parts.

    `condense`: makes text of lines; a model may do it. Whoever reads the text gets at most about 3 * WORDS words,
    however long the errand is.
    """

    def __init__(self, condense: Condense = condense, *, every: int = EVERY, again: int = AGAIN) -> None:
        self._condense, self._every, self._again = condense, every, again
        self.lines: list[str] = []
        self.parts: list[str] = []
        self.past = ""
        self._turns = 0

    def note(self, line: str) -> None:
        """Something happened."""
        self.lines.append(line)

    def correct(self, wrong: str, right: str) -> bool:
        """Replace a line that turned out to be wrong, wherever it stands as it was noted; False where it does not."""
        found = wrong in self.lines or any(wrong in part for part in (*self.parts, self.past))
        self.lines = [right if line == wrong else line for line in self.lines]
        self.parts = [part.replace(wrong, right) for part in self.parts]
        self.past = self.past.replace(wrong, right)
        return found

    def turn(self) -> None:
        """A turn is over."""
        self._turns += 1
        if self._turns % self._every == 0 and self.lines:
            self.parts.append(self._condense(self.lines, WORDS))
            self.lines = []
        if len(self.parts) >= self._again:
            self.past = self._condense([line for line in (self.past, *self.parts) if line], WORDS)
            self.parts = []

    @property
    def text(self) -> str:
        """The summary, oldest first."""
        recent = condense(self.lines, WORDS)
        middle = condense(self.parts, WORDS)
        return " | ".join(part for part in (self.past, middle, recent) if part)

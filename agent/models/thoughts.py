"""Splits the thoughts that a model writes between <think> and </think> from the rest of its reply."""

from __future__ import annotations

from agent.models.base import Delta

_OPEN, _CLOSE = "<think>", "</think>"


def split_thought(text: str) -> tuple[str, str]:
    """The thought and the reply of a text in which a model marks its thoughts with <think> and </think>."""
    head, mark, rest = text.partition(_CLOSE)
    if mark:
        return head.replace(_OPEN, "").strip(), rest.strip()
    if text.lstrip().startswith(_OPEN):  # cut off while it thought
        return text.lstrip().removeprefix(_OPEN).strip(), ""
    return "", text.strip()


class ThoughtFilter:
    """Splits a reply that comes in pieces, even where a mark is cut in two."""

    def __init__(self) -> None:
        self._rest = ""
        self._inside = self._said = False

    def feed(self, piece: str) -> list[Delta]:
        """The pieces that are certain after some more text."""
        self._rest += piece
        deltas: list[Delta] = []
        while not self._said:
            mark = _CLOSE if self._inside else _OPEN
            head, found, tail = self._rest.partition(mark)
            if found and (self._inside or not head.strip()):
                deltas += self._told(head)
                self._inside, self._rest = not self._inside, tail.lstrip()
                continue
            held = next((n for n in range(len(mark) - 1, 0, -1) if self._rest.endswith(mark[:n])), 0)
            if self._inside or self._rest[: len(self._rest) - held].strip():
                ready = self._rest[: len(self._rest) - held]
                self._said = not self._inside
                self._rest = self._rest[len(ready) :]
                deltas += self._told(ready)
            if not self._said:
                return deltas
        return deltas + self.end()

    def end(self) -> list[Delta]:
        """The rest, when the reply is complete."""
        rest, self._rest = self._rest, ""
        return self._told(rest)

    def _told(self, text: str) -> list[Delta]:
        return [Delta(text, self._inside)] if text else []

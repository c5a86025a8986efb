"""`ContextBuilder`: makes the context of a decision from what the player saw and did at the decisions before it."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence

from agent.episode import Frame, fit
from agent.loop.instruction import Instruction
from agent.policy import Context, PolicySpec
from envs.action import Action


class ContextBuilder:
    """Keeps the frames, chunks and thoughts of the last `spec.history` decisions of one episode.

    `seed`: the seed of the episode. Every decision gets its own random numbers, the same in every run.
    """

    def __init__(self, spec: PolicySpec, seed: int | None) -> None:
        self._size = spec.frame_size
        self._seed = seed or 0
        self._frames: deque[Frame] = deque(maxlen=max(1, spec.history))
        self._chunks: deque[tuple[Action, ...]] = deque(maxlen=max(1, spec.history) - 1)
        self._thoughts: deque[str] = deque(maxlen=max(1, spec.history) - 1)
        self._actions: list[Action] = []  # since the last decision
        self._thought = ""  # of the last decision
        self._since: int | None = None  # decisions since the instruction changed

    def forget_thoughts(self) -> None:
        """The instruction changes: thoughts about the old one would mislead."""
        for i in range(len(self._thoughts)):
            self._thoughts[i] = ""
        self._thought, self._since = "", -1

    def forget(self) -> None:
        """Forget what was seen and done. The loop calls this when another actor takes or returns the controls."""
        for kept in (self._frames, self._chunks, self._thoughts, self._actions):
            kept.clear()
        self._thought, self._since = "", None

    def context(
        self,
        frame: Frame,
        instruction: Instruction,
        dialogue: tuple[tuple[str, str], ...],
        memory: str,
        tick: int,
    ) -> Context:
        """The context of the decision at `tick`, at which `frame` is seen."""
        if self._frames:
            self._chunks.append(tuple(self._actions))
            self._thoughts.append(self._thought)
        self._actions.clear()
        self._thought = ""
        self._since = None if self._since is None else self._since + 1
        self._frames.append(fit(frame, self._size))
        return Context(
            frames=tuple(self._frames),
            instruction=instruction.text,
            actions=tuple(self._chunks),
            thoughts=tuple(self._thoughts),
            picture=instruction.picture,
            since=self._since,
            dialogue=dialogue,
            memory=memory,
            seed=zlib.crc32(f"{self._seed}/{tick}".encode()),
        )

    def acted(self, actions: Sequence[Action], thought: str) -> None:
        """These actions were carried out, one a tick; `thought`: that of the decision they belong to."""
        self._actions.extend(actions)
        self._thought = thought or self._thought

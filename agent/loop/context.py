"""`ContextBuilder`: makes the context of a decision from what the player saw and did before it."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from itertools import pairwise

from agent.episode import Frame
from agent.glimpses import Glimpses
from agent.loop.instruction import Instruction
from agent.policy import Context, PolicySpec
from envs.action import Action


class ContextBuilder:
    """Keeps what the contexts of one episode are made of: pictures, as `spec.view` wants them, and what was done.

    `seed`: the seed of the episode. Every decision gets its own random numbers, the same in every run. `tick_hz`: ticks
    in a second of the world.
    """

    def __init__(self, spec: PolicySpec, seed: int | None, tick_hz: float) -> None:
        self._seed = seed or 0
        self._glimpses = Glimpses(spec.view, tick_hz)
        self._by_time = spec.view.apart is not None
        self._decided: deque[int] = deque(maxlen=max(1, spec.history))  # the ticks of the last decisions
        self._done: deque[tuple[int, Action, str]] = deque()  # tick, action, thought
        self._since: int | None = None  # decisions since the instruction changed

    @property
    def every(self) -> int | None:
        """In how many ticks the world is to be seen again; None where decisions are enough."""
        return self._glimpses.every

    def forget_thoughts(self) -> None:
        """The instruction changes: thoughts about the old one would mislead."""
        self._done = deque((tick, action, "") for tick, action, _ in self._done)
        self._since = -1

    def forget(self) -> None:
        """Forget what was seen and done. The loop calls this when another actor takes or returns the controls."""
        self._glimpses.forget()
        self._done.clear()
        self._decided.clear()
        self._since = None

    def saw(self, frame: Frame, tick: int) -> None:
        """The world shows `frame` before the action of `tick`."""
        self._glimpses.saw(frame, tick)

    def context(
        self,
        frame: Frame,
        instruction: Instruction,
        dialogue: tuple[tuple[str, str], ...],
        memory: str,
        tick: int,
    ) -> Context:
        """The context of the decision at `tick`, at which `frame` is seen."""
        self._decided.append(tick)
        self._since = None if self._since is None else self._since + 1
        seen = self._glimpses.look(frame, tick)
        ticks = tuple(at for at, _ in seen)
        stretches = self._stretches(ticks if self._by_time else tuple(self._decided))
        return Context(
            frames=tuple(picture for _, picture in seen),
            ticks=ticks,
            instruction=instruction.text,
            actions=tuple(tuple(action for _, action, _ in stretch) for stretch in stretches),
            thoughts=tuple(next((said for *_, said in reversed(stretch) if said), "") for stretch in stretches),
            picture=instruction.picture,
            since=self._since,
            dialogue=dialogue,
            memory=memory,
            seed=zlib.crc32(f"{self._seed}/{tick}".encode()),
        )

    def acted(self, tick: int, actions: Sequence[Action], thought: str) -> None:
        """These actions were carried out from `tick` on, one a tick; `thought`: that of the decision they belong to."""
        self._done.extend((tick + i, action, thought) for i, action in enumerate(actions))

    def _stretches(self, moments: Sequence[int]) -> list[list[tuple[int, Action, str]]]:
        """What was done between these ticks; forgets what no later context shows."""
        oldest = self._glimpses.oldest if self._by_time else None
        first = moments[0] if oldest is None else min(moments[0], oldest)
        while self._done and self._done[0][0] < first:
            self._done.popleft()
        done = list(self._done)
        base = done[0][0] if done else 0
        return [done[max(0, begin - base) : max(0, end - base)] for begin, end in pairwise(moments)]

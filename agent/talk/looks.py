"""`Looks`: what models beside the player are shown of the game, told to whoever records it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from agent.episode import Frame, Look, Step
from agent.view import View


@runtime_checkable
class HasView(Protocol):
    """Says how it sees what it is shown."""

    @property
    def view(self) -> View: ...


class Looks:
    """Knows at which tick the loop saw a frame, and tells `listeners` who was shown it. Any thread may call `note`."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[Look], None]] = []
        self._ticks: dict[int, tuple[weakref.ref[Frame], int]] = {}  # of the frames that somebody still holds
        self._tick = 0

    def on_step(self, step: Step) -> None:
        """A tick was played."""
        self._tick = step.tick
        if step.frame is not None:
            key = id(step.frame)
            self._ticks[key] = (weakref.ref(step.frame, lambda gone: self._forget(key, gone)), step.tick)

    def note(self, who: str, frames: Sequence[Frame], model: object) -> None:
        """`who` is shown `frames`, uint8 RGB (H, W, 3), as the loop saw them, the last of them as the view says that
        `model` has; all as they are if it has none. Frames that the loop did not see, such as pictures that a user
        shows, are left out."""
        view = model.view if isinstance(model, HasView) else None
        if view is not None:
            frames = frames[-view.frames :]
        seen = [(tick, frame) for frame in frames if (tick := self._tick_of(frame)) is not None]
        shown = tuple((frame.shape[0], frame.shape[1]) for _, frame in seen)
        if view is not None and shown:
            shown = view.sizes(shown[-1])[-len(seen) :]
        self.tell(Look(who, self._tick, tuple(tick for tick, _ in seen)[-len(shown) :], shown))

    def tell(self, look: Look) -> None:
        """Tell the listeners of a look."""
        if look.frames:
            for listener in tuple(self.listeners):
                listener(look)

    def _tick_of(self, frame: Frame) -> int | None:
        found = self._ticks.get(id(frame))
        return found[1] if found is not None and found[0]() is frame else None

    def _forget(self, key: int, gone: weakref.ref[Frame]) -> None:
        if (found := self._ticks.get(key)) is not None and found[0] is gone:
            del self._ticks[key]

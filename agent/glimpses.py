"""`Glimpses`: the pictures of an episode that a view may still show, in little memory."""

from __future__ import annotations

from collections import deque

from agent.view import Picture, Size, View

_GRID = 5  # pictures that are kept within the time between two that are shown

Glimpse = tuple[int, Picture]  # a tick, and what was seen then, as the view shows it


class Glimpses:
    """Keeps what a `view` may still show. `tick_hz`: ticks in a second of the world.

    A picture is made as the view wants it when it is kept, once. Of pictures that are apart in time, a fifth of that
    time lies between two that are kept, so that the spacing is right to a tenth.
    """

    def __init__(self, view: View, tick_hz: float) -> None:
        self._view = view
        self._apart = None if view.apart is None else max(1.0, view.apart * tick_hz / 1000.0)  # ticks
        self._kept: deque[Glimpse] = deque(maxlen=view.frames if self._apart is None else None)
        self._sizes: tuple[Size, ...] = ()  # of the pictures that are shown together
        self._of: Size = (0, 0)  # of the world's, which they follow from

    @property
    def every(self) -> int | None:
        """In how many ticks the world is to be seen again; None where the moments of `look` are enough."""
        return None if self._apart is None else max(1, int(self._apart / _GRID))

    @property
    def oldest(self) -> int | None:
        """The tick of the oldest picture that is kept."""
        return self._kept[0][0] if self._kept else None

    def forget(self) -> None:
        self._kept.clear()

    def saw(self, frame: Picture, tick: int) -> None:
        """The world shows `frame`, uint8 RGB (H, W, 3), before the action of `tick`."""
        if self._apart is None or (self._kept and tick - self._kept[-1][0] < (self.every or 1)):
            return
        self._measure(frame)
        if len(self._sizes) == 1:
            return
        self._kept.append((tick, self._view.picture(frame, self._sizes[0])))
        oldest = tick - (len(self._sizes) - 0.5) * self._apart
        while self._kept[0][0] < oldest:
            self._kept.popleft()

    def look(self, frame: Picture, tick: int) -> list[Glimpse]:
        """What the view shows at `tick`, oldest first; `frame` is what the world shows now."""
        self._measure(frame)
        newest = (tick, self._view.picture(frame, self._sizes[-1]))
        if self._apart is not None:
            return [*self._earlier(tick, self._apart), newest]
        if len(self._sizes) == 1:
            return [newest]
        earlier = list(self._kept)[-(len(self._sizes) - 1) :]
        alike = self._sizes[0] == self._sizes[-1]
        self._kept.append(newest if alike else (tick, self._view.picture(frame, self._sizes[0])))
        return [*earlier, newest]

    def _measure(self, frame: Picture) -> None:
        if frame.shape[:2] != self._of:
            self._of = (frame.shape[0], frame.shape[1])
            self._sizes = self._view.sizes(self._of)

    def _earlier(self, tick: int, apart: float) -> list[Glimpse]:
        """Of the pictures before `tick`, those that are nearest to the times at which the view wants one; none for a
        time at which nothing was seen."""
        found: dict[int, Picture] = {}
        for number in range(len(self._sizes) - 1, 0, -1):
            wanted = tick - number * apart
            near = [(abs(at - wanted), at, picture) for at, picture in self._kept if at < tick]
            if near and (best := min(near, key=lambda one: one[0]))[0] <= (self.every or 1) / 2 + 0.5:
                found[best[1]] = best[2]
        return list(found.items())

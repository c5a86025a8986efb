"""`Double`: the world of a run once more, drawn large and with its sound, for people who watch.

It repeats what the player did, in the threads of those who watch and only while somebody does. The player's own world
stays as it is: it draws at the size that the player was trained on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.episode import Frame, Start, Step, Subscriber
from agent.view import same_view
from envs.action import Action
from envs.world import World

AT_ONCE = 175  # the most ticks that it plays for one picture: a viewer who comes late sees the small one meanwhile
CHECK_EVERY = 35  # ticks between two looks at whether both worlds still show the same
DEAR = 0.04  # seconds a picture, above which it takes too much of the machine
_PRICED = 20  # pictures of which that is the median
_RECENT = 8  # pieces of sound that wait for a viewer

Sound = npt.NDArray[np.int16]


@dataclass
class _Run:
    """One episode: how it began, what was done in it, and the newest frame that the player's world drew, with its
    tick."""

    seed: int | None
    options: dict[str, Any]
    actions: list[Action] = field(default_factory=list)
    drawn: tuple[int, Frame] | None = None


class Double(Subscriber):
    """Plays after what it is told as a subscriber. `make` makes the world, large; it has to be deterministic.

    `why`: why it no longer shows the episode, "" while it does.
    """

    def __init__(self, make: Callable[[], World]) -> None:
        self._make = make
        self._told = _Run(None, {})  # written by the loop's thread, read by the viewers'
        self._shown: _Run | None = None
        self._world: World | None = None
        self._lock = threading.Lock()
        self._tick = self._checked = 0
        self._prices: deque[float] = deque(maxlen=_PRICED)  # seconds
        self._frame: Frame | None = None
        self._heard: list[Sound] = []
        self._closed = False
        self.why = "nothing is played yet"

    def on_start(self, start: Start) -> None:
        self._told = _Run(start.seed, dict(start.options))

    def on_step(self, step: Step) -> None:
        if step.frame is not None:
            self._told.drawn = (step.tick, step.frame)
        self._told.actions.append(step.action)

    @property
    def sound_hz(self) -> int:
        """Samples a second of what `heard` gives, 0 for a silent world."""
        return self._world.sound_hz if self._world is not None else 0

    def at(self, tick: int) -> Frame | None:
        """The large picture before a tick of the episode that is played; None while the double is behind, and where it
        can't show the episode: the world draws too slowly, breaks, or shows something else than the player's."""
        with self._lock:
            try:
                return None if self._closed else self._at(self._told, tick)
            except Exception as error:  # whatever a world does, the page goes on without the large picture
                self.why = f"{type(error).__name__}: {error}"
                return None

    def heard(self) -> Sound | None:
        """What was heard since the last call, (samples, channels), None for nothing."""
        with self._lock:
            heard, self._heard = self._heard, []
        return np.concatenate(heard) if heard else None

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._world is not None:
                self._world.close()

    def _at(self, run: _Run, tick: int) -> Frame | None:
        if run is not self._shown:
            self._enter(run)
        if self.why:
            return None
        assert self._world is not None
        until, drawn = min(tick, self._tick + AT_ONCE), run.drawn
        if drawn is not None and self._tick <= drawn[0] <= until and drawn[0] - self._checked >= CHECK_EVERY:
            self._play(run, drawn[0])
            self._checked = drawn[0]
            self._check(drawn[1])
        self._play(run, until)
        return self._frame if self._tick == tick and not self.why else None

    def _enter(self, run: _Run) -> None:
        """Begin an episode as the player's world did."""
        self._shown, self.why, self._heard = run, "", []
        self._tick, self._checked = 0, -CHECK_EVERY
        self._prices.clear()
        if self._world is None:
            self._world = self._make()
        observation, _ = self._world.reset(seed=run.seed, options=run.options)
        self._frame = observation["pixels"]

    def _play(self, run: _Run, until: int) -> None:
        actions = run.actions[self._tick : until]
        if not actions or self._world is None:
            return
        began = time.perf_counter()
        observation, _, terminated, truncated, _ = self._world.step_chunk(actions)
        self._frame = observation["pixels"]
        self._tick += len(actions)
        if (sound := self._world.heard()) is not None:
            self._heard = [*self._heard[-_RECENT:], sound]
        if terminated or truncated:
            self.why = "the episode is over"
        if len(actions) < CHECK_EVERY:
            self._prices.append(time.perf_counter() - began)
        if len(self._prices) == _PRICED and (price := median(self._prices)) > DEAR:
            self.why = f"a large picture takes {1000 * price:.0f} ms"

    def _check(self, small: Frame) -> None:
        """Stop where both worlds show different views."""
        if self._frame is not None and not same_view(self._frame, small):
            self.why = "the world does not do the same again"

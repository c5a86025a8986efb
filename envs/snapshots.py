"""`Snapshots`: worlds that save their state and go back to it. `Rewindable`: such a world, asked to do so from outside
of the loop that plays it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from envs.action import Action
from envs.world import World
from envs.wrappers import Step, WorldWrapper

MOST = 16  # places that are kept; the oldest one is given up for another


@runtime_checkable
class Snapshots(Protocol):
    """What a lockstep world may be able to do beside `World`."""

    def save(self) -> object:
        """The state of the episode, as it is now."""
        ...

    def restore(self, saved: object) -> None:
        """Go back to a state of this episode: the same actions lead to the same frames from there on. Raises
        ValueError for a state of another episode."""
        ...


class Rewindable(WorldWrapper):
    """A world with places of the episode that somebody saved under names; what is asked for, by any thread, happens
    before the next tick.

    `info["saved"]` and `info["restored"]` of that tick say so: a tuple of names, and a name. `info["state"]` goes back
    as the world does; what has judged the states since must go back as well. Raises ValueError for a world that can't
    save.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        if not isinstance(world, Snapshots):
            raise ValueError(f"{type(world).__name__} does not save its state")
        self._snapshots: Snapshots = world
        self._lock = threading.Lock()
        self._places: dict[str, object] = {}
        self._named: dict[str, None] = {}  # the names that are or will be in `_places`, oldest first
        self._asked: list[tuple[str, bool]] = []  # names, and whether to go back there

    def keep(self, name: str) -> None:
        """Save the place where the episode is, under a name."""
        with self._lock:
            self._named.pop(name, None)
            self._named[name] = None
            self._asked.append((name, False))

    def go_back(self, name: str) -> bool:
        """Go back to the place of that name; False where there is none."""
        with self._lock:
            if name in self._named:
                self._asked.append((name, True))
            return name in self._named

    @property
    def kept(self) -> tuple[str, ...]:
        """The names of the places, oldest first."""
        with self._lock:
            return tuple(self._named)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        with self._lock:
            self._places, self._named, self._asked = {}, {}, []
        return super().reset(seed=seed, options=options)

    def step(self, action: Action) -> Step:
        told = self._do()
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, {**info, **told}

    def step_chunk(self, actions: Sequence[Action]) -> Step:
        told = self._do()
        observation, reward, terminated, truncated, info = super().step_chunk(actions)
        return observation, reward, terminated, truncated, {**info, **told}

    def _do(self) -> dict[str, Any]:
        """Do what was asked for; what `info` says of it."""
        with self._lock:
            asked, self._asked = self._asked, []
            told: dict[str, Any] = {}
            for name, back in asked:
                if back:
                    self._snapshots.restore(self._places[name])
                    told["restored"] = name
                else:
                    self._places[name] = self._snapshots.save()
                    told["saved"] = (*told.get("saved", ()), name)
            for name in list(self._named)[:-MOST]:
                del self._named[name], self._places[name]
            return told

"""`WorldReader`: which sentences a policy was taught that learned the languages of the worlds."""

from __future__ import annotations

import functools

from envs import plugins
from tasks import world_tasks
from tasks.world_tasks import WorldTasks


class WorldReader:
    """Reads the instructions of the world called `world`, and those of all other worlds: a policy that was taught
    several worlds knows them everywhere. It is an `agent.talk.understanding.Reader`."""

    def __init__(self, world: str) -> None:
        self._own = world_tasks.of(world)

    def reads(self, text: str) -> bool:
        """Whether the instruction is one of some world."""
        return self._own.reads(text) or any(part.reads(text) for part in _parts())

    def words(self) -> frozenset[str]:
        """The words of all worlds' instructions."""
        return _words()


@functools.cache
def _parts() -> tuple[WorldTasks, ...]:
    """What the worlds bring; a part that can't be loaded is left out, as in `world_tasks.suites`."""
    found = []
    for name in plugins.names("tasks"):
        try:
            found.append(world_tasks.of(name))
        except plugins.BrokenPluginError:
            continue
    return tuple(found)


@functools.cache
def _words() -> frozenset[str]:
    languages = [part.language for part in _parts()]
    return frozenset().union(*(language.words() for language in languages if language is not None))

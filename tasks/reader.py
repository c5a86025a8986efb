"""`WorldReader`: which sentences a policy was taught that learned the languages of the worlds."""

from __future__ import annotations

import functools
from collections.abc import Callable

from envs import plugins
from tasks import world_tasks
from tasks.world_tasks import OK, WorldTasks

_REMEMBERED = 256  # instructions whose confirmation is kept


class WorldReader:
    """Reads the instructions of the world called `world`, and those of all other worlds: a policy that was taught
    several worlds knows them everywhere. It is an `agent.talk.understanding.Reader`.

    `confirm`: what the policy says first to an instruction, see agent.capabilities.Confirms."""

    def __init__(self, world: str, confirm: Callable[[str], str] | None = None) -> None:
        self._own = world_tasks.of(world)
        self._confirm = functools.lru_cache(maxsize=_REMEMBERED)(confirm or (lambda text: ""))

    def reads(self, text: str) -> bool:
        """Whether the instruction is one of some world."""
        return self._own.reads(text) or any(part.reads(text) for part in _parts())

    def confirms(self, text: str) -> str:
        """The goal that the policy takes the instruction for, in plain words; "" where it does not understand it."""
        said = self._confirm(text)
        return said.removeprefix(OK) if said.startswith(OK) else ""

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

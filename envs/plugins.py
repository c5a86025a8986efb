"""The only registry: worlds, policies and the other parts, found by name through entry points.

The built-in parts register through the same groups as those of other packages. Only what is asked for is imported, and
`package.module:Name` works wherever a name does. So does `NAME:ARGUMENT`, such as gymnasium:CartPole-v1: the part that
is called NAME, with ARGUMENT as its first argument.
"""

from __future__ import annotations

import difflib
import functools
import re
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Literal, TypeVar

from envs import extras
from envs.errors import UserError

Kind = Literal["world", "tasks", "policy", "model", "verifier", "task setter", "reward", "learner", "workers"]

GROUPS: dict[Kind, str] = {
    "world": "ludens.worlds",
    "tasks": "ludens.tasks",
    "policy": "ludens.policies",
    "model": "ludens.models",
    "verifier": "ludens.verifiers",
    "task setter": "ludens.task_setters",
    "reward": "ludens.rewards",
    "learner": "ludens.learners",
    "workers": "ludens.workers",
}

_MOST_TOLD = 24  # names that a message lists
_REFERENCE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


class UnknownNameError(UserError, LookupError):
    """No part of this kind has that name."""


class BrokenPluginError(UserError):
    """The part is registered and can't be loaded; `__cause__` is what it raised."""


def entries(kind: Kind) -> dict[str, EntryPoint]:
    """The entry points of `kind` by name, in order of name; nothing is imported.

    Of two that share a name the first on the path is taken, as Python does with modules.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUPS[kind]):
        found.setdefault(entry.name, entry)
    return dict(sorted(found.items()))


def names(kind: Kind) -> list[str]:
    """The names that `load(kind, name)` knows, whether or not they load."""
    return list(entries(kind))


class ForeignNameError(UserError):
    """A file names a part that only the person at the keyboard may name."""


T = TypeVar("T")


def make(kind: Kind, name: str, protocol: type[T], needs: str) -> T:
    """What the entry point of `name` makes, which has to be a `protocol`. `needs`: what such an object has, for
    the message. Raises UserError for an argument that it doesn't take and for what is no `protocol`, and what `load`
    raises."""
    factory = load(kind, name)
    try:
        made = factory()
    except (TypeError, ValueError, OSError) as error:
        raise UserError(f"{kind} {name!r}: {error}") from error
    if not isinstance(made, protocol):
        raise UserError(f"{kind} {name!r}: {type(made).__name__} is no {protocol.__name__}: it needs {needs}")
    return made


def load(kind: Kind, name: str, *, references: bool = True) -> Any:
    """The object called `name`, the one at `package.module:Name`, or for `NAME:ARGUMENT` with a NAME that is known that
    object with ARGUMENT as its first argument; a known NAME goes before a module that is called the same.

    `references`: whether `name` may be more than a registered name. Pass False for a name that stands in a file, such
    as an episode or a checkpoint: `package.module:Name` imports any module, and an ARGUMENT runs a command
    (desktop:COMMAND), opens a file (browser:FILE) or reaches the network (openai:MODEL@URL).

    Raises ForeignNameError for a reference that is not allowed, UnknownNameError (a LookupError) with the nearest name,
    and BrokenPluginError with the cause.
    """
    if not references and ":" in name:
        raise ForeignNameError(
            f"{kind} {name!r} is named by a file, and a file may name only a registered {kind}; known: "
            f"{', '.join(names(kind)) or 'none'}"
        )
    before, _, argument = name.partition(":")
    if argument and before in entries(kind):
        return functools.partial(load(kind, before), argument)
    if _REFERENCE.fullmatch(name):
        return _load(kind, EntryPoint(name, name, GROUPS[kind]))
    known = entries(kind)
    if name not in known:
        raise UnknownNameError(unknown_name(kind, name, known))
    return _load(kind, known[name])


def unknown_name(what: str, name: str, known: dict[str, Any] | list[str]) -> str:
    """The message for a `name` that is not among `known`: the nearest ones, then all of them, or how to list them where
    they are many."""
    head = name.partition(":")[0]
    if head != name and head in known:
        return f"{what} {name!r}: say what comes behind {head}:, or leave the colon out"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    all_of_them = ", ".join(known) if len(known) <= _MOST_TOLD else f"{len(known)}, see agent list"
    return f"unknown {what} {name!r}{hint} known: {all_of_them or 'none'}"


def broken(kind: Kind) -> dict[str, str]:
    """Name and cause for each part of `kind` that can't be loaded. Imports every one of them."""
    causes = {}
    for name, entry in entries(kind).items():
        try:
            _load(kind, entry)
        except BrokenPluginError as error:
            causes[name] = str(error)
    return causes


def _load(kind: Kind, entry: EntryPoint) -> Any:
    """What the entry point names, which is something that makes the part. Raises BrokenPluginError."""
    made = _imported(kind, entry)
    if not callable(made):
        what = f"the module {made.__name__}" if isinstance(made, ModuleType) else f"a {type(made).__name__}"
        raise BrokenPluginError(
            f"{kind} {entry.name!r} is {what} (from {entry.value}); expected a class or a function that makes one"
        )
    return made


def _imported(kind: Kind, entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        if isinstance(error, ImportError) and (needed := extras.message(f"{kind} {entry.name!r}", error)):
            raise BrokenPluginError(needed) from error
        origin = f" of {entry.dist.name} {entry.dist.version}" if entry.dist else ""
        cause = " ".join(str(error).split())
        raise BrokenPluginError(
            f"{kind} {entry.name!r}{origin} can't be loaded: {type(error).__name__}: {cause} (from {entry.value})"
        ) from error

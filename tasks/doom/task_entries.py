"""Doom's entries of tasks files: levels that hold what an entry names, verifiers that name things by words."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from pydantic import ValidationError, model_validator

from envs.doom.level import Level
from envs.doom.levels import TRAINING_THEMES, generate
from envs.doom.things import ACTORS
from tasks import world_tasks
from tasks.doom.build import level_for
from tasks.doom.language import read, read_thing
from tasks.suite import EVALUATION_SEEDS
from tasks.task import Pair, Task, VerifierSpec
from tasks.task_entry import Entry, EntryError, EntryVerifier, Strict, message_of, place_of

_THINGS = ("targets", "avoid", "allowed")  # arguments that name things
_GENERATOR = frozenset(inspect.signature(generate).parameters) - {"seed"}


class _Options(Strict):
    """`generator`: arguments of envs.doom.levels.generate; `level`: a whole level as JSON. One of the two, or none."""

    generator: dict[str, Any] | None = None
    level: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one(self) -> _Options:
        if self.generator is not None and self.level is not None:
            raise ValueError("give generator or level, not both")
        return self


def task_of_entry(entry: Entry, task_id: str, text: str, rng: np.random.Generator) -> Task:
    """The task of an entry. Raises EntryError."""
    try:
        options = _Options.model_validate(entry.options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise EntryError(f".{place_of(('options', *first['loc']))}", message_of(first)) from error
    seed = EVALUATION_SEEDS + int(rng.integers(EVALUATION_SEEDS))
    if entry.verifier is None:
        level, spec, verb = _understood(rng, text, seed, options)
    else:
        level, spec = _named(entry.verifier, options, seed)
        verb = entry.verifier.name
    made = {"level": level.to_json()}
    return Task(task_id, text, entry.world, seed, made, entry.time_limit, spec, entry.verb or verb)


def _understood(rng: np.random.Generator, text: str, seed: int, options: _Options) -> tuple[Level, VerifierSpec, str]:
    """The level and the verifier that the sentence itself asks for."""
    if options.model_fields_set:
        raise EntryError(".verifier", "is missing: options say what the level is, so say what counts as success")
    meaning = read(text)
    made = level_for(rng, meaning, seed, TRAINING_THEMES) if meaning is not None else None
    if made is None:
        raise EntryError(".verifier", f"is missing, and the grammar does not know {text!r}")
    (level, spec), verb = made
    return level, spec, verb


def _named(verifier: EntryVerifier, options: _Options, seed: int) -> tuple[Level, VerifierSpec]:
    """The level that holds what a verifier names, and the verifier with the things' numbers in that level."""
    pairs = _pairs_of(verifier)
    level = _generated(verifier, options, seed, pairs) if options.level is None else _given(options.level)
    args = dict(verifier.args)
    for key in _THINGS:
        if key in args:
            args[key] = _indices(level, args[key], f".verifier.args.{key}")
    spec = VerifierSpec(verifier.name, args)
    try:
        world_tasks.of("doom").verifier(spec)
    except ValueError as error:
        raise EntryError(".verifier", str(error)) from error
    return level, spec


def _given(level: dict[str, Any]) -> Level:
    try:
        return Level.from_json(level)
    except ValueError as error:
        raise EntryError(".options.level", str(error)) from error


def _generated(verifier: EntryVerifier, options: _Options, seed: int, pairs: list[Pair]) -> Level:
    """A level of the generator; what the verifier names is there, whatever else the options put in."""
    given = dict(options.generator or {})
    things = [tuple(t) if isinstance(t, list) else _pair(t, i) for i, t in enumerate(given.pop("things", []))]
    things += [pair for pair in pairs if pair not in things]
    if verifier.name == "press":
        given.setdefault("panels", 1)
    for key in given:
        if key not in _GENERATOR:
            known = ", ".join(sorted(_GENERATOR))
            raise EntryError(f".options.generator.{key}", f"unknown key; known: {known}")
    try:
        return generate(seed, things=things, **given)
    except (TypeError, ValueError, KeyError) as error:
        raise EntryError(".options.generator", str(error)) from error


def _pair(name: Any, index: int) -> Pair:
    pair = read_thing(name) if isinstance(name, str) else None
    if pair is None or pair not in ACTORS:
        raise EntryError(f".options.generator.things[{index}]", f"unknown thing {name!r}")
    return pair


def _pairs_of(verifier: EntryVerifier) -> list[Pair]:
    """The things that a verifier's arguments name; also checks its name."""
    try:
        world_tasks.of("doom").verifier(VerifierSpec(verifier.name, {}))
    except world_tasks.UnknownVerifierError as error:
        raise EntryError(".verifier.name", str(error)) from error
    except ValueError:
        pass  # the arguments are checked once the level is there
    pairs: list[Pair] = []
    for name in [n for key in _THINGS for n in verifier.args.get(key, []) if isinstance(n, str)]:
        pair = read_thing(name)
        if pair is None or pair not in ACTORS:
            raise EntryError(".verifier.args", f"unknown thing {name!r}; a name is a colour and a kind: 'red key'")
        pairs.append(pair)
    return pairs


def _indices(level: Level, given: Any, place: str) -> list[int]:
    if not isinstance(given, list):
        raise EntryError(place, "expected a list of things' names or numbers")
    out: list[int] = []
    for i, item in enumerate(given):
        if isinstance(item, str):
            pair = read_thing(item)
            found = [n for n, t in enumerate(level.things) if (t.kind, t.colour) == pair]
        else:
            found = [item] if isinstance(item, int) and 0 <= item < len(level.things) else []
        if not found:
            raise EntryError(f"{place}[{i}]", f"the level holds no {item!r}")
        out += found
    return out

"""`load_tasks`: tasks that a person wrote, from a YAML file (docs/tasks.md describes the format)."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from envs.doom.level import Level
from envs.doom.levels import TRAINING_THEMES, generate
from envs.doom.things import ACTORS
from envs.errors import UserError
from tasks import verify
from tasks.build import level_for
from tasks.javascript import JavaScript
from tasks.language import read, read_thing
from tasks.suites import EVALUATION_SEEDS
from tasks.task import Task, VerifierSpec


class TasksFileError(UserError, ValueError):
    """What is wrong in a tasks file, in one line that begins with the file and the place in it."""


_THINGS = ("targets", "avoid", "allowed")  # arguments that name things
# The verifiers of worlds that know nothing else about success, by the beginning of their names.
_ELSEWHERE = {"gymnasium:": ("reward", "a Gymnasium environment"), "browser:": ("javascript", "a page")}
_GENERATOR = frozenset(inspect.signature(generate).parameters) - {"seed"}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Verifier(_Strict):
    name: str
    args: dict[str, Any] = Field(default_factory=dict)


class _World(_Strict):
    """`generator`: arguments of envs.doom.levels.generate; `level`: a whole level as JSON. One of the two, or none."""

    generator: dict[str, Any] | None = None
    level: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one(self) -> _World:
        if self.generator is not None and self.level is not None:
            raise ValueError("give generator or level, not both")
        return self


class _Entry(_Strict):
    instruction: str | list[str]
    id: str = ""
    verb: str = ""
    world: str = "doom"
    options: dict[str, Any] = Field(default_factory=dict)
    verifier: _Verifier | None = None
    seeds: list[int] | None = None
    seed: int = 0
    count: int = Field(default=1, ge=1)
    time_limit: int = Field(default=700, ge=1)

    @model_validator(mode="after")
    def _seeds(self) -> _Entry:
        if self.seeds is not None and {"seed", "count"} & self.model_fields_set:
            raise ValueError("give seeds, or seed and count, not both")
        if not self.instruction:
            raise ValueError("instruction: expected a sentence")
        return self

    def all_seeds(self) -> Sequence[int]:
        return self.seeds if self.seeds is not None else range(self.seed, self.seed + self.count)


class _File(_Strict):
    tasks: list[_Entry] = Field(min_length=1)


def load_tasks(path: str | Path) -> list[Task]:
    """The tasks of a file, in its order: every instruction of an entry with every one of its seeds.

    Raises TasksFileError (a ValueError) where the file can't be read, is no YAML or breaks the format.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TasksFileError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        raise TasksFileError(f"{path}:{where} not YAML: {getattr(error, 'problem', None) or 'not text'}") from error
    try:
        file = _File.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise TasksFileError(f"{path}: {_place(first['loc'])}: {_said(first)}") from error
    return [task for number, entry in enumerate(file.tasks) for task in _Maker(path, number, entry).tasks()]


def _place(loc: Sequence[int | str]) -> str:
    out = ""
    for part in loc:
        out += f"[{part}]" if isinstance(part, int) else f"{'.' if out else ''}{part}"
    return out or "the file"


def _said(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    if error["type"] == "missing":
        return "is missing"
    text = str(error["msg"]).removeprefix("Value error, ")
    return text[:1].lower() + text[1:]


class _Maker:
    """Makes the tasks of one entry."""

    def __init__(self, path: Path, number: int, entry: _Entry) -> None:
        self.path, self.at, self.entry = path, f"tasks[{number}]", entry
        self.key = entry.id or f"{path.stem}/{number}"
        self.world = _World()
        if entry.world == "doom":
            try:
                self.world = _World.model_validate(entry.options)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                raise self._wrong(f".{_place(('options', *first['loc']))}", _said(first)) from error

    def _wrong(self, place: str, message: str) -> TasksFileError:
        return TasksFileError(f"{self.path}: {self.at}{place}: {message}")

    def tasks(self) -> Iterator[Task]:
        entry = self.entry
        texts = [entry.instruction] if isinstance(entry.instruction, str) else entry.instruction
        for i, text in enumerate(texts):
            for seed in entry.all_seeds():
                task_id = f"{self.key}/{i}/{seed}" if len(texts) > 1 else f"{self.key}/{seed}"
                if entry.world != "doom":
                    yield self._elsewhere(task_id, text, seed)
                    continue
                rng = np.random.default_rng([zlib.crc32(self.key.encode()), i, seed % 2**32])
                level_seed = EVALUATION_SEEDS + int(rng.integers(EVALUATION_SEEDS))
                level, spec, verb = self._made(rng, text, level_seed)
                options = {"level": level.to_json()}
                yield Task(task_id, text, "doom", level_seed, options, entry.time_limit, spec, entry.verb or verb)

    def _elsewhere(self, task_id: str, text: str, seed: int) -> Task:
        """A task in another world: its options go to the world's `reset`; without a verifier nobody judges it."""
        entry, spec, options = self.entry, None, self.entry.options
        if entry.verifier is not None:
            spec = VerifierSpec(entry.verifier.name, entry.verifier.args)
            for prefix, (name, what) in _ELSEWHERE.items():
                if spec.name != name and entry.world.startswith(prefix):
                    raise self._wrong(".verifier.name", f"{what} knows {name!r} alone, not {spec.name!r}")
            try:
                verifier = verify.make(spec)
            except ValueError as error:
                raise self._wrong(".verifier", str(error)) from error
            if isinstance(verifier, JavaScript):  # the world evaluates what the verifier asks for
                options = {**options, "javascript": verifier.expressions}
        verb = entry.verb or (spec.name if spec else "")
        return Task(task_id, text, entry.world, seed, options, entry.time_limit, spec, verb)

    def _made(self, rng: np.random.Generator, text: str, level_seed: int) -> tuple[Level, VerifierSpec, str]:
        entry, world = self.entry, self.world
        if entry.verifier is None:
            return self._understood(rng, text, level_seed)
        named = self._named(entry.verifier)
        if world.level is not None:
            try:
                level = Level.from_json(world.level)
            except ValueError as error:
                raise self._wrong(".options.level", str(error)) from error
        else:
            # what the verifier names must be there, whatever else the generator puts in
            given = dict(world.generator or {})
            things = [
                tuple(t) if isinstance(t, list) else self._pair(t, i) for i, t in enumerate(given.pop("things", []))
            ]
            things += [pair for pair in named if pair not in things]
            if entry.verifier.name == "press":
                given.setdefault("panels", 1)
            for key in given:
                if key not in _GENERATOR:
                    known = ", ".join(sorted(_GENERATOR))
                    raise self._wrong(f".options.generator.{key}", f"unknown key; known: {known}")
            try:
                level = generate(level_seed, things=things, **given)
            except (TypeError, ValueError, KeyError) as error:
                raise self._wrong(".options.generator", str(error)) from error
        args = dict(entry.verifier.args)
        for key in _THINGS:
            if key in args:
                args[key] = self._indices(level, args[key], f".verifier.args.{key}")
        spec = VerifierSpec(entry.verifier.name, args)
        try:
            verify.make(spec)
        except ValueError as error:
            raise self._wrong(".verifier", str(error)) from error
        return level, spec, entry.verifier.name

    def _understood(self, rng: np.random.Generator, text: str, level_seed: int) -> tuple[Level, VerifierSpec, str]:
        """The verifier that the sentence itself asks for."""
        if self.world.model_fields_set:
            raise self._wrong(".verifier", "is missing: options say what the level is, so say what counts as success")
        meaning = read(text)
        made = level_for(rng, meaning, level_seed, TRAINING_THEMES) if meaning is not None else None
        if made is None:
            raise self._wrong(".verifier", f"is missing, and the grammar does not know {text!r}")
        (level, spec), verb = made
        return level, spec, verb

    def _pair(self, name: Any, index: int) -> tuple[str, str | None]:
        pair = read_thing(name) if isinstance(name, str) else None
        if pair not in ACTORS:
            raise self._wrong(f".options.generator.things[{index}]", f"unknown thing {name!r}")
        return pair

    def _named(self, verifier: _Verifier) -> list[tuple[str, str | None]]:
        """The things that a verifier's arguments name; also checks its name."""
        if verifier.name not in verify.FAMILIES:
            known = ", ".join(sorted(verify.FAMILIES))
            raise self._wrong(".verifier.name", f"unknown {verifier.name!r}; known: {known}")
        if verifier.name == "reward":
            raise self._wrong(".verifier.name", "'reward' is for worlds that give a reward, which doom does not")
        if verifier.name == "javascript":
            raise self._wrong(".verifier.name", "'javascript' is for pages in a browser, which doom is not")
        names = [n for key in _THINGS for n in verifier.args.get(key, []) if isinstance(n, str)]
        pairs = []
        for name in names:
            pair = read_thing(name)
            if pair not in ACTORS:
                raise self._wrong(".verifier.args", f"unknown thing {name!r}; a name is a colour and a kind: 'red key'")
            pairs.append(pair)
        return pairs

    def _indices(self, level: Level, given: Any, place: str) -> list[int]:
        if not isinstance(given, list):
            raise self._wrong(place, "expected a list of things' names or numbers")
        out = []
        for i, item in enumerate(given):
            if isinstance(item, str):
                pair = read_thing(item)
                found = [n for n, t in enumerate(level.things) if (t.kind, t.colour) == pair]
            else:
                found = [item] if isinstance(item, int) and 0 <= item < len(level.things) else []
            if not found:
                raise self._wrong(f"{place}[{i}]", f"the level holds no {item!r}")
            out += found
        return out

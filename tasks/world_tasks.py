"""`WorldTasks`: what a world brings beside pixels, such as suites, verifiers and an expert.

A world's part registers in the entry-point group `ludens.tasks` under the world's own name. It is loaded when it is
asked for; nothing here knows a world by name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from agent.policy import Decision
from envs import plugins
from envs.errors import UserError
from tasks.outcomes import Outcomes
from tasks.suite import Suite
from tasks.task import Task, VerifierSpec
from tasks.task_entry import Entry, EntryError
from tasks.teacher import Coach, Goals, Teacher
from tasks.verifier import JavaScript, ReturnAtLeast, Sequential, Verifier

OK = "ok "  # how the confirmation of an instruction begins

_REFERENCE = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")


class Language(Protocol):
    """How a world's instructions are read and said. What is meant has a type of the world's own."""

    def read(self, text: str) -> Any:
        """What an instruction means; None for what is not read."""

    def plain(self, meaning: Any) -> str:
        """What is meant in plain words, by which one tells how it was understood."""

    def sentence(self, rng: np.random.Generator, meaning: Any) -> str:
        """An instruction that means this, in a training phrasing."""

    def words(self) -> frozenset[str]:
        """The words that instructions are made of, in lower case."""


class WorldTasks:
    """What a world brings. A world's own part is a subclass that overrides what the world has.

    This class itself stands for a world that brings nothing: its tasks come from tasks files, and are verified by its
    return, by JavaScript expressions, or by a verifier named as `package.module:Name`.
    """

    @property
    def suites(self) -> Mapping[str, Suite]:
        """The world's suites by name; each name begins with the world's."""
        return {}

    @property
    def verifiers(self) -> Mapping[str, Callable[..., Verifier]]:
        """What makes a verifier, by the verifier's name. "sequence" is there for every world."""
        return {"reward": ReturnAtLeast, "javascript": JavaScript}

    @property
    def goals(self) -> Goals | None:
        """What can be asked for in a state of this world; None if that is not known."""
        return None

    @property
    def lessons(self) -> str:
        """What teaches `small` in this world, as `package.module:Name` of a training.small.lesson_world.LessonWorld;
        empty for the one that any world with `goals` has."""
        return ""

    @property
    def outcomes(self) -> Outcomes | None:
        """What one picture shows once a goal is reached, in words; None if that is not known."""
        return None

    def expert(self, spec: VerifierSpec) -> Callable[[Any], Decision]:
        """What decides from ground truth towards what `spec` verifies, for one episode. Raises UserError for what the
        expert can't do."""
        raise UserError("this world brings no expert")

    @property
    def has_expert(self) -> bool:
        """Whether the world brings an expert."""
        return type(self).expert is not WorldTasks.expert

    def teacher(self, task: Task) -> Teacher:
        """The teacher for every state of one episode of a task: a Coach, if the world brings `goals`. Raises
        ValueError for a task that it does not know."""
        if self.goals is None:
            raise ValueError(f"nobody teaches {task.id}: its world brings neither a teacher nor goals")
        verifier = None if task.verifier is None else self.verifier(task.verifier)
        return Coach(task, self.goals, verifier, self.confirmation(task.instruction))

    def compass(self, task: Task) -> Callable[[Any], str]:
        """What tells, in every state of one episode of a task, in which direction (agent.sight.DIRECTIONS) the way to
        what is wanted begins; "" where it is not known. Raises ValueError for a task without such a way."""
        raise ValueError(f"{task.id}: this world brings no compass")

    def task_from_instruction(self, text: str, seed: int) -> Task | None:
        """The task that a typed sentence is; None if the world does not say."""
        return None

    def task_of_entry(self, entry: Entry, task_id: str, text: str, seed: int, rng: np.random.Generator) -> Task:
        """The task of a tasks file's entry for one of its instructions and seeds. `rng`: for what the entry leaves
        open. Raises EntryError."""
        spec, options = None, entry.options
        if entry.verifier is not None:
            spec = VerifierSpec(entry.verifier.name, entry.verifier.args)
            try:
                verifier = self.verifier(spec)
            except UnknownVerifierError as error:
                raise EntryError(".verifier.name", str(error)) from error
            except ValueError as error:
                raise EntryError(".verifier", str(error)) from error
            if isinstance(verifier, JavaScript):  # the world evaluates what the verifier asks for
                options = {**options, "javascript": verifier.expressions}
        verb = entry.verb or (spec.name if spec else "")
        return Task(task_id, text, entry.world, seed, options, entry.time_limit, spec, verb)

    @property
    def language(self) -> Language | None:
        """How instructions of this world are read; None if nothing reads them."""
        return None

    def reads(self, text: str) -> bool:
        """Whether the world's tasks are asked for in sentences like this one."""
        return self.language is not None and self.language.read(text) is not None

    def verifier_in(self, state: Any, text: str) -> Verifier | None:
        """A verifier of a sentence from this state on, for the audit of goals that a setter proposes. A goal that can't
        be done, or is done already, gets `tasks.verifier.Impossible`; None if the meaning is not known."""
        return None

    def other_words(self, rng: np.random.Generator, task: Task) -> str | None:
        """An instruction for another thing of the task's level, for the language control; None if the task has
        nothing to exchange."""
        return None

    def other_task(self, rng: np.random.Generator, task: Task) -> Task | None:
        """The task's level with another thing asked for, for tries that a judge learns from; None if there is none."""
        return None

    def picture(self, name: str) -> npt.NDArray[np.uint8] | None:
        """A picture that the world itself draws, uint8 RGB (H, W, 3); None where `name` is none of its pictures."""
        return None

    def verifier(self, spec: VerifierSpec, *, references: bool = True) -> Verifier:
        """A fresh verifier. `references`: whether `package.module:Name` may be one, which imports that module.

        Raises UnknownVerifierError for an unknown name and ValueError for wrong arguments, naming them.
        """
        families = self.verifiers
        if spec.name == "sequence":
            return self._sequential(spec, references)
        if spec.name in families:
            make = families[spec.name]
        elif references and _REFERENCE.fullmatch(spec.name):
            make = plugins.load("verifier", spec.name)
            if not isinstance(make, type) or not callable(getattr(make, "update", None)):
                raise UnknownVerifierError(f"{spec.name}: expected a class with update(state), got {make!r}")
        else:
            known = ", ".join(sorted({*families, "sequence"}))
            raise UnknownVerifierError(
                f"unknown verifier {spec.name!r}; this world knows {known}, and package.module:Name"
            )
        try:
            verifier: Verifier = make(**spec.args)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"verifier {spec.name}: wrong arguments {spec.args}: {error}") from error
        return verifier

    def _sequential(self, spec: VerifierSpec, references: bool) -> Sequential:
        try:
            return Sequential(steps_of(spec), lambda step: self.verifier(step, references=references))
        except (TypeError, KeyError) as error:
            raise ValueError(f"verifier sequence: wrong arguments {spec.args}: {error}") from error

    def confirmation(self, text: str) -> str:
        """What the player says before it follows an instruction, to show how it understood it; empty if the sentence is
        not read."""
        language = self.language
        meaning = None if language is None else language.read(text)
        return "" if language is None or meaning is None else OK + language.plain(meaning)


class UnknownVerifierError(ValueError):
    """The world knows no verifier of that name."""


class UnknownSuiteError(UserError, ValueError):
    """No world brings a suite of that name."""


def steps_of(spec: VerifierSpec) -> list[VerifierSpec]:
    """The steps of a "sequence". Raises TypeError or KeyError if its arguments are no steps."""
    return [VerifierSpec(step["name"], dict(step.get("args", {}))) for step in spec.args["steps"]]


def of(world: str) -> WorldTasks:
    """What the world called `world` brings; `NAME:ARGUMENT` is the world NAME. A world without a part of its own gets
    a plain WorldTasks. Raises BrokenPluginError."""
    return _load(world.partition(":")[0])


@functools.lru_cache(maxsize=64)
def _load(name: str) -> WorldTasks:
    if name not in plugins.entries("tasks"):
        return WorldTasks()
    part = plugins.load("tasks", name)()
    if not isinstance(part, WorldTasks):
        raise plugins.BrokenPluginError(f"tasks {name!r}: expected a tasks.world_tasks.WorldTasks, got {part!r}")
    return part


def suites() -> dict[str, Suite]:
    """The suites of all worlds by name. A part that can't be loaded is left out; `agent list` says why."""
    found: dict[str, Suite] = {}
    for world in plugins.names("tasks"):
        try:
            found |= of(world).suites
        except plugins.BrokenPluginError:
            continue
    return found


def suite(name: str) -> Suite:
    """A suite by name. Raises UnknownSuiteError with the nearest known name."""
    known = suites()
    if name not in known:
        raise UnknownSuiteError(plugins.unknown_name("suite", name, known))
    return known[name]


def training(name: str) -> Suite:
    """A suite that training may use. Raises ValueError for one that is unknown or held out."""
    found = suite(name)
    if found.held_out:
        raise ValueError(f"suite {name!r} is held out from training")
    return found


def verifier_of(task: Task, *, references: bool = True) -> Verifier | None:
    """A fresh verifier of a task; None if it can't be judged. Raises ValueError as `WorldTasks.verifier` does."""
    return None if task.verifier is None else of(task.world).verifier(task.verifier, references=references)

"""What the world doom brings: suites, verifiers, an expert, a guide, and the reading of typed sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.policy import Decision
from tasks.outcomes import Outcomes
from tasks.suite import Suite
from tasks.task import Task, VerifierSpec
from tasks.task_entry import Entry
from tasks.teacher import Teacher
from tasks.verifier import Verifier
from tasks.world_tasks import Language, WorldTasks


class DoomTasks(WorldTasks):
    """The tasks of doom."""

    @property
    def suites(self) -> Mapping[str, Suite]:
        from tasks.doom.suites import SUITES

        return SUITES

    @property
    def verifiers(self) -> Mapping[str, Callable[..., Verifier]]:
        from tasks.doom.errands import ErrandVerifier
        from tasks.doom.verify import FAMILIES

        return {**FAMILIES, "errand": ErrandVerifier}

    @property
    def outcomes(self) -> Outcomes:
        from tasks.doom import outcomes

        return outcomes

    def expert(self, spec: VerifierSpec) -> Callable[[Any], Decision]:
        from tasks.doom.expert import start

        return start(spec)

    @property
    def lessons(self) -> str:
        return "training.small.doom_lessons:DoomLessons"

    def teacher(self, task: Task) -> Teacher:
        from tasks.doom.guide import Guide

        return Guide(task)

    def compass(self, task: Task) -> Callable[[Any], str]:
        from tasks.doom.guide import compass

        return compass(task)

    def task_from_instruction(self, text: str, seed: int) -> Task | None:
        from tasks.doom.typed import task_from_instruction

        return task_from_instruction(text, seed)

    def task_of_entry(self, entry: Entry, task_id: str, text: str, seed: int, rng: np.random.Generator) -> Task:
        from tasks.doom.task_entries import task_of_entry

        return task_of_entry(entry, task_id, text, rng)

    @property
    def language(self) -> Language:
        from tasks.doom import language

        return language

    def reads(self, text: str) -> bool:
        from tasks.doom.dialogues import read_question

        return super().reads(text) or read_question(text) is not None

    def verifier_in(self, state: Any, text: str) -> Verifier | None:
        from tasks.doom.proposals import verifier_in

        return verifier_in(state, text)

    def other_words(self, rng: np.random.Generator, task: Task) -> str | None:
        from tasks.doom.goals import other_words

        return other_words(rng, task)

    def picture(self, name: str) -> npt.NDArray[np.uint8] | None:
        from tasks.doom.portraits import PORTRAIT, drawn

        return drawn(name) if name.startswith(PORTRAIT) else None

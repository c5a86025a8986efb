"""What the world playroom brings: suites, verifiers, an expert and its advice, and the reading of typed sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from agent.policy import Decision
from tasks.outcomes import Outcomes
from tasks.suite import Suite
from tasks.task import Task, VerifierSpec
from tasks.teacher import Goals
from tasks.verifier import Verifier
from tasks.world_tasks import Language, WorldTasks


class PlayroomTasks(WorldTasks):
    """The tasks of the playroom."""

    @property
    def suites(self) -> Mapping[str, Suite]:
        from tasks.playroom.suites import SUITES

        return SUITES

    @property
    def verifiers(self) -> Mapping[str, Callable[..., Verifier]]:
        from tasks.playroom.verify import FAMILIES

        return FAMILIES

    @property
    def goals(self) -> Goals:
        from tasks.playroom import goals

        return goals

    @property
    def outcomes(self) -> Outcomes:
        from tasks.playroom import outcomes

        return outcomes

    def expert(self, spec: VerifierSpec) -> Callable[[Any], Decision]:
        from tasks.playroom.expert import start

        return start(spec)

    @property
    def lessons(self) -> str:
        return "training.small.playroom_lessons:PlayroomLessons"

    def task_from_instruction(self, text: str, seed: int) -> Task | None:
        from tasks.playroom.suites import task_from_instruction

        return task_from_instruction(text, seed)

    @property
    def language(self) -> Language:
        from tasks.playroom import language

        return language

    def verifier_in(self, state: Any, text: str) -> Verifier | None:
        from tasks.playroom.goals import verifier_in

        return verifier_in(state, text)

    def other_words(self, rng: np.random.Generator, task: Task) -> str | None:
        from tasks.playroom.goals import other_words

        return other_words(rng, task)

    def other_task(self, rng: np.random.Generator, task: Task) -> Task | None:
        from tasks.playroom.goals import other_task

        return other_task(rng, task)

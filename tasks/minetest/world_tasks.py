"""What the world minetest brings: suites, verifiers, an expert and its advice, and the reading of typed sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from agent.policy import Decision
from tasks.suite import Suite
from tasks.task import Task, VerifierSpec
from tasks.teacher import Goals
from tasks.verifier import Verifier
from tasks.world_tasks import Language, WorldTasks


class MinetestTasks(WorldTasks):
    """The tasks of the minetest."""

    @property
    def suites(self) -> Mapping[str, Suite]:
        from tasks.minetest.suites import SUITES

        return SUITES

    @property
    def verifiers(self) -> Mapping[str, Callable[..., Verifier]]:
        from tasks.minetest.verify import FAMILIES

        return FAMILIES

    @property
    def goals(self) -> Goals:
        from tasks.minetest import goals

        return goals

    def expert(self, spec: VerifierSpec) -> Callable[[Any], Decision]:
        from tasks.minetest.expert import start

        return start(spec)

    def task_from_instruction(self, text: str, seed: int) -> Task | None:
        from tasks.minetest.suites import task_from_instruction

        return task_from_instruction(text, seed)

    @property
    def language(self) -> Language:
        from tasks.minetest import language

        return language

    def other_words(self, rng: np.random.Generator, task: Task) -> str | None:
        from tasks.minetest.goals import other_words

        return other_words(rng, task)

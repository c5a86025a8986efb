"""A table: several episodes at once in one process, whose players share the model's passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from agent.batching import Batched
from agent.inference import InStep
from agent.policy import Policy
from envs.world import World

Job = TypeVar("Job")
Result = TypeVar("Result")

SEATS = 8


class Table:
    """`SEATS` worlds, made when they are needed."""

    def __init__(self, make_world: Callable[[], World]) -> None:
        self._make_world = make_world
        self._worlds: list[World] = []

    def world(self, number: int = 0) -> World:
        while len(self._worlds) <= number:
            self._worlds.append(self._make_world())
        return self._worlds[number]

    def play(
        self, policy: Policy, jobs: Sequence[Job], episode: Callable[[World, InStep, Job], Result]
    ) -> list[Result]:
        """`episode(world, player, job)` for every job, up to SEATS at a time; the results in the order of the jobs. Of
        a world that moves on by itself there is one: several would take each other's time."""
        free: SimpleQueue[World] = SimpleQueue()
        for number in range(1 if self.world().realtime else min(SEATS, len(jobs))):
            free.put(self.world(number))
        shared = Batched(policy)

        def one(job: Job) -> Result:
            world = free.get()
            try:
                with shared.seat():
                    return episode(world, InStep(shared), job)
            finally:
                free.put(world)

        with ThreadPoolExecutor(SEATS) as threads:
            return list(threads.map(one, jobs))

    def close(self) -> None:
        for world in self._worlds:
            world.close()
        self._worlds.clear()


def portions(jobs: Sequence[Job], workers: int) -> list[Sequence[Job]]:
    """Jobs in portions that fill a table a few times over, and every worker's hands."""
    size = max(1, min(4 * SEATS, -(-len(jobs) // workers)))
    return [jobs[i : i + size] for i in range(0, len(jobs), size)]

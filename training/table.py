"""A table: several episodes at once in one process, whose players share the model's passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TypeVar

from agent.batching import Batched
from agent.inference import InStep
from agent.policy import Policy
from envs.world import World

Job = TypeVar("Job")
Result = TypeVar("Result")

SEATS = 8


class _Seat:
    """A world and the thread that makes it, plays it and closes it: what draws through EGL knows no other thread."""

    def __init__(self, make_world: Callable[[], World]) -> None:
        self._make_world = make_world
        self.thread = ThreadPoolExecutor(1)
        self._world: World | None = None

    def world(self) -> World:
        """The world, made when it is first asked for; to be called in the seat's thread."""
        if self._world is None:
            self._world = self._make_world()
        return self._world

    def close(self) -> None:
        if self._world is not None:
            self.thread.submit(self._world.close).result()
        self.thread.shutdown()


class Table:
    """`SEATS` worlds, made when they are needed."""

    def __init__(self, make_world: Callable[[], World]) -> None:
        self._seats = [_Seat(make_world) for _ in range(SEATS)]

    def play(
        self, policy: Policy, jobs: Sequence[Job], episode: Callable[[World, InStep, Job], Result]
    ) -> list[Result]:
        """`episode(world, player, job)` for every job, up to SEATS at a time; the results in the order of the jobs. Of
        a world that moves on by itself there is one: several would take each other's time."""
        shared = Batched(policy)
        todo: SimpleQueue[tuple[int, Job]] = SimpleQueue()
        for numbered in enumerate(jobs):
            todo.put(numbered)
        results: dict[int, Result] = {}

        def sit(seat: _Seat) -> None:
            while True:
                try:
                    number, job = todo.get_nowait()
                except Empty:
                    return
                world = seat.world()
                with shared.seat():
                    results[number] = episode(world, InStep(shared), job)

        first = self._seats[0]
        count = 1 if first.thread.submit(first.world).result().realtime else min(SEATS, len(jobs))
        sitting = [seat.thread.submit(sit, seat) for seat in self._seats[:count]]
        for player in sitting:
            player.result()
        return [results[number] for number in range(len(jobs))]

    def script(self, jobs: Sequence[Job], episode: Callable[[World, Job], Result]) -> list[Result]:
        """`episode(world, job)` for every job, one after the other: of players that need no model."""
        seat = self._seats[0]
        return seat.thread.submit(lambda: [episode(seat.world(), job) for job in jobs]).result()

    def close(self) -> None:
        for seat in self._seats:
            seat.close()


def portions(jobs: Sequence[Job], workers: int) -> list[Sequence[Job]]:
    """Jobs in portions that fill a table a few times over, and every worker's hands."""
    size = max(1, min(4 * SEATS, -(-len(jobs) // workers)))
    return [jobs[i : i + size] for i in range(0, len(jobs), size)]

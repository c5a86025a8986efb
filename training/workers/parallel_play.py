"""`ParallelPlay`: several episodes at once in one process, which share the policy's passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import TypeVar

from agent.capabilities import fitted
from agent.loop.batching import Batched
from agent.loop.players import InStep
from agent.policy import Policy
from envs.world import World

Job = TypeVar("Job")
Result = TypeVar("Result")

EPISODES = 8  # that are played at once in a process


class _WorldThread:
    """A world and the one thread that makes it, plays it and closes it. A world that draws through EGL works in the
    thread that made it alone."""

    def __init__(self, make_world: Callable[[], World]) -> None:
        self._make_world = make_world
        self.thread = ThreadPoolExecutor(1)
        self._world: World | None = None

    def world(self) -> World:
        """The world, made when it is first asked for. To be called in this thread."""
        if self._world is None:
            self._world = self._make_world()
        return self._world

    def close(self) -> None:
        if self._world is not None:
            self.thread.submit(self._world.close).result()
        self.thread.shutdown()


class ParallelPlay:
    """Plays up to `episodes` episodes at once, each in a world of its own. A world is made when it is needed.

    With a policy that is agent.loop.batching.BatchInvariant, an episode is the same whatever is played beside it.
    """

    def __init__(self, make_world: Callable[[], World], episodes: int = EPISODES) -> None:
        self._worlds = [_WorldThread(make_world) for _ in range(episodes)]

    def play(
        self, policy: Policy, jobs: Sequence[Job], episode: Callable[[World, InStep, Job], Result], name: str = ""
    ) -> list[Result]:
        """`episode(world, player, job)` for every job, several at a time; the results in the order of the jobs. A world
        in real time is played alone: worlds beside it would take its time. `name`: of the world. Raises UserError for a
        policy that can use nothing of it."""
        first = self._worlds[0]
        world = first.thread.submit(first.world).result()
        shared = Batched(fitted(policy, world, name))
        todo: SimpleQueue[tuple[int, Job]] = SimpleQueue()
        for numbered in enumerate(jobs):
            todo.put(numbered)
        results: dict[int, Result] = {}

        def play_on(mine: _WorldThread) -> None:
            while True:
                try:
                    number, job = todo.get_nowait()
                except Empty:
                    return
                world = mine.world()
                with shared.seat():
                    results[number] = episode(world, InStep(shared), job)

        count = 1 if world.realtime else min(len(self._worlds), len(jobs))
        playing = [mine.thread.submit(play_on, mine) for mine in self._worlds[:count]]
        for one in playing:
            one.result()
        return [results[number] for number in range(len(jobs))]

    def play_scripts(self, jobs: Sequence[Job], episode: Callable[[World, Job], Result]) -> list[Result]:
        """`episode(world, job)` for every job, one after the other, for players that need no model."""
        mine = self._worlds[0]
        return mine.thread.submit(lambda: [episode(mine.world(), job) for job in jobs]).result()

    def close(self) -> None:
        for mine in self._worlds:
            mine.close()


def portions(jobs: Sequence[Job], workers: int) -> list[Sequence[Job]]:
    """Jobs in portions of a few times EPISODES, small enough that every worker gets one."""
    size = max(1, min(4 * EPISODES, -(-len(jobs) // workers)))
    return [jobs[i : i + size] for i in range(0, len(jobs), size)]

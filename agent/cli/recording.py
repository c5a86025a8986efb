"""Many processes that record episodes: each has its world on a core of its own, and asks for the next task.

A process that dies takes one episode with it, which another one plays again; that it died is told.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from agent.cli.compose import load_policy, make_player, world_factory
from agent.inference import Answer, Player, Question, Scripted
from agent.policy import RandomPolicy
from agent.runtime import Step, Subscriber, play
from envs.errors import UserError
from envs.reaper import die_with_parent
from envs.world import World
from tasks import verify
from tasks.suites import evaluation
from tasks.task import Task
from training.episodes import Recorder
from training.video import Quality

_DEATHS = 3  # of one worker, then recording gives up: something is wrong with the machine
_NOISE_STREAM = 1  # of random numbers, beside those that the policy draws from the same seed
_STOP_SECONDS = 20.0  # what a worker has to finish the episode at hand


@dataclass(frozen=True)
class Plan:
    """What is recorded: `suite` under `seed` by `policy` in `world`, into `out`.

    `noise`: the chance that a decision starts a disturbance. `quality`: of the frames. `every_tick`: see each tick, or
    only those where a decision is due. `evaluation`: play the levels that training never sees.
    """

    world: str
    policy: str
    suite: str
    seed: int
    out: Path
    noise: float = 0.0
    quality: Quality = "lossless"
    every_tick: bool = False
    evaluation: bool = False
    resolution: str | None = None

    def task(self, index: int) -> Task:
        return evaluation(self.suite).task(self.seed, index, evaluation=self.evaluation)

    def path(self, index: int) -> Path:
        """The folder of episode number `index`."""
        return self.out / f"{self.suite}-{'eval-' if self.evaluation else ''}{self.seed}-{index:06d}"


@dataclass(frozen=True)
class Recorded:
    """One episode, done: its outcome, and what it cost in `ticks` and drawn `frames`. `error`: why there is none."""

    index: int
    success: bool | None = None
    ticks: int = 0
    frames: int = 0
    error: str = ""


class Disturbed(Scripted):
    """A scripted player that is pushed off its way now and then, so that its episodes show how it comes back.

    With chance `noise` a decision starts a disturbance: one to three random decisions, without shots. Their steps are
    recorded with the actor "noise", so that nobody learns to imitate them.
    """

    def __init__(self, player: Scripted, noise: float) -> None:
        super().__init__(player.decide, spec=player.spec, actor=player.actor)
        self._own = player.actor
        self._noise = noise
        self._left = 0

    def begin(self, tick: int = 0) -> None:
        super().begin(tick)
        self._left = 0

    def _ask(self, question: Question) -> None:
        start = time.perf_counter()
        rng = np.random.default_rng([question.context.seed, _NOISE_STREAM])
        if self._left == 0 and rng.random() < self._noise:
            self._left = int(rng.integers(1, 4))
        if self._left:
            self._left -= 1
            self.actor = "noise"
            (decision,) = RandomPolicy().act([question.context])
            decision = replace(decision, actions=tuple(replace(a, buttons=frozenset()) for a in decision.actions))
        else:
            self.actor = self._own
            decision = self.decide(question.state)
        self.queue.merge(Answer(question.tick, question.epoch, decision, time.perf_counter() - start))


class _Drawn(Subscriber):
    """Counts the frames that the world has drawn."""

    def __init__(self) -> None:
        self.frames = 0

    def on_step(self, step: Step) -> None:
        self.frames += step.frame is not None


class RecordingError(UserError):
    """Nothing more can be recorded: the message says why."""


class Crew:
    """The processes. Closing it waits for the episodes at hand; those are whole, whatever happens."""

    def __init__(self, plan: Plan, workers: int) -> None:
        self._plan = plan
        self._context = multiprocessing.get_context("spawn")
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._cores = [cores[i % len(cores)] if cores else None for i in range(workers)]
        self._deaths = [0] * workers
        self._processes: list[Any] = []
        self._connections: list[Connection] = []
        for number in range(workers):
            process, connection = self._start(number)
            self._processes.append(process)
            self._connections.append(connection)

    def run(self, indices: Sequence[int]) -> Iterator[Recorded]:
        """Record these episodes; each is told when it is done. Raises RecordingError where no more can be."""
        todo = deque(indices)
        at_hand: dict[int, int] = {}  # worker -> index
        for number in range(min(len(self._connections), len(todo))):
            self._give(number, todo, at_hand)
        while at_hand:
            ready = wait([self._connections[number] for number in at_hand])
            for number in [n for n in at_hand if self._connections[n] in ready]:
                index = at_hand.pop(number)
                try:
                    answer = self._connections[number].recv()
                except (EOFError, ConnectionError):
                    todo.appendleft(index)
                    self._revive(number)
                else:
                    if isinstance(answer, str):
                        raise RecordingError(answer)
                    yield answer
                if todo:
                    self._give(number, todo, at_hand)

    def close(self) -> None:
        """Let the workers finish their episode, then end them."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.send(None)
        deadline = time.monotonic() + _STOP_SECONDS
        for process, connection in zip(self._processes, self._connections, strict=True):
            process.join(max(0.1, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
            connection.close()

    def _give(self, number: int, todo: deque[int], at_hand: dict[int, int]) -> None:
        at_hand[number] = todo.popleft()
        with contextlib.suppress(OSError):  # it is dead: `run` sees that next
            self._connections[number].send(at_hand[number])

    def _start(self, number: int) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._plan, self._cores[number], os.getpid()), name=f"record-{number}"
        )
        # Ctrl+C is for us alone; a worker ignores it from its first instruction on and is told to stop.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        theirs.close()
        return process, ours

    def _revive(self, number: int) -> None:
        self._deaths[number] += 1
        status = self._processes[number].exitcode
        if self._deaths[number] > _DEATHS:
            raise RecordingError(
                f"a recording process died {_DEATHS + 1} times (last status {status}); see agent doctor"
            )
        self._connections[number].close()
        self._processes[number], self._connections[number] = self._start(number)


def _work(connection: Connection, plan: Plan, core: int | None, parent: int) -> None:
    """A recording process: plays what it is told to until it is told None."""
    os.setpgid(0, 0)  # the loop takes Ctrl+C where it can; out of the terminal's group it never comes
    die_with_parent(parent)
    if core is not None:
        os.sched_setaffinity(0, {core})  # the game inherits it: a wake-up on another core costs more than a step
    make_world = world_factory(plan.world, resolution=plan.resolution)
    world: World | None = None
    try:
        policy = load_policy(plan.policy)
        while (index := connection.recv()) is not None:
            world = world or make_world()
            try:
                connection.send(_record(plan, index, policy, world))
            except (UserError, OSError) as error:
                raise RecordingError(str(error)) from error
            except Exception as error:
                world.close()
                world = None
                connection.send(Recorded(index, error=f"{type(error).__name__}: {error}"))
    except UserError as error:
        connection.send(str(error))
    except EOFError:
        pass  # the parent is gone
    finally:
        if world is not None:
            world.close()


def _record(plan: Plan, index: int, policy: Any, world: World) -> Recorded:
    task = plan.task(index)
    player: Player = make_player(policy, task, world, "lockstep")
    if plan.noise and isinstance(player, Scripted):
        player = Disturbed(player, plan.noise)
    drawn = _Drawn()
    recorder = Recorder(plan.path(index), task=task, policy=plan.policy, quality=plan.quality)
    verifier = verify.make(task.verifier)
    outcome = play(
        world,
        player,
        task.instruction,
        seed=task.seed,
        options=task.options,
        time_limit=task.time_limit,
        judge=verifier.update if verifier else None,
        subscribers=(recorder, drawn),
        observe="tick" if plan.every_tick else "decision",
    )
    player.close()
    if recorder.episode is None:
        raise RecordingError(f"{plan.path(index)}: {'; '.join(outcome.problems)}")
    return Recorded(index, outcome.success, outcome.ticks, drawn.frames)

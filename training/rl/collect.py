"""Collection of rollouts in this process, or by workers that get the newest weights as a file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

import torch

from envs import plugins
from envs.files import written_whole
from envs.world import World
from rewards.reward import Reward, load_reward
from rewards.wrapper import FrameReward, WholeEpisodes
from tasks import world_tasks
from tasks.task import Task
from training.rl.learnable import Learnable
from training.rl.load import load_learnable
from training.rl.practice import Practice
from training.rl.recipe import RlRecipe
from training.rl.rollouts import Collected, Collector, Pay, Start, sampler
from training.workers.hire import hire
from training.workers.workers import Failed, Workers

WEIGHTS = "weights.pt"  # of the policy that plays, in the run's folder
_LOOKED_AT = 20  # tasks for each one that is wanted: the outcomes of some can't be seen in a frame


def starts_of(recipe: RlRecipe, reward: Reward, iteration: int, practice: Practice | None = None) -> list[Start]:
    """Where the episodes of an iteration begin: tasks of its own, each `group` times. Tasks whose outcome a FrameReward
    can't see, or of other verbs, are left out. `practice`: what to draw from in place of the suite's own tasks. Raises
    ValueError for a held-out suite without it, and where no task is left."""

    def wanted(task: Task) -> bool:
        return (not recipe.verbs or task.verb in recipe.verbs) and _scorable(reward, task)

    if practice is not None:
        fit = Practice([task for task in practice.tasks if wanted(task)], practice.outcomes)
        chosen = fit.draw(recipe.tasks, (recipe.seed, iteration))
    else:
        chosen = list(islice(filter(wanted, _made(recipe, iteration, recipe.tasks)), recipe.tasks))
    if not chosen:
        of = f" with the verbs {', '.join(recipe.verbs)}" if recipe.verbs else ""
        raise ValueError(f"reward {recipe.reward!r} can't see the outcome of any task of suite {recipe.suite!r}{of}")
    limit = recipe.time_limit
    tasks = [task if limit is None else replace(task, time_limit=min(limit, task.time_limit)) for task in chosen]
    return [Start(task, iteration * recipe.tasks + at) for at, task in enumerate(tasks) for _ in range(recipe.group)]


def pool_of(recipe: RlRecipe, reward: Reward) -> list[Task]:
    """The tasks of the recipe's suites that are practised again and again."""
    tasks = (task for task in _made(recipe, 0, recipe.pool) if not recipe.verbs or task.verb in recipe.verbs)
    return list(islice((task for task in tasks if _scorable(reward, task)), recipe.pool))


def _made(recipe: RlRecipe, iteration: int, wanted: int) -> Iterator[Task]:
    """Tasks of the recipe's suites, in turn, with some to spare; other ones in each iteration."""
    suites = [world_tasks.training(name) for name in recipe.suite.split("+")]
    if len(worlds := {suite.world for suite in suites}) > 1:
        raise ValueError(f"suite {recipe.suite!r}: these are of the worlds {', '.join(sorted(worlds))}")
    count = _LOOKED_AT * wanted
    numbers = range(iteration * count, (iteration + 1) * count)
    return (suites[at % len(suites)].task(recipe.seed, at, evaluation=False) for at in numbers)


def _scorable(reward: Reward, task: Task) -> bool:
    return not isinstance(reward, FrameReward) or reward.goal(task.world, task.instruction, task.picture) is not None


def make_world(recipe: RlRecipe) -> World:
    """A world of the recipe."""
    name = recipe.world or world_tasks.suite(recipe.suite.split("+")[0]).world
    world: World = plugins.load("world", name)()
    return world


@dataclass(frozen=True)
class Gathered:
    """What an iteration collected. `wall`: how long it took, in seconds. `idle`: seconds that processes waited for the
    slowest of them, all together."""

    collected: Collected
    wall: float
    idle: float = 0.0


class Gather(Protocol):
    """Collects an episode from each start with the weights that the policy has now. `seed`: of what is drawn."""

    def __call__(self, starts: Sequence[Start], seed: int) -> Gathered: ...


@contextmanager
def gathering(recipe: RlRecipe, learnable: Learnable, reward: Reward, out: Path) -> Iterator[Gather]:
    """What collects for a run in the folder `out`, in this process or with workers, as the recipe says."""
    if recipe.workers == 0:
        collector = Collector(partial(make_world, recipe), recipe.worlds, reward, pay_of(recipe))
        try:
            yield partial(_gather_here, recipe, learnable, collector)
        finally:
            collector.close()
        return
    with hire(partial(RolloutWorker, recipe), recipe.workers, most=recipe.tasks * recipe.group) as crew:
        yield partial(_gather, crew, learnable, out / WEIGHTS)


def reward_of(recipe: RlRecipe) -> Reward:
    """The recipe's reward. Raises UserError."""
    reward = load_reward(recipe.reward)
    return reward if recipe.frames else WholeEpisodes(reward)


def pay_of(recipe: RlRecipe) -> Pay:
    """How the recipe's reward pays for decisions."""
    return Pay(
        recipe.shaped, recipe.graded, recipe.unfinished, recipe.token_price, recipe.free_tokens, recipe.said,
        recipe.confirmed,
    )  # fmt: skip


def _gather_here(
    recipe: RlRecipe, learnable: Learnable, collector: Collector, starts: Sequence[Start], seed: int
) -> Gathered:
    began = time.perf_counter()
    collected = collector.collect(learnable.spec, sampler(learnable, recipe.temperature, seed), starts)
    return Gathered(collected, time.perf_counter() - began)


@dataclass(frozen=True)
class Job:
    """Episodes for one process. `weights`: the file with those to play with. `seed`: of what is drawn."""

    number: int
    weights: Path
    starts: tuple[Start, ...]
    seed: int


class RolloutWorker:
    """A Worker that collects with a policy and a reward of its own."""

    def __init__(self, recipe: RlRecipe) -> None:
        make = partial(make_world, recipe)
        self._learnable = load_learnable(recipe.policy, think=recipe.think, make_world=make, ask=recipe.ask)
        self._collector = Collector(partial(make_world, recipe), recipe.worlds, reward_of(recipe), pay_of(recipe))
        self._temperature = recipe.temperature

    def work(self, job: Job) -> Collected:
        self._learnable.load_state(torch.load(job.weights, weights_only=True, map_location="cpu"))
        draw = sampler(self._learnable, self._temperature, job.seed)
        return self._collector.collect(self._learnable.spec, draw, job.starts)

    def close(self) -> None:
        self._collector.close()


def _gather(crew: Workers, learnable: Learnable, weights: Path, starts: Sequence[Start], seed: int) -> Gathered:
    """Raises RuntimeError where a worker can't play."""
    began = time.perf_counter()
    with written_whole(weights) as part:
        torch.save(learnable.state(), part)
    count = min(crew.count, len(starts))
    size = -(-len(starts) // count)
    jobs = [
        Job(number, weights, tuple(starts[at : at + size]), seed + number)
        for number, at in enumerate(range(0, len(starts), size))
    ]
    done: dict[int, Collected] = {}
    for job, result in crew.run(jobs):
        if isinstance(result, Failed):
            raise RuntimeError(f"rollouts {job.number}: {result.error}")
        done[job.number] = result
    wall = time.perf_counter() - began
    joined = join([done[number] for number in range(len(jobs))])
    return Gathered(joined, wall, max(0.0, len(jobs) * wall - joined.seconds.get("all", 0.0)))


def join(parts: Sequence[Collected]) -> Collected:
    """What several processes collected, in order."""
    names = sorted({name for part in parts for name in part.seconds})
    return Collected(
        tuple(rollout for part in parts for rollout in part.rollouts),
        tuple(why for part in parts for why in part.failures),
        {name: sum(part.seconds.get(name, 0.0) for part in parts) for name in names},
    )

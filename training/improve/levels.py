"""Where a run plays, and what it is evaluated on: suites, files of tasks, and any world's levels by seed alone."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from envs.errors import UserError
from tasks import world_tasks
from tasks.curriculum import Curriculum
from tasks.goal_text import goal_of
from tasks.suite import level_seed
from tasks.task import Task
from tasks.task_file import load_tasks

EVALUATION_SEED = 900_001  # of the tasks that candidates are compared on; no other part of a run uses it
OWN = "own tasks"  # how an evaluation without verifiers is called
_FILES = (".yaml", ".yml")


def practice_level(env: str, suite: str, seed: int, index: int) -> Task:
    """Level number `index` to play in, of training's half of the seeds. `suite`: "" for what the world `env` makes of a
    seed alone; an own game needs no more."""
    return world_tasks.suite(suite).practice(seed, index) if suite else _by_seed(env, seed, index, evaluation=False)


def _by_seed(env: str, seed: int, index: int, *, evaluation: bool) -> Task:
    rng = np.random.default_rng([zlib.crc32(env.encode()), seed, index])
    return Task(f"level/{seed}/{index}", "", env, level_seed(rng, evaluation))


def check_tasks(env: str, name: str) -> None:
    """Refuse a suite or a file of tasks that is none, or of another world. Raises UserError."""
    if Path(name).suffix in _FILES:
        kind = env.partition(":")[0]
        if other := next((task.world for task in load_tasks(name) if task.world.partition(":")[0] != kind), None):
            raise UserError(f"{name}: has tasks of the world {other}; this run plays {env}")
    else:
        world_tasks.suite(name)


def evaluation_tasks(env: str, names: Sequence[str], episodes: int) -> list[Task]:
    """The same tasks for every generation: of suites from evaluation's half of the seeds, and of files as they stand
    there. Their ids begin with their suite or file."""
    found: list[Task] = []
    for name in names:
        if Path(name).suffix in _FILES:
            found += [replace(task, id=f"{name}/{task.id}", world=env) for task in load_tasks(name)[:episodes]]
        else:
            found += world_tasks.suite(name).tasks(EVALUATION_SEED, episodes)
    return found


def own_tasks(env: str, suite: str, archive: Curriculum, episodes: int, time_limit: int) -> list[Task]:
    """For a world without verifiers: goals of the archive that the reward called a success at least once, by turns, in
    levels of evaluation's half of the seeds."""
    texts: dict[str, str] = {}
    for one in archive.tried:
        if one.success:
            texts.setdefault(goal_of(env, one.instruction).text, one.instruction)
    goals = list(texts.values())
    found = []
    for index in range(episodes if goals else 0):
        level = (
            world_tasks.suite(suite).task(EVALUATION_SEED, index)
            if suite
            else _by_seed(env, EVALUATION_SEED, index, evaluation=True)
        )
        text = goals[index % len(goals)]
        verb = goal_of(env, text).verb
        found.append(Task(f"{OWN}/{index}", text, env, level.seed, level.options, time_limit, verb=verb))
    return found

"""Practice: a player tries the tasks that it set itself again and again, from where their levels begin, and learns by
reinforcement from what the reward says of it.

A task is practised if its goal stands to be learned and the reward tells successes of its verb from failures. It need
not be right: a reward that is wrong at random has the same best policy, as long as it calls successes a success more
often than failures (arXiv 1810.01032). What is practised follows
from what was collected; ground truth has no part in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from tasks.curriculum import Curriculum
from tasks.goal_text import goal_of
from tasks.task import Task
from training.data.episodes import read_episode
from training.data.footage import task_of
from training.improve.collect import Try
from training.improve.recipe import ImproveRecipe
from training.rl.recipe import RlRecipe


def tasks_of(
    episodes: Path, tries: Sequence[Try], archive: Curriculum, untold: Collection[str], time_limit: int
) -> list[Task]:
    """What is practised: what was tried or proposed at the beginning of a level, where the curriculum gives it a weight
    and the reward tells something. `episodes`: the folder of the tries. `untold`: verbs whose successes the reward does
    not tell from failures. Raises DamagedEpisodeError."""
    found: list[Task] = []
    for one in tries:
        if one.id not in (one.level, f"{one.level}-0"):
            continue  # a level can't be begun in its middle
        start = task_of(read_episode(episodes / one.episode))
        for number, text in enumerate((one.instruction, *one.others)):
            verb = goal_of(archive.world, text).verb
            if verb not in untold and archive.standing(text).state in ("new", "learning"):
                found.append(replace(
                    start, id=f"{one.id}/{number}", instruction=text, time_limit=time_limit, verifier=None, verb=verb
                ))  # fmt: skip
    return found


def recipe_of(recipe: ImproveRecipe, policy: str, number: int, workers: str | int) -> RlRecipe:
    """How generation `number` practises. A reward that is doubted has to say so in two views, as of tries."""
    reward = recipe.reward
    if recipe.doubt:
        reward = f"agree:{reward}+{recipe.second}" if recipe.second else f"twice:{reward}"
    return RlRecipe.of({
        "policy": policy, "suite": recipe.suite, "reward": reward, "method": "grpo", "think": "off",
        "upper_bound": recipe.reward == "truth", "iterations": recipe.rounds, "tasks": recipe.practised,
        "group": recipe.group, "worlds": 32, "rate": recipe.practice_rate, "kl": recipe.kl, "frozen_vision": True,
        "frames": False, "workers": workers, "seed": recipe.seed * 1000 + number,
    })  # fmt: skip

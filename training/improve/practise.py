"""Practice: a player tries the tasks that it set itself again and again, from where their levels begin, and learns by
reinforcement from what the reward says of it.

A task is practised if its goal stands to be learned and the reward tells successes of its verb from failures. It need
not be right: a reward that is wrong at random has the same best policy, as long as it calls successes a success more
often than failures (arXiv 1810.01032). What is practised follows from what was collected; ground truth has no part in
it.

The player learns from the chance of success that the reward gives an episode, and not from its yes or no: a judge may
be on the wrong side of its threshold, and still put the episodes of a start in the right order. An episode gets one
such number for some twenty decisions. A critic that goes over all that was practised lately tells which of them changed
what was to be expected, and the player learns most often from those. The time limit is that of practice and not of the
task, and the player can't see it: where it cuts a try short, the critic says what would still have come. What comes
later counts a little less, or the critic would go on expecting it of a player that walks about for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from tasks.curriculum import Curriculum
from tasks.goal_text import goal_of
from tasks.task import Task
from training.data.episodes import read_episode
from training.data.footage import task_of
from training.improve.collect import Try
from training.improve.recipe import ImproveRecipe
from training.rl.recipe import RlRecipe

# Nats a token: a world that is new to a player takes it far from its parent. What it forgets, its evaluation tells.
_FARTHEST = 1.5


def tasks_of(
    episodes: Path,
    tries: Sequence[Try],
    archive: Curriculum,
    untold: Collection[str],
    time_limit: int,
    remembered: int = 0,
) -> list[Task]:
    """What is practised, from the beginning of each level: what was proposed there and wherever the player was later in
    the level, so that it has to search for what it did not see at first; and at most `remembered` goals that succeeded
    in other levels, which may be here as well. It is not mastered yet, and the reward tells something. What a few tries
    did not do is practised too: a draw finds out, see training.rl.practice.
    `episodes`: the folder of the tries. `untold`: verbs whose successes the reward does not tell from failures.
    Raises DamagedEpisodeError."""
    found: list[Task] = []
    for level, played in groupby(tries, key=lambda one: one.level):
        first, *later = played
        if first.id not in (level, f"{level}-0"):
            continue  # a level can't be begun in its middle
        start = task_of(read_episode(episodes / first.episode))
        texts = dict.fromkeys(text for one in (first, *later) for text in (one.instruction, *one.others))
        for number, text in enumerate((*texts, *archive.remembered(remembered, start.seed, besides=texts))):
            verb = goal_of(archive.world, text).verb
            if verb not in untold and archive.standing(text).state != "mastered":
                found.append(replace(
                    start, id=f"{first.id}/{number}", instruction=text, time_limit=time_limit, verifier=None, verb=verb
                ))  # fmt: skip
    return found


def recipe_of(recipe: ImproveRecipe, policy: str, number: int, workers: str | int) -> RlRecipe:
    """How generation `number` practises. A reward that is doubted is asked in two views, as of tries. The player thinks
    as it does when it is evaluated."""
    reward = recipe.reward
    if recipe.doubt:
        reward = f"mixture:{reward}+{recipe.second}" if recipe.second else f"twice:{reward}"
    return RlRecipe.of({
        "policy": policy, "suite": recipe.suite, "world": recipe.env, "reward": reward, "method": "ppo",
        "think": "auto", "epochs": 1,
        "upper_bound": recipe.reward == "truth", "iterations": recipe.rounds, "tasks": recipe.practised,
        "group": recipe.group, "worlds": 32, "rate": recipe.practice_rate, "kl": recipe.kl, "frozen_vision": True,
        "temperature": recipe.temperature, "frames": False, "graded": True, "unfinished": True, "gamma": recipe.gamma,
        "limits": {"kl": _FARTHEST},
        "rehearsed": recipe.rehearsal_suites if recipe.rehearsal_episodes else (),
        "rehearsal_episodes": max(1, recipe.rehearsal_episodes), "said": recipe.said,
        "share": recipe.share, "averaged": recipe.averaged, "workers": workers, "seed": recipe.seed * 1000 + number,
    })  # fmt: skip
